//! Answer: what a reader is told besides the value, for those who must tell their own reader.

use std::{fmt, time::Duration};

use larder_policy::{
    freshness::{Freshness, Lifetime},
    reason::Reason,
};

use crate::error::FetchError;

/// A value, and how it came about: for those who must tell their own reader (`Cache-Status`, `Age`).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer<V> {
    /// The value.
    pub value: V,
    /// Where it came from.
    pub source: AnswerSource,
    /// How long ago its fetch ended.
    pub age: Duration,
    /// Whether it is in the cache now.
    pub storage: Storage,
    /// What its fetch cost in time.
    pub cost: Duration,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerSource {
    /// From the cache, fresh.
    Hit,
    /// From the cache, stale, which was allowed for this reason.
    Stale(Reason),
    /// From a fetch of its own, which was needed for this reason.
    Fetched(Reason),
    /// From another reader's fetch that was under way; without it, the reason for its own.
    Collapsed(Reason),
    /// From the tier below memory, fresh, brought there by another process perhaps.
    Lower,
}

/// No value, and how that came about.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure<E> {
    /// Why there is none.
    pub error: FetchError<E>,
    /// Where the error came from.
    pub source: FailureSource,
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// An error for whatever `E`, as a [`FetchError`] is.
impl<E: fmt::Debug + fmt::Display> std::error::Error for Failure<E> {}

/// Where an error came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureSource {
    /// From a fetch of its own, which was needed for this reason.
    Fetched(Reason),
    /// From another reader's fetch that was under way; without it, the reason for its own.
    Collapsed(Reason),
    /// From a fetch of a moment ago, whether it failed, took too long, or panicked ([`Builder::negative_ttl`](crate::Builder::negative_ttl)).
    Remembered,
}

/// Whether a value is in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// It is, and stays fresh for this long.
    FreshFor(Duration),
    /// It is, and has been stale for this long.
    StaleFor(Duration),
    /// It is not, for this reason.
    Not(Reason),
}

/// What is stored under a key, seen without touching it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EntryView<V> {
    /// The value.
    pub value: V,
    /// How long ago its fetch ended.
    pub age: Duration,
    /// How long it is good for, as stored (jitter included).
    pub lifetime: Lifetime,
    /// What it is good for now, purges considered; `Expired` also if it was purged by a tag.
    pub freshness: Freshness,
    /// What its fetch cost in time.
    pub cost: Duration,
    /// How many tags it carries.
    pub tags: usize,
}

impl<V> Answer<V> {
    /// The one word for all of it: why it was no hit, or, if it could have been stored and was not,
    /// why that.
    pub fn reason(&self) -> Reason {
        match (self.source, self.storage) {
            (AnswerSource::Hit, _) => Reason::Hit,
            (AnswerSource::Lower, _) => Reason::Shared,
            (AnswerSource::Stale(reason), _) => reason,
            (AnswerSource::Collapsed(_), _) => Reason::Collapsed,
            (AnswerSource::Fetched(_), Storage::Not(reason)) => reason,
            (AnswerSource::Fetched(reason), _) => reason,
        }
    }
}
