//! Stored: a response that is in the cache, and one that is on its way there.

use std::{
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE};
use larder_policy::{
    head::ResponseHead,
    part::Part,
    settings::Policy,
    stored::{Extent, StoredHead},
};

use super::{
    body::{
        arriving::Arriving,
        stored::{Span, StoredBody},
    },
    forms::CodingVerdict,
};

/// A response, or a part of one, with its body: nothing else is in the cache.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) head: StoredHead,
    pub(crate) body: StoredBody,
    /// When the origin was asked for it, or for its last confirmation.
    pub(crate) asked_at: Mark,
    /// Whether it may have coded forms beside it.
    pub(crate) coding: CodingVerdict,
}

/// The same while its body is on its way: shared by those who wait for it, and never in the cache.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) head: StoredHead,
    pub(crate) body: Arc<Arriving>,
    pub(crate) asked_at: Mark,
}

/// What a fetch has brought, and who waits for it may have.
#[derive(Clone, Debug)]
pub(crate) enum Brought {
    Stored(Arc<Stored>),
    Incoming(Arc<Incoming>),
}

impl Stored {
    pub(crate) fn new(head: StoredHead, body: StoredBody, asked_at: Mark) -> Stored {
        Stored { head, body, asked_at, coding: CodingVerdict::default() }
    }

    pub(crate) fn response_head(&self) -> ResponseHead<'_> {
        ResponseHead { status: self.head.status(), headers: self.head.fields() }
    }

    /// Which part of the representation it is, if it is a part.
    pub(crate) fn part(&self) -> Option<Part> {
        part_of(&self.head)
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.head.extent() == Extent::Whole
    }

    /// What it owns, itself included, wherever it is kept.
    pub(crate) fn heap_bytes(&self) -> usize {
        let counts = 2 * size_of::<usize>();
        size_of::<Self>() + counts + self.head.weight() + self.body.heap_bytes()
    }
}

/// Which part of the representation a response with this head is, if it is a part.
pub(crate) fn part_of(head: &StoredHead) -> Option<Part> {
    match head.extent() {
        Extent::Whole => None,
        Extent::Part(part) => Some(part),
    }
}

impl Incoming {
    /// The same with its body, now that it is here. `None`: it is a part, and not the one that its
    /// head has announced.
    pub(crate) fn with_body(&self, policy: &Policy, body: StoredBody) -> Option<Stored> {
        let mut head = self.head.clone().of_length(body.len())?;
        if head.wants_own_tag(policy) {
            let digest = digest(&head, &body);
            head = head.with_own_tag(digest);
        }
        Some(Stored::new(head, body, self.asked_at))
    }
}

/// Of the bytes, and of what says what they mean: a page and its source have the same bytes.
fn digest(head: &StoredHead, body: &StoredBody) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE] {
        for line in head.fields().lines(name.as_str()) {
            hasher.update(name.as_str().as_bytes()).update(b": ").update(line).update(b"\n");
        }
    }
    hasher.update(b"\n");
    for piece in body.slices(Span::WHOLE) {
        hasher.update(&piece);
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    digest
}

impl Brought {
    pub(crate) fn head(&self) -> &StoredHead {
        match self {
            Brought::Stored(stored) => &stored.head,
            Brought::Incoming(incoming) => &incoming.head,
        }
    }

    /// When the origin was asked for it, or for its last confirmation.
    pub(crate) fn asked_at(&self) -> Mark {
        match self {
            Brought::Stored(stored) => stored.asked_at,
            Brought::Incoming(incoming) => incoming.asked_at,
        }
    }

    /// Whether its body was on its way, and broke off.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self, Brought::Incoming(incoming) if incoming.body.is_broken())
    }
}

/// A time of day in nanoseconds since 1970, one more of them: small, since there is one for each
/// response, and no larger where there may be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark(NonZeroU64);

impl Mark {
    pub(crate) fn at(time: SystemTime) -> Mark {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        Mark(NonZeroU64::MIN.saturating_add(nanos))
    }

    pub(crate) fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.0.get() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_for_each_response_is_small() {
        assert!(size_of::<StoredHead>() <= 112, "{}", size_of::<StoredHead>());
        assert!(size_of::<Stored>() <= 160, "{}", size_of::<Stored>());
    }
}
