//! Follow: who is told of each purge that is made, beside the tiers.

use std::{
    sync::{Arc, PoisonError},
    time::SystemTime,
};

use super::{Asked, Mode, Scope};
use crate::sync::Mutex;

/// Whoever is told of each purge that is made here ([`Cache::follow_purges`](crate::Cache::follow_purges)).
pub trait PurgeFollower: Send + Sync {
    /// `purge` was made: it is done in memory, and on its way to what lies below. Called before whoever asked for it hears
    /// of that, on the thread that purges, so it must not wait. Purges at the same time may come in another order than
    /// their numbers.
    fn purged(&self, purge: &MadePurge);
}

/// A purge that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MadePurge {
    /// Its number in the cache's log of purges.
    pub number: u64,
    /// What it names, as it is stored: a URI stands here for each of its spellings, and a pattern as what it begins with.
    pub scopes: Vec<Scope>,
    /// What it leaves of that.
    pub mode: Mode,
    /// When it got its number, by the system's clock.
    pub at: SystemTime,
    /// Who asked for it, if that was said.
    pub asked: Option<Asked>,
}

/// All who are told.
#[derive(Default)]
pub(crate) struct Followers(Mutex<Arc<[Arc<dyn PurgeFollower>]>>);

impl Followers {
    pub(crate) fn add(&self, follower: Arc<dyn PurgeFollower>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all = all.iter().cloned().chain([follower]).collect();
    }

    /// Under no lock: what they do is theirs.
    pub(crate) fn tell(&self, purge: impl FnOnce() -> MadePurge) {
        let all = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if !all.is_empty() {
            let purge = purge();
            all.iter().for_each(|follower| follower.purged(&purge));
        }
    }
}
