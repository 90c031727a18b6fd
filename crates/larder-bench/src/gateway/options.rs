//! Options of the command.

use std::path::PathBuf;

use clap::Args;

/// Measures the gateway beside nginx, HAProxy, Varnish and the least that is possible.
#[derive(Debug, Args)]
#[command(after_help = "\
On a machine that is busy with other things, latencies are those of its scheduler. As root, both cores
can be had for as long as it takes: chrt -f 5 larder-bench gateway --only hit-2k,paced --rounds 5")]
pub(crate) struct Options {
    /// The `larder` binary; by default the one beside this
    #[arg(long, value_name = "PATH")]
    pub(super) larder: Option<PathBuf>,
    /// A couple of minutes: three rounds, fewer objects, nginx as the only rival (HAProxy where nginx takes no part)
    #[arg(long)]
    pub(super) short: bool,
    /// How often each contestant is measured in each case
    #[arg(long, value_name = "N")]
    pub(super) rounds: Option<usize>,
    /// How long each time
    #[arg(long, value_name = "MS")]
    pub(super) slice_ms: Option<u64>,
    /// How many requests a second the paced case makes
    #[arg(long, value_name = "N", default_value_t = 40_000)]
    pub(super) per_second: u32,
    /// Only these cases: hit-512, hit-2k, hit-16k, hit-256k, hit-1m, keys, vary, range, not-modified,
    /// pass, slow-clients, http2, upload-1m, websocket, origin-tls, origin-http2, tls, paced, syscalls, idle, memory,
    /// stampede
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    pub(super) only: Vec<String>,
    /// Write everything that was seen, round by round
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Draw CPU time per request
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
    /// Where the servers run
    #[arg(long, value_name = "CORE", default_value_t = 0)]
    pub(super) server_core: usize,
    /// Where the load, the origin and the bench itself run
    #[arg(long, value_name = "CORE", default_value_t = 1)]
    pub(super) load_core: usize,
}
