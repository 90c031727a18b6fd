//! Farewell: from when on each answer is the last of its connection.
//!
//! A connection that is closed between two requests may be closed while the next one is on its way, and its reader
//! cannot tell whether that was seen. So where there is time, connections of HTTP/1.1 are told with an answer
//! (`Connection: close`), and those of HTTP/2 by GOAWAY, which names the last stream that is answered.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// Whether the answers of now are the last. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Farewell(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Looked at with each answer, by all loops: no lock.
    is_said: AtomicBool,
    said: CancellationToken,
}

impl Farewell {
    /// From now on they are.
    pub fn say(&self) {
        self.0.is_said.store(true, Relaxed);
        self.0.said.cancel();
    }

    /// An answer that is begun at this very moment may not know it yet: the next one on its connection does.
    pub(crate) fn is_said(&self) -> bool {
        self.0.is_said.load(Relaxed)
    }

    pub(crate) fn said(&self) -> WaitForCancellationFuture<'_> {
        self.0.said.cancelled()
    }
}
