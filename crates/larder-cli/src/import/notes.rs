//! Notes: what became of each line that was not simply carried over.

use std::fmt;

use serde::Serialize;

/// What became of one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Note {
    /// File and line.
    pub(crate) place: String,
    /// What stands there.
    pub(crate) line: String,
    /// What became of it.
    pub(crate) why: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Note { place, line, why } = self;
        write!(f, "{place}: {line}: {why}")
    }
}
