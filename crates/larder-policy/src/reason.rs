//! Reason: the one vocabulary for why a cache answered as it did.

use std::fmt;

/// Why an answer came about. The same words appear in the `Cache-Status` detail, in logs and in
/// the console, so that a reader who learned them once can follow a request through all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A fresh entry was stored.
    Hit,
    /// A fresh entry was stored in the tier below memory, which other processes share.
    Shared,
    /// A stale entry was served while it is refreshed behind the reader's back.
    StaleWhileRevalidate,
    /// A stale entry was served because the origin failed.
    StaleIfError,
    /// A stale entry was served because the origin took too long; its answer is still waited for
    /// behind the reader's back.
    SoftTimeout,
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
    /// All the room there is was taken at that moment: by answers on their way into the cache, or by
    /// entries that others were just storing or dropping.
    NoRoom,
    /// The answer carries more tags than one entry may.
    TooManyTags,
    /// The key was purged or overwritten while the answer was being fetched, so the answer may be
    /// older than the purge and is not stored.
    Purged,
    /// Something was stored, but the tier that tells what other processes have purged has not been heard of for too
    /// long.
    Unsure,
    /// The origin failed to answer.
    OriginError,
    /// Something was stored for this URI, but for requests that differ in a field that `Vary` names.
    VaryMiss,
    /// Only a part was stored, and not the part that was asked for.
    PartialMiss,
    /// A stale entry was served because the reader takes stale answers.
    MaxStale,
    /// The answer may be stored but says that it must be validated before each reuse.
    NoCache,
    /// The reader asked for an answer that the origin has validated.
    RequestNoCache,
    /// The reader asked for a younger answer than the stored one.
    RequestMaxAge,
    /// The reader asked for an answer that stays fresh longer than the stored one.
    RequestMinFresh,
    /// The reader asked for one version (`If-Match`, `If-Unmodified-Since`), and another one is stored.
    Precondition,
    /// The reader asked for a stored answer or none, and there was none that would do.
    OnlyIfCached,
    /// The method is one whose answers are neither stored nor answered from a store.
    Method,
    /// The status is one that may not be stored, or not without being told to.
    Status,
    /// The answer may be stored only by a cache that understands its status, and this one does not.
    MustUnderstand,
    /// The answer says that it must not be stored.
    NoStore,
    /// The request says that its answer must not be stored.
    RequestNoStore,
    /// The answer says that it is for one reader only.
    Private,
    /// The request carried credentials, and the answer does not say that others may have it.
    Authorization,
    /// The answer sets a cookie and does not say that others may have it.
    SetCookie,
    /// The request carried a cookie, and the answer does not say that others may have it.
    Cookie,
    /// The answer depends on more than its request (`Vary: *`).
    VaryStar,
    /// The answer says neither how long it is fresh nor by what it could be validated.
    NoFreshness,
    /// The answer is a part of something, and does not say clearly which.
    ContentRange,
    /// The answer is of a kind that has no end, or has gone on for too long.
    Endless,
    /// The answer is an error that its own request may have caused: a large head, say, or a field that
    /// others do not send.
    UnusualRequest,
    /// The answer is in a transfer coding that was not undone.
    TransferCoding,
    /// The answer is of another media type than its path looks like (`/account/x.css`, and it is a page): it may be
    /// somebody's, asked for under a name that makes caches keep it.
    PathType,
    /// The request spells its URI otherwise than its key does (its host in capitals, a port that goes without
    /// saying, an escape that need not be one): the origin was asked in that spelling, and
    /// its answer is for this reader alone.
    Spelling,
    /// No key can be made of the request's URI: it is longer than a key may be, has dot segments, which some services take
    /// out and others do not, or bytes that no URI has. Its answer is for this reader alone.
    NoKey,
}

impl Reason {
    /// Each of them, in the order of their [numbers](Reason::index).
    pub const ALL: [Reason; 43] = [
        Reason::Hit,
        Reason::Shared,
        Reason::StaleWhileRevalidate,
        Reason::StaleIfError,
        Reason::SoftTimeout,
        Reason::Collapsed,
        Reason::UriMiss,
        Reason::Expired,
        Reason::BypassRule,
        Reason::NotStorable,
        Reason::TooLarge,
        Reason::NoRoom,
        Reason::TooManyTags,
        Reason::Purged,
        Reason::Unsure,
        Reason::OriginError,
        Reason::VaryMiss,
        Reason::PartialMiss,
        Reason::MaxStale,
        Reason::NoCache,
        Reason::RequestNoCache,
        Reason::RequestMaxAge,
        Reason::RequestMinFresh,
        Reason::Precondition,
        Reason::OnlyIfCached,
        Reason::Method,
        Reason::Status,
        Reason::MustUnderstand,
        Reason::NoStore,
        Reason::RequestNoStore,
        Reason::Private,
        Reason::Authorization,
        Reason::SetCookie,
        Reason::Cookie,
        Reason::VaryStar,
        Reason::NoFreshness,
        Reason::ContentRange,
        Reason::Endless,
        Reason::UnusualRequest,
        Reason::TransferCoding,
        Reason::PathType,
        Reason::Spelling,
        Reason::NoKey,
    ];

    /// Its place among [`ALL`](Reason::ALL): for tables with a cell for each. Not stable.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word itself, in kebab case; stable, and a valid structured-field token (RFC 9651 §3.3.4).
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Hit => "hit",
            Reason::Shared => "shared",
            Reason::StaleWhileRevalidate => "stale-while-revalidate",
            Reason::StaleIfError => "stale-if-error",
            Reason::SoftTimeout => "soft-timeout",
            Reason::Collapsed => "collapsed",
            Reason::UriMiss => "uri-miss",
            Reason::Expired => "expired",
            Reason::BypassRule => "bypass-rule",
            Reason::NotStorable => "not-storable",
            Reason::TooManyTags => "too-many-tags",
            Reason::NoRoom => "no-room",
            Reason::TooLarge => "too-large",
            Reason::Purged => "purged",
            Reason::Unsure => "unsure",
            Reason::OriginError => "origin-error",
            Reason::VaryMiss => "vary-miss",
            Reason::PartialMiss => "partial-miss",
            Reason::MaxStale => "max-stale",
            Reason::NoCache => "no-cache",
            Reason::RequestNoCache => "request-no-cache",
            Reason::RequestMaxAge => "request-max-age",
            Reason::RequestMinFresh => "request-min-fresh",
            Reason::Precondition => "precondition",
            Reason::OnlyIfCached => "only-if-cached",
            Reason::Method => "method",
            Reason::Status => "status",
            Reason::MustUnderstand => "must-understand",
            Reason::NoStore => "no-store",
            Reason::RequestNoStore => "request-no-store",
            Reason::Private => "private",
            Reason::Authorization => "authorization",
            Reason::SetCookie => "set-cookie",
            Reason::Cookie => "cookie",
            Reason::VaryStar => "vary-star",
            Reason::NoFreshness => "no-freshness",
            Reason::ContentRange => "content-range",
            Reason::Endless => "endless",
            Reason::UnusualRequest => "unusual-request",
            Reason::TransferCoding => "transfer-coding",
            Reason::PathType => "path-type",
            Reason::Spelling => "spelling",
            Reason::NoKey => "no-key",
        }
    }

    /// The same for people: one sentence. Its words may change; [`as_str`](Reason::as_str) does not.
    pub const fn says(self) -> &'static str {
        match self {
            Reason::Hit => "A fresh answer is stored.",
            Reason::Shared => "A fresh answer is stored in the tier that processes share.",
            Reason::StaleWhileRevalidate => {
                "What is stored is stale, and may be served while it is refreshed."
            }
            Reason::StaleIfError => {
                "What is stored is stale, and stands in for an origin that failed."
            }
            Reason::SoftTimeout => {
                "What is stored is stale, and stands in for an origin that took too long."
            }
            Reason::Collapsed => {
                "Another reader's fetch of the same was under way, and its answer was shared."
            }
            Reason::UriMiss => "Nothing is stored under this key.",
            Reason::Expired => "What is stored is stale, and may not be served without asking.",
            Reason::BypassRule => "The rules keep the cache out of this request.",
            Reason::NotStorable => "The answer is of a kind that is not stored.",
            Reason::TooLarge => "The answer is larger than what may be stored.",
            Reason::NoRoom => "There was no room for the answer at that moment.",
            Reason::TooManyTags => "The answer has more tags than one entry may have.",
            Reason::Purged => {
                "A purge came while the answer was fetched: it may be older than the purge, and is not stored."
            }
            Reason::Unsure => {
                "The shared tier has not been heard of for too long to go by what is stored."
            }
            Reason::OriginError => "The origin failed to answer.",
            Reason::VaryMiss => {
                "What is stored for this URL is for requests that differ in a field that Vary names, in what their route asks for, \
                 or in how the URL is written."
            }
            Reason::PartialMiss => "A part is stored, and not the part that was asked for.",
            Reason::MaxStale => "What is stored is stale, and the reader takes stale answers.",
            Reason::NoCache => {
                "The stored answer says no-cache: it is asked about before each use."
            }
            Reason::RequestNoCache => {
                "The request says no-cache: it wants an answer from the origin."
            }
            Reason::RequestMaxAge => "The request says max-age, and what is stored is older.",
            Reason::RequestMinFresh => {
                "The request says min-fresh, and what is stored is not fresh for so long."
            }
            Reason::Precondition => "The request asks for one version, and another one is stored.",
            Reason::OnlyIfCached => {
                "The request says only-if-cached, and nothing that is stored will do."
            }
            Reason::Method => {
                "Answers to this method are neither stored nor answered from what is stored."
            }
            Reason::Status => {
                "An answer with this status is not stored unless it says that it may be."
            }
            Reason::MustUnderstand => {
                "The answer may be stored by those alone that understand its status."
            }
            Reason::NoStore => "The answer says no-store.",
            Reason::RequestNoStore => "The request says no-store.",
            Reason::Private => "The answer says private: it is for one reader.",
            Reason::Authorization => {
                "The request shows credentials, and the answer does not say that others may have it."
            }
            Reason::SetCookie => {
                "The answer sets a cookie, and does not say that others may have it."
            }
            Reason::Cookie => {
                "The request has a cookie, and the answer does not say that others may have it."
            }
            Reason::VaryStar => "The answer says Vary: *, so it fits no other request.",
            Reason::NoFreshness => {
                "The answer says neither how long it is fresh nor by what it could be validated."
            }
            Reason::ContentRange => {
                "The answer is a part of something, and does not say clearly which."
            }
            Reason::Endless => "The answer is of a kind that has no end, or goes on for too long.",
            Reason::UnusualRequest => {
                "The answer is an error that its own request may have caused."
            }
            Reason::TransferCoding => "The answer is in a transfer coding that was not undone.",
            Reason::PathType => {
                "The answer is of another media type than its path looks like, and may be somebody's."
            }
            Reason::Spelling => {
                "The request spells its URL otherwise than the key, so its answer is for its reader alone."
            }
            Reason::NoKey => {
                "No key can be made of the URL: it is longer than 8 KiB, has dot segments, or bytes that no URL has."
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_has_a_place_and_a_word_of_its_own() {
        let words: HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), place, "{reason}");
        }
    }
}
