//! Outbox file: purges that a tier has not acknowledged, where they outlive their process.

use std::{fmt, path::Path};

use crate::journal::{Found, Journal, OutboxError};

/// A file for purges that are on their way to a lower tier ([`Builder::outbox`](crate::Builder::outbox)). Opened before
/// the cache is built, so that whoever names a file that is of no use hears of it.
///
/// One process at a time has it, and one cache: a second one gets [`OutboxError::InUse`]. It is locked by a file beside
/// it, whose name ends with `.lock` and which stays. A purge is written within a few milliseconds, unless the tier has
/// acknowledged it by then, and is synced. Purges that an earlier process has left are sent again, in their order; one
/// that the tier has had before is a purge once more, which costs entries and is no mistake. The file has room for 32
/// MiB of purges that wait.
///
/// A file of which a part cannot be read stands for everything, hard. The end of one that was cut short while it was
/// written is nothing: nobody was told that it is on disk.
pub struct OutboxFile {
    pub(crate) journal: Journal,
    pub(crate) found: Found,
}

impl OutboxFile {
    /// Opens the file, or makes it. Its folder is there, and may be written to.
    ///
    /// # Errors
    ///
    /// It is in use, is something else, or cannot be read or written.
    pub fn open(path: impl AsRef<Path>) -> Result<OutboxFile, OutboxError> {
        let (journal, found) = Journal::open(path.as_ref())?;
        Ok(OutboxFile { journal, found })
    }

    /// Whether a part of it could not be read, so that it stands for everything.
    pub fn is_damaged(&self) -> bool {
        self.found.is_damaged
    }

    /// So many bytes at its end are no whole purge: a crash leaves such of one that nobody was told to be on disk, or somebody has
    /// cut off the end.
    pub fn torn_bytes(&self) -> usize {
        self.found.torn_bytes
    }

    /// How many purges an earlier process has left.
    pub fn left(&self) -> usize {
        self.found.entries.len()
    }
}

impl fmt::Debug for OutboxFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxFile").field("left", &self.left()).finish_non_exhaustive()
    }
}
