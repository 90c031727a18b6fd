//! Stored: what lies under one key: the variants of a response.

use std::{sync::Arc, time::SystemTime};

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
    pub(crate) asked_at: SystemTime,
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
pub struct Variants(Arc<[Kept]>);

/// One of them, as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) stored: Arc<Stored>,
    /// When a soft purge came over it.
    pub(crate) marked_stale: Option<SystemTime>,
}

impl Kept {
    /// Whether its body was on its way, and broke off.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(&self.stored.content, Content::Arriving(body) if body.is_broken())
    }

    fn variant(&self) -> Variant<'_> {
        Variant { head: &self.stored.head, marked_stale: self.marked_stale }
    }
}

impl From<Arc<Stored>> for Kept {
    fn from(stored: Arc<Stored>) -> Self {
        Kept { stored, marked_stale: None }
    }
}

impl Variants {
    pub(crate) fn of(kept: Vec<Kept>) -> Self {
        Variants(kept.into())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.0.iter()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Kept> {
        self.0.get(index)
    }

    /// All of them marked stale, as of `at` or earlier.
    pub(crate) fn marked_stale(&self, at: SystemTime) -> Variants {
        let marked = self.0.iter().map(|kept| Kept {
            stored: Arc::clone(&kept.stored),
            marked_stale: Some(kept.marked_stale.map_or(at, |earlier| earlier.min(at))),
        });
        Variants(marked.collect())
    }

    /// Lets `judge` look at them as the policy does. Nearly always there is one, and then nothing is
    /// allocated.
    pub(crate) fn judged<R>(&self, judge: impl FnOnce(&[Variant<'_>]) -> R) -> R {
        match &*self.0 {
            [] => judge(&[]),
            [only] => judge(&[only.variant()]),
            several => judge(&several.iter().map(Kept::variant).collect::<Vec<_>>()),
        }
    }
}

impl Weigh for Variants {
    fn heap_bytes(&self) -> usize {
        let list = size_of_val(&*self.0) + 2 * size_of::<usize>();
        list + self.0.iter().map(|kept| kept.stored.heap_bytes()).sum::<usize>()
    }
}
