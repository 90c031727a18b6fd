//! Nearest: what is stored in memory that nearly has the key of a request, and in what it differs.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use larder_policy::nearness::{Difference, Distance, WantedKey};

use super::cache::HttpCache;

/// A stored key that is nearly the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// The stored key.
    pub key: String,
    /// In what it differs, one piece at least.
    pub differences: Vec<Difference>,
}

/// What was found near a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nearest {
    /// The nearest first.
    pub near: Vec<Near>,
    /// How many stored keys were looked at.
    pub looked_at: usize,
    /// All that is stored was looked at. If not, there may be nearer ones.
    pub is_whole: bool,
}

impl HttpCache {
    /// Up to `most` keys that nearly are this one, as keys are written. There is no index of what is nearly the same, so
    /// it looks at everything in memory, some entries in each hold of a lock, for so long at most: not for a thread on
    /// which readers wait.
    pub fn nearest(&self, key: &str, most: usize, within: Duration) -> Nearest {
        let wanted = WantedKey::new(key);
        // One that moves meanwhile may be seen twice, and has its place once.
        let mut found: BTreeSet<(Distance, String)> = BTreeSet::new();
        let (mut looked_at, began) = (0, Instant::now());
        let is_whole = self.parts().engine().show(
            |stored, _| {
                looked_at += 1;
                if let Some(distance) = wanted.distance(stored) {
                    // Of what is as near the first by name: whichever way they are walked over, the same are found.
                    let is_near = (found.last())
                        .is_none_or(|(last, key)| (distance, stored) < (*last, key.as_str()));
                    if found.len() < most || is_near {
                        found.insert((distance, stored.to_owned()));
                    }
                    if found.len() > most {
                        found.pop_last();
                    }
                }
            },
            || began.elapsed() < within,
        );
        let near = found.into_iter().map(|(_, key)| {
            let differences = wanted.differences(&key);
            Near { key, differences }
        });
        Nearest { near: near.collect(), looked_at, is_whole }
    }
}
