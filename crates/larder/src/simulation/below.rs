//! Below: the tier that the instances of a run share: the one in this process, or that of Redis on a server.

#[cfg(feature = "redis")]
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "redis")]
use super::server::Server;
use crate::{Clock, tier::lower::InProcess};

/// Whether this seed's run is one on a server: the last hundred of three hundred. They take longer than the others.
#[cfg(feature = "redis")]
fn is_server(seed: u64) -> bool {
    seed % 300 >= 200
}

#[derive(Clone)]
pub(super) enum Below {
    InProcess(InProcess),
    #[cfg(feature = "redis")]
    Server(Arc<Server>),
}

impl Below {
    pub(super) fn new(seed: u64, began: Instant) -> Self {
        #[cfg(feature = "redis")]
        if is_server(seed) {
            return Below::Server(Server::new(began));
        }
        _ = seed;
        Below::InProcess(InProcess::new(Clock::other(move || began.elapsed())).with_readers())
    }

    /// After the last fault all is well again within this time and `max_incoherence`.
    pub(super) fn recovery(&self) -> Duration {
        match self {
            Below::InProcess(_) => Duration::from_secs(5),
            // It may wait for one who does not sign, and then for all to have heard of that.
            #[cfg(feature = "redis")]
            Below::Server(_) => Duration::from_secs(20),
        }
    }

    /// What a server calls its log.
    #[cfg(feature = "redis")]
    pub(super) fn log(&self) -> Option<Vec<u8>> {
        match self {
            Below::InProcess(_) => None,
            Below::Server(server) => server.log(),
        }
    }

    pub(super) fn begin_another_log(&self) {
        match self {
            Below::InProcess(model) => model.begin_another_log(),
            #[cfg(feature = "redis")]
            Below::Server(server) => server.lose_log(),
        }
    }

    /// It will have what it has now, and no more.
    pub(super) fn roll_back(&self) -> Box<dyn FnOnce() + Send> {
        match self.clone() {
            Below::InProcess(model) => {
                let snapshot = model.snapshot();
                Box::new(move || model.restore(snapshot))
            }
            #[cfg(feature = "redis")]
            Below::Server(server) => {
                let keys = server.copy();
                Box::new(move || server.restore(keys))
            }
        }
    }

    pub(super) fn forget(&self) {
        match self {
            Below::InProcess(model) => model.forget(),
            #[cfg(feature = "redis")]
            Below::Server(server) => server.forget(),
        }
    }

    pub(super) fn lose_pieces(&self) {
        match self {
            Below::InProcess(model) => model.lose_pieces(),
            #[cfg(feature = "redis")]
            Below::Server(server) => server.lose_pieces(),
        }
    }

    pub(super) fn trim_log(&self, keep: usize) {
        match self {
            Below::InProcess(model) => model.trim_log(keep),
            #[cfg(feature = "redis")]
            Below::Server(server) => server.trim_log(keep),
        }
    }
}
