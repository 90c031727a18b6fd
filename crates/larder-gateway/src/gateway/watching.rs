//! Watching: what becomes of single requests, for whoever watches them as they are answered.

use std::{sync::Arc, time::Instant};

use larder_admin::explain::{Passed, Watch};

use super::{
    Common, Gateway,
    past::{Past, Seen},
};

/// One who watches.
struct Watcher {
    common: Arc<Common>,
    /// How far it was told.
    seen: Seen,
}

impl Gateway {
    /// `None`: answers have no ids, so nothing is remembered of single requests.
    pub(super) fn watched(&self) -> Option<Box<dyn Watch>> {
        if !self.common.settings.load().config.request_ids {
            return None;
        }
        let common = Arc::clone(&self.common);
        common.past.onlookers.come();
        let seen = common.past.seen();
        Some(Box::new(Watcher { common, seen }))
    }
}

impl Watcher {
    fn past(&self) -> &Past {
        &self.common.past
    }
}

impl Watch for Watcher {
    fn passed(&mut self) -> Passed {
        let passed = self.common.past.since(&mut self.seen);
        self.past().onlookers.want_hits(Instant::now());
        passed
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.past().onlookers.go();
    }
}
