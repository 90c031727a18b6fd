//! Reason: the one vocabulary for why a cache answered as it did.

use std::fmt;

/// Why an answer came about. The same words appear in the `Cache-Status` detail, in logs and in
/// the console, so that a reader who learned them once can follow a request through all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A fresh entry was stored.
    Hit,
    /// A stale entry was served while it is refreshed behind the reader's back.
    StaleWhileRevalidate,
    /// A stale entry was served because the origin failed.
    StaleIfError,
    /// A stale entry was served because the origin took too long; its answer is still waited for
    /// behind the reader's back.
    SoftTimeout,
    /// The origin failed a moment ago, and that is remembered.
    NegativeHit,
    /// Another reader's fetch of the same key was already under way, and its result was shared.
    Collapsed,
    /// Nothing was stored under this key.
    UriMiss,
    /// Something was stored, but its lifetime was over.
    Expired,
    /// A rule or setting keeps the cache out of this request.
    BypassRule,
    /// The answer is of a kind that is not stored (an error, for instance).
    NotStorable,
    /// The answer weighs more than one entry may.
    TooLarge,
    /// The answer carries more tags than one entry may.
    TooManyTags,
    /// The key was purged or overwritten while the answer was being fetched, so the answer may be
    /// older than the purge and is not stored.
    Purged,
    /// The origin failed to answer.
    OriginError,
}

impl Reason {
    /// The word itself, in kebab case; stable, and a valid structured-field token (RFC 9651 §3.3.4).
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Hit => "hit",
            Reason::StaleWhileRevalidate => "stale-while-revalidate",
            Reason::StaleIfError => "stale-if-error",
            Reason::SoftTimeout => "soft-timeout",
            Reason::NegativeHit => "negative-hit",
            Reason::Collapsed => "collapsed",
            Reason::UriMiss => "uri-miss",
            Reason::Expired => "expired",
            Reason::BypassRule => "bypass-rule",
            Reason::NotStorable => "not-storable",
            Reason::TooManyTags => "too-many-tags",
            Reason::TooLarge => "too-large",
            Reason::Purged => "purged",
            Reason::OriginError => "origin-error",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
