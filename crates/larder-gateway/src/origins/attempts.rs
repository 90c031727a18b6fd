//! Attempts: how often one request was sent, at all addresses together, and who is told of it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use http::Extensions;

use super::addresses::Addresses;
use crate::upstream::{Origin, Resend};

/// Put into a request's extensions: it is told where the request is sent, and how often. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Witness(Arc<Sent>);

#[derive(Default)]
struct Sent {
    again: AtomicU32,
    /// The address that was asked last. Replaced whole.
    last: Mutex<Option<Origin>>,
}

#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "only what is traced has one"))]
impl Witness {
    /// How often it was sent once more.
    pub(crate) fn sent_again(&self) -> u32 {
        self.0.again.load(Ordering::Relaxed)
    }

    /// The host and the port that were asked last.
    pub(crate) fn address(&self) -> Option<(String, u16)> {
        let last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|origin| (origin.host().to_owned(), origin.port()))
    }
}

/// Of one request. It begins with one.
pub(super) struct Attempts {
    all: Arc<Addresses>,
    made: AtomicU32,
    witness: Option<Witness>,
}

impl Attempts {
    /// Of a request with these extensions.
    pub(super) fn begin(all: &Arc<Addresses>, extensions: &Extensions) -> Attempts {
        let witness = extensions.get().cloned();
        Attempts { all: Arc::clone(all), made: AtomicU32::new(1), witness }
    }

    /// It is sent there.
    pub(super) fn go_to(&self, origin: &Origin) {
        if let Some(Witness(sent)) = &self.witness {
            *sent.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(origin.clone());
        }
    }

    pub(super) fn made(&self) -> u32 {
        self.made.load(Ordering::Relaxed)
    }

    /// It is sent to another address, which the budget has allowed.
    pub(super) fn count(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
        if let Some(Witness(sent)) = &self.witness {
            sent.again.fetch_add(1, Ordering::Relaxed);
        }
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
