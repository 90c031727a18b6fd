//! Stored: what lies under one key: the variants of a response.

use std::{
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use larder_policy::{
    head::ResponseHead,
    part::Part,
    reuse::Variant,
    stored::{Extent, StoredHead},
};

use super::body::{Arriving, Body, Span, StoredBody};
use crate::weigh::Weigh;

/// A response, or a part of one.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) head: StoredHead,
    pub(crate) content: Content,
    /// When the origin was asked for it, or for its last confirmation.
    pub(crate) asked_at: Mark,
}

/// Where its body is.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Here(StoredBody),
    /// On its way. Nothing like this is in the cache; it is shared by those who wait for it.
    Arriving(Arc<Arriving>),
}

impl Content {
    /// The bytes of `span`, shared with it. `None`: not all of them are here.
    pub(crate) fn slices(&self, span: Span) -> Option<Vec<Bytes>> {
        match self {
            Content::Here(body) => Some(body.slices(span)),
            Content::Arriving(body) => body.slices(span),
        }
    }
}

impl Stored {
    /// The same with its body, now that it is here. `None`: it is a part, and not the one that its
    /// head has announced.
    pub(crate) fn with_body(&self, body: StoredBody) -> Option<Stored> {
        let head = self.head.clone().of_length(body.len())?;
        Some(Stored { head, content: Content::Here(body), asked_at: self.asked_at })
    }

    pub(crate) fn response_head(&self) -> ResponseHead<'_> {
        ResponseHead { status: self.head.status(), headers: self.head.fields() }
    }

    /// How long the body is, where that is known.
    pub(crate) fn content_len(&self) -> Option<u64> {
        match &self.content {
            Content::Here(body) => Some(body.len()),
            Content::Arriving(body) => body.len(),
        }
    }

    /// `None`: the beginning of it is gone already.
    pub(crate) fn body(&self, span: Span) -> Option<Body> {
        match &self.content {
            Content::Here(body) => Some(Body::stored(body.clone(), span)),
            Content::Arriving(body) => body.read(span).map(Body::arriving),
        }
    }

    /// Which part of the representation it is, if it is a part.
    pub(crate) fn part(&self) -> Option<Part> {
        match self.head.extent() {
            Extent::Whole => None,
            Extent::Part(part) => Some(part),
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.head.extent() == Extent::Whole
    }

    fn heap_bytes(&self) -> usize {
        let body = match &self.content {
            Content::Here(body) => body.heap_bytes(),
            Content::Arriving(_) => 0,
        };
        size_of::<Self>() + 2 * size_of::<usize>() + self.head.weight() + body
    }
}

/// What an [`HttpCache`](super::HttpCache) keeps under one key: the variants of a response, each
/// chosen by the request's fields that its `Vary` names.
#[derive(Clone, Debug, Default)]
pub struct Variants(List);

/// Nearly always there is one, and then there is no list.
#[derive(Clone, Debug)]
enum List {
    One(Kept),
    Others(Arc<[Kept]>),
}

impl Default for List {
    fn default() -> Self {
        List::Others(Arc::default())
    }
}

/// One of them, as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) stored: Arc<Stored>,
    /// When a soft purge came over it.
    marked_stale: Option<Mark>,
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

    fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.0.get() - 1)
    }
}

impl Kept {
    /// Whether its body was on its way, and broke off.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(&self.stored.content, Content::Arriving(body) if body.is_broken())
    }

    /// As the rules look at it.
    pub(crate) fn variant(&self) -> Variant<'_> {
        Variant { head: &self.stored.head, marked_stale: self.marked_stale.map(Mark::time) }
    }
}

impl From<Arc<Stored>> for Kept {
    fn from(stored: Arc<Stored>) -> Self {
        Kept { stored, marked_stale: None }
    }
}

impl Variants {
    pub(crate) fn of(kept: Vec<Kept>) -> Self {
        Variants(match <[Kept; 1]>::try_from(kept) {
            Ok([only]) => List::One(only),
            Err(several) => List::Others(several.into()),
        })
    }

    fn all(&self) -> &[Kept] {
        match &self.0 {
            List::One(only) => std::slice::from_ref(only),
            List::Others(kept) => kept,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.all().iter()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Kept> {
        self.all().get(index)
    }

    /// One of them, with the others let go.
    pub(crate) fn into_stored(self, index: usize) -> Option<Arc<Stored>> {
        match self.0 {
            List::One(only) => (index == 0).then_some(only.stored),
            List::Others(kept) => Some(Arc::clone(&kept.get(index)?.stored)),
        }
    }

    /// All of them marked stale, as of `at` or earlier.
    pub(crate) fn marked_stale(&self, at: SystemTime) -> Variants {
        let at = Mark::at(at);
        let marked = self.all().iter().map(|kept| Kept {
            stored: Arc::clone(&kept.stored),
            marked_stale: Some(kept.marked_stale.map_or(at, |earlier| earlier.min(at))),
        });
        Variants::of(marked.collect())
    }

    /// Lets `judge` look at them as the policy does. Nearly always there is one, and then nothing is
    /// allocated.
    pub(crate) fn judged<R>(&self, judge: impl FnOnce(&[Variant<'_>]) -> R) -> R {
        match self.all() {
            [] => judge(&[]),
            [only] => judge(&[only.variant()]),
            several => judge(&several.iter().map(Kept::variant).collect::<Vec<_>>()),
        }
    }
}

impl Weigh for Variants {
    fn heap_bytes(&self) -> usize {
        let list = match &self.0 {
            List::One(_) => 0,
            List::Others(kept) => size_of_val(&**kept) + 2 * size_of::<usize>(),
        };
        list + self.all().iter().map(|kept| kept.stored.heap_bytes()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_for_each_response_is_small() {
        assert!(size_of::<StoredHead>() <= 112, "{}", size_of::<StoredHead>());
        assert!(size_of::<Stored>() <= 152, "{}", size_of::<Stored>());
        assert!(size_of::<Variants>() <= 24, "{}", size_of::<Variants>());
    }
}
