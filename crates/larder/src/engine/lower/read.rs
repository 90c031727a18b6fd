//! Read: what a leader asks the lower tier: heads, a body, and the right to fetch.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError},
};

use bytes::{Bytes, BytesMut};

use super::Lower;
use crate::{
    clock::Moment,
    rules::Rule,
    tier::lower::{Body, BodyId, Heads, Lease, LeaseAnswer, LogPart, LowerError, Record},
};

/// So many bodies are remembered of which some is gone.
const MAX_LOST: usize = 256;

/// What the tier has under a key.
#[derive(Clone)]
pub(crate) struct Asked {
    records: Vec<Record>,
    /// Their ages are as of now or later: on its way an answer may be held up.
    pub(crate) at: Moment,
}

impl Asked {
    /// All there are, in no order.
    #[cfg(feature = "http")]
    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    /// The one that a cache of values has.
    pub(crate) fn record(&self) -> Option<&Record> {
        self.records.iter().find(|record| record.head.variant.is_empty())
    }

    /// Whether something has been written, or has gone, between the two.
    pub(super) fn has_other_heads(&self, before: &Asked) -> bool {
        let heads = self.records.iter().map(|record| &record.head);
        !heads.eq(before.records.iter().map(|record| &record.head))
    }
}

/// Who may fetch.
pub(super) enum Leasing {
    /// The caller, who has looked once more.
    Granted(OwnLease, Asked),
    /// Another process, until this is ready.
    Held(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// Whoever wants to.
    Nobody,
}

/// The right to fetch one of a key's records. Dropping it gives it back.
pub(crate) struct OwnLease {
    /// Only until it is dropped.
    lease: Option<Lease>,
    name: (Arc<str>, Box<str>),
    lower: Arc<Lower>,
}

impl Drop for OwnLease {
    fn drop(&mut self) {
        drop(self.lease.take());
        let mut leased = self.lower.leased.lock().unwrap_or_else(PoisonError::into_inner);
        leased.remove(&self.name);
    }
}

impl Lower {
    /// One plain read. `None`: there is no answer, or none of use.
    pub(crate) async fn heads(self: &Arc<Self>, key: &str) -> Option<Asked> {
        self.follow_behind();
        let (at, log) = (self.clock.now(), self.missing_log());
        let heads = self.call(|tier| tier.heads(key, log)).await.ok()?;
        self.asked(heads, log, at)
    }

    /// What an answer brought that was asked for at `at` with this part of the log.
    fn asked(&self, heads: Heads, log: LogPart, at: Moment) -> Option<Asked> {
        let Heads { records, tail, unreadable } = heads;
        self.count_all_unreadable(unreadable);
        let is_of_use = match (log, tail) {
            (LogPart::After(since), Some(tail)) => self.learn(&tail, since, at),
            (LogPart::After(_), None) => false,
            (LogPart::Nothing, _) => true,
        };
        is_of_use.then_some(Asked { records, at })
    }

    /// Asks for the right to fetch what is `wanted` under `key`. Within this process flights see to it, so a second
    /// one here, after a purge perhaps, does not wait for what the first has asked for.
    pub(super) async fn lease(self: &Arc<Self>, key: &Arc<str>, wanted: &str) -> Leasing {
        let name = (Arc::clone(key), Box::from(wanted));
        let is_own = |lower: &Lower| {
            lower.leased.lock().unwrap_or_else(PoisonError::into_inner).contains(&name)
        };
        if is_own(self) || !Rule::OneHasTheLease.holds() {
            return Leasing::Nobody;
        }
        let (at, log, length) = (self.clock.now(), self.missing_log(), self.settings.lease);
        let asking = self.call(|tier| tier.lease(key, wanted, log, length));
        let (lease, heads) = match asking.await {
            Ok(LeaseAnswer::Granted { lease, heads }) => (lease, heads),
            Ok(LeaseAnswer::Held { .. }) if is_own(self) => return Leasing::Nobody,
            Ok(LeaseAnswer::Held { ended, .. }) => return Leasing::Held(ended),
            Err(_) => return Leasing::Nobody,
        };
        self.leased.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        let own = OwnLease { lease: Some(lease), name, lower: Arc::clone(self) };
        let asked = self.asked(heads, log, at);
        Leasing::Granted(own, asked.unwrap_or(Asked { records: Vec::new(), at }))
    }

    /// A record's body, if all of it is there and it is no longer than `most` bytes.
    pub(crate) async fn body(&self, body: &Body, most: usize) -> Option<Bytes> {
        let (id, pieces, bytes) = match body {
            Body::Whole(bytes) => return (bytes.len() <= most).then(|| bytes.clone()),
            Body::Pieces { id, pieces, bytes } => (*id, *pieces, usize::try_from(*bytes).ok()?),
        };
        if bytes > most {
            return None;
        }
        let mut whole = BytesMut::new();
        for index in 0..pieces {
            let piece = self.piece(id, index).await?;
            if piece.len() > bytes - whole.len() {
                self.count_unreadable();
                return None;
            }
            whole.extend_from_slice(&piece);
        }
        if whole.len() != bytes {
            self.count_unreadable();
            return None;
        }
        Some(whole.freeze())
    }

    /// One piece of a body. `None`: it is not there, or does not come.
    pub(crate) async fn piece(&self, id: BodyId, index: u32) -> Option<Bytes> {
        let answer = self.call(|tier| tier.piece(id, index)).await;
        if let Err(LowerError::Unreadable) = answer {
            self.count_unreadable();
        }
        if let Err(LowerError::Gone | LowerError::Unreadable) = answer {
            self.note_lost(id);
        }
        answer.ok()
    }

    /// Some of a body is gone. A head may name it still, for as long as that lives.
    pub(crate) fn note_lost(&self, id: BodyId) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if !lost.contains(&id) {
            if lost.len() >= MAX_LOST {
                lost.pop_front();
            }
            lost.push_back(id);
        }
    }

    /// Whether some of it is known to be gone.
    #[cfg(feature = "http")]
    pub(crate) fn is_lost(&self, body: &Body) -> bool {
        let lost = || self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(body, Body::Pieces { id, .. } if lost().contains(id))
    }
}
