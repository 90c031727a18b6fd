//! Attempts: how often one request was sent, at all addresses together.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use super::addresses::Addresses;
use crate::upstream::Resend;

/// Of one request. It begins with one.
pub(super) struct Attempts {
    all: Arc<Addresses>,
    made: AtomicU32,
}

impl Attempts {
    pub(super) fn begin(all: &Arc<Addresses>) -> Attempts {
        Attempts { all: Arc::clone(all), made: AtomicU32::new(1) }
    }

    pub(super) fn made(&self) -> u32 {
        self.made.load(Ordering::Relaxed)
    }

    /// It is sent to another address, which the budget has allowed.
    pub(super) fn count(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }
}

impl Resend for Attempts {
    fn may_resend(&self) -> bool {
        let most = self.all.config.retry.attempts;
        if self.made() >= most {
            return false;
        }
        if !self.all.withdraw() {
            // Another address would be refused likewise, and be counted once more.
            self.made.store(most, Ordering::Relaxed);
            return false;
        }
        self.count();
        true
    }
}

impl Resend for Arc<Attempts> {
    fn may_resend(&self) -> bool {
        (**self).may_resend()
    }
}
