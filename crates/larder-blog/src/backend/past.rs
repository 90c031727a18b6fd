//! Past: the last answers that were no plain hits, each by the id that its reader was given.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
};

use larder_admin::explain::PastRequest;

/// So many are remembered.
const MOST: usize = 512;

#[derive(Debug, Default)]
pub(crate) struct Past(Mutex<VecDeque<PastRequest>>);

impl Past {
    /// The oldest makes room.
    pub(crate) fn remember(&self, request: PastRequest) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == MOST {
            all.pop_front();
        }
        all.push_back(request);
    }

    pub(crate) fn find(&self, id: &str) -> Option<PastRequest> {
        self.newest(|request| request.id == id)
    }

    /// The last of this path, whatever its reader called the backend.
    pub(crate) fn last_of(&self, path: &str) -> Option<PastRequest> {
        self.newest(|request| request.url.ends_with(path))
    }

    fn newest(&self, is_wanted: impl Fn(&PastRequest) -> bool) -> Option<PastRequest> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().rev().find(|request| is_wanted(request)).cloned()
    }
}

/// 32 hexadecimal digits that nobody has had before.
pub(crate) fn new_id() -> String {
    let random = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", random(), random())
}
