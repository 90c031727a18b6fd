//! Measures Larder: every number in the README comes from a run of this.

mod blog;
mod gateway;
mod machine;
mod process;
mod shared;
mod spread;
mod table;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::gateway::limit::Baked;

/// Measures Larder on this machine. Load goes to loopback only, and every run ends by itself.
#[derive(Debug, Parser)]
#[command(name = "larder-bench", version)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The blog with and without its cache: loads, ten in a row, a hundred at once (about 50 s)
    Blog {
        /// The `blog` binary; by default the one beside this
        #[arg(long)]
        blog: Option<PathBuf>,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// `larder serve` beside its rivals and beside the limit (about twenty minutes)
    Gateway(gateway::Options),
    /// The tier on Redis beside a bare GET, beside no tier, and beside another cache (about five minutes)
    Shared(shared::Options),
    /// One of several processes over one server; `shared` starts it
    #[command(hide = true)]
    SharedInstance { url: String, namespace: String },
    /// The limit that servers are compared with; `gateway` starts it
    #[command(hide = true)]
    Limit { answers: Vec<Baked> },
    /// The origin behind the servers; `gateway` starts it
    #[command(hide = true)]
    Origin {
        /// Where its certificate lies; without one it answers in the open only
        folder: Option<PathBuf>,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Command::parse().what {
        What::Blog { blog, json } => {
            let blog = match blog {
                Some(path) => path,
                None => std::env::current_exe()?.with_file_name("blog"),
            };
            let report = blog::measure(&blog).await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&report)?);
            } else {
                print!("{}", report.table());
            }
            Ok(())
        }
        What::Gateway(options) => {
            print!("{}", gateway::measure(&options).await?);
            Ok(())
        }
        What::Shared(options) => {
            print!("{}", shared::measure(&options).await?);
            Ok(())
        }
        What::SharedInstance { url, namespace } => shared::instance::serve(&url, &namespace).await,
        What::Limit { answers } => gateway::limit::serve(&answers),
        What::Origin { folder } => gateway::origin::serve(folder.as_deref()).await,
    }
}
