//! Command: what `blog` can be asked to do.

use clap::{Parser, Subcommand};

use crate::{
    error::BlogError,
    health,
    run::{self, Parts},
    settings::{self, Settings},
};

/// Larder's blog: a page, a backend, a slow posts service, and a cache in between.
#[derive(Debug, Parser)]
#[command(name = "blog", version, after_help = settings::help())]
pub(crate) struct Command {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// All of it in one process: posts service, backend with console, page
    #[command(after_help = settings::help())]
    Run,
    /// Only the posts service: the slow origin with the database
    #[command(after_help = settings::help())]
    Posts,
    /// Only the backend with its cache, and the console beside it
    #[command(after_help = settings::help())]
    Backend,
    /// Only the page
    #[command(after_help = settings::help())]
    Page,
    /// Ask whether the parts that run here are well, and exit 0 if they are (for container health checks)
    Health {
        /// Ask only this, for example <http://127.0.0.1:8000/health>. Without it: the page, the backend and
        /// the posts service at their ports; well if one runs, and all that run say so
        url: Option<http::Uri>,
    },
}

impl Command {
    pub(crate) async fn run(self, settings: Settings) -> Result<(), BlogError> {
        match self.part {
            Part::Run => run::run(settings, Parts::ALL).await,
            Part::Posts => run::run(settings, Parts { posts: true, ..Parts::NONE }).await,
            Part::Backend => run::run(settings, Parts { backend: true, ..Parts::NONE }).await,
            Part::Page => run::run(settings, Parts { page: true, ..Parts::NONE }).await,
            Part::Health { url: Some(url) } => health::check(url).await,
            Part::Health { url: None } => health::check_parts(&settings).await,
        }
    }
}
