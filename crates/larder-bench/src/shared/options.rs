//! Options of the command.

use std::path::PathBuf;

use clap::Args;

/// Measures the tier on Redis beside what it stands on.
#[derive(Debug, Args)]
#[command(after_help = "\
Ratios are taken in one run, interleaved. What a bar misses is shown as missed. Without redis-server nothing can be
measured; without npm the rival is left out, and the table says so.")]
pub(crate) struct Options {
    /// A minute or two: fewer rounds, a shorter load after the restart
    #[arg(long)]
    pub(super) short: bool,
    /// Only these cases: below, memory, first-byte, purges, crowd, changes, warm, rival
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    pub(super) only: Vec<String>,
    /// Write everything that was seen
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
}
