//! The `Cache-Status` response field: what the cache did with this request (RFC 9211).

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use crate::{
    fields::{push_number, write_number},
    list,
    reason::Reason,
};

/// The name this cache signs with.
pub const CACHE_NAME: &str = "Larder";

/// One member of a `Cache-Status` list.
///
/// ```
/// use larder_policy::{cache_status::CacheStatus, reason::Reason};
/// use std::time::Duration;
///
/// let status = CacheStatus::hit(Duration::from_secs(297)).key("/posts/1").detail(Reason::Hit);
/// assert_eq!(status.to_field(), r#"Larder;hit;ttl=297;key="/posts/1";detail=hit"#);
/// ```
#[derive(Clone, Debug)]
pub struct CacheStatus<'a> {
    handling: Handling,
    /// Negative: stale for so long.
    ttl_secs: Option<i64>,
    key: Option<&'a str>,
    detail: Option<Reason>,
}

#[derive(Clone, Debug)]
enum Handling {
    Hit,
    /// Neither answered from the cache nor forwarded.
    Refused,
    Forwarded {
        why: Reason,
        status: Option<u16>,
        stored: bool,
        collapsed: bool,
    },
}

/// Why a request went forward to the origin, in the words of RFC 9211 §2.2: the most specific that holds.
const fn forward(why: Reason) -> &'static str {
    match why {
        // The cache was told to stay out of it.
        Reason::BypassRule | Reason::NoKey => "bypass",
        Reason::Method => "method",
        // What was purged for good is not stored any more.
        Reason::UriMiss | Reason::Purged | Reason::Unsure => "uri-miss",
        Reason::VaryMiss => "vary-miss",
        Reason::PartialMiss => "partial",
        // Something was stored and would have fitted, but what the request says forbids to use it: its
        // directives, its preconditions, or that it is one person's.
        Reason::RequestNoCache
        | Reason::RequestMaxAge
        | Reason::RequestMinFresh
        | Reason::RequestNoStore
        | Reason::Precondition
        | Reason::Authorization
        | Reason::Cookie
        | Reason::OnlyIfCached => "request",
        // What may not be used without asking is as good as stale.
        Reason::Expired
        | Reason::NoCache
        | Reason::MaxStale
        | Reason::StaleWhileRevalidate
        | Reason::StaleIfError
        | Reason::SoftTimeout => "stale",
        // These say what became of an answer, and not why one was needed.
        Reason::Hit
        | Reason::Shared
        | Reason::Collapsed
        | Reason::NotStorable
        | Reason::TooLarge
        | Reason::NoRoom
        | Reason::TooManyTags
        | Reason::OriginError
        | Reason::Status
        | Reason::MustUnderstand
        | Reason::NoStore
        | Reason::Private
        | Reason::SetCookie
        | Reason::VaryStar
        | Reason::NoFreshness
        | Reason::ContentRange
        | Reason::Endless
        | Reason::UnusualRequest
        | Reason::TransferCoding
        | Reason::PathType
        | Reason::Spelling => "miss",
    }
}

impl<'a> CacheStatus<'a> {
    /// The answer came from the cache and stays fresh for `left` (printed in whole seconds, rounded
    /// down: a reader must never believe an entry to live longer than it does).
    pub fn hit(left: Duration) -> Self {
        Self::new(Handling::Hit).ttl(left)
    }

    /// The answer came from the cache and has been stale for `stale` (printed as a negative TTL in
    /// whole seconds, rounded up: RFC 9211 §2.4).
    pub fn stale_hit(stale: Duration) -> Self {
        let mut status = Self::new(Handling::Hit);
        status.ttl_secs = Some(-seconds(stale.saturating_add(Duration::from_nanos(999_999_999))));
        status
    }

    /// The request went forward for this reason; `status` is what the origin answered, if it did. The
    /// reason is told in the standard's words; in ours by [`detail`](Self::detail).
    pub fn forwarded(why: Reason, status: Option<u16>) -> Self {
        Self::new(Handling::Forwarded { why, status, stored: false, collapsed: false })
    }

    /// The cache answered by itself that it will not answer (`only-if-cached`, for instance).
    pub fn refused() -> Self {
        Self::new(Handling::Refused)
    }

    fn new(handling: Handling) -> Self {
        CacheStatus { handling, ttl_secs: None, key: None, detail: None }
    }

    /// What came from the cache stands in for the origin's own answer, an error with this status: the
    /// request went forward for this reason, so it is no hit (RFC 9211 §2.1).
    ///
    /// Where the origin gave no answer it is one: without `fwd-status`, the status of what stands in would be
    /// read as the origin's (§2.3).
    pub fn stands_in_for(mut self, why: Reason, status: u16) -> Self {
        let status = Some(status);
        self.handling = Handling::Forwarded { why, status, stored: false, collapsed: false };
        self
    }

    /// The forwarded answer was stored and is fresh for `left`. Says nothing on a hit.
    pub fn stored_for(mut self, left: Duration) -> Self {
        if let Handling::Forwarded { stored, .. } = &mut self.handling {
            *stored = true;
            return self.ttl(left);
        }
        self
    }

    /// This request shared another's forwarding instead of causing its own (RFC 9211 §2.6). Says
    /// nothing on a hit.
    pub fn collapsed(mut self) -> Self {
        if let Handling::Forwarded { collapsed, .. } = &mut self.handling {
            *collapsed = true;
        }
        self
    }

    /// The key that was looked up. A key that is not printable ASCII is left out of the field:
    /// a structured-field string cannot carry it (RFC 9651 §3.3.3).
    pub fn key(mut self, key: &'a str) -> Self {
        self.key = Some(key);
        self
    }

    /// Why, in Larder's own words.
    pub fn detail(mut self, reason: Reason) -> Self {
        self.detail = Some(reason);
        self
    }

    fn ttl(mut self, left: Duration) -> Self {
        self.ttl_secs = Some(seconds(left));
        self
    }

    /// The field's value: a list of one member (RFC 9651 §4.1), whose parts need no escaping but the key.
    pub fn to_field(&self) -> String {
        let mut field = String::with_capacity(96 + self.key.map_or(0, str::len));
        field.push_str(CACHE_NAME);
        match self.handling {
            Handling::Hit => field.push_str(";hit"),
            Handling::Refused => {}
            Handling::Forwarded { why, status, stored, collapsed } => {
                field.push_str(";fwd=");
                field.push_str(forward(why));
                if let Some(status) = status {
                    field.push_str(";fwd-status=");
                    push_number(status.into(), &mut field);
                }
                if stored {
                    field.push_str(";stored");
                }
                if collapsed {
                    field.push_str(";collapsed");
                }
            }
        }
        if let Some(secs) = self.ttl_secs {
            field.push_str(if secs < 0 { ";ttl=-" } else { ";ttl=" });
            push_number(secs.unsigned_abs(), &mut field);
        }
        if let Some(key) = self.key {
            push_key(key, &mut field);
        }
        if let Some(reason) = self.detail {
            field.push_str(";detail=");
            field.push_str(reason.as_str());
        }
        field
    }

    /// In one word: `hit`, why the request went forward in the words of RFC 9211, or nothing where it was refused.
    pub fn word(&self) -> &'static str {
        match self.handling {
            Handling::Hit => "hit",
            Handling::Refused => "",
            Handling::Forwarded { why, .. } => forward(why),
        }
    }

    /// The value of a plain hit, [`hit`](Self::hit) with the detail of the same name, for who writes it
    /// straight into an answer. The key is one that [`RequestKey::write`](crate::key::RequestKey::write)
    /// has written: nothing in such a key has to be escaped.
    pub fn write_hit(left: Duration, key: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Larder;hit;ttl=");
        write_number(seconds(left).unsigned_abs(), out);
        if let Some(key) = key {
            out.extend_from_slice(b";key=\"");
            out.extend_from_slice(key.as_bytes());
            out.push(b'"');
        }
        out.extend_from_slice(b";detail=hit");
    }

    /// Appends this cache to what those nearer to the origin have written (RFC 9211 §2).
    pub fn append_to(&self, headers: &mut HeaderMap) {
        let name = HeaderName::from_static("cache-status");
        list::append_member(headers, name, self.to_field());
    }
}

/// As a string of RFC 9651 §4.1.6, which carries visible ASCII and spaces only.
fn push_key(key: &str, field: &mut String) {
    if key.bytes().any(|byte| !matches!(byte, b' '..=b'~')) {
        return;
    }
    field.push_str(";key=\"");
    for letter in key.chars() {
        if matches!(letter, '"' | '\\') {
            field.push('\\');
        }
        field.push(letter);
    }
    field.push('"');
}

/// Whole seconds, at most 2^31: a structured field has no room for more than 15 digits, and no cache
/// counts further (RFC 9111 §1.2.2).
fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX).min(1 << 31)
}

#[cfg(test)]
mod tests {
    use sfv::{FieldType, List, Parser};

    use super::*;

    #[test]
    fn a_miss_says_why_what_the_origin_answered_and_that_it_was_stored() {
        let status = CacheStatus::forwarded(Reason::UriMiss, Some(200))
            .stored_for(Duration::from_millis(299_999))
            .key("/posts/1")
            .detail(Reason::UriMiss);
        assert_eq!(
            status.to_field(),
            r#"Larder;fwd=uri-miss;fwd-status=200;stored;ttl=299;key="/posts/1";detail=uri-miss"#
        );
    }

    /// A new reason does not compile before it stands here.
    macro_rules! words {
        ($($word:literal: $($reason:ident)*,)*) => {
            fn word(reason: Reason) -> &'static str {
                match reason {
                    $($(Reason::$reason)|* => $word,)*
                }
            }

            const REASONS: &[Reason] = &[$($(Reason::$reason,)*)*];
        };
    }

    words! {
        "bypass": BypassRule NoKey,
        "method": Method,
        "uri-miss": UriMiss Purged Unsure,
        "vary-miss": VaryMiss,
        "partial": PartialMiss,
        "request": RequestNoCache RequestMaxAge RequestMinFresh RequestNoStore Precondition Authorization
            Cookie OnlyIfCached,
        "stale": Expired NoCache MaxStale StaleWhileRevalidate StaleIfError SoftTimeout,
        "miss": Hit Shared Collapsed NotStorable TooLarge NoRoom TooManyTags OriginError Status MustUnderstand
            NoStore Private SetCookie VaryStar NoFreshness ContentRange Endless UnusualRequest
            TransferCoding PathType Spelling,
    }

    #[test]
    fn each_reason_is_told_in_a_word_of_the_standard_and_in_its_own() {
        for &why in REASONS {
            let field = CacheStatus::forwarded(why, None).detail(why).to_field();
            assert_eq!(field, format!("Larder;fwd={};detail={why}", word(why)));
            let hit = CacheStatus::hit(Duration::ZERO).detail(why).to_field();
            assert_eq!(hit, format!("Larder;hit;ttl=0;detail={why}"));
            let refused = CacheStatus::refused().detail(why).to_field();
            assert_eq!(refused, format!("Larder;detail={why}"));
        }
    }

    #[test]
    fn whatever_it_says_is_a_structured_list_as_a_serialiser_writes_it() {
        let handlings = [
            CacheStatus::hit(Duration::from_secs(10)),
            CacheStatus::stale_hit(Duration::from_secs(9)),
            CacheStatus::stale_hit(Duration::from_secs(9)).stands_in_for(Reason::Expired, 503),
            CacheStatus::refused(),
            CacheStatus::forwarded(Reason::UriMiss, Some(200)),
            CacheStatus::forwarded(Reason::VaryMiss, None).stored_for(Duration::MAX).collapsed(),
        ];
        for handling in handlings {
            for key in [None, Some("http://example.org/a?b='c'"), Some(r#" "\ "#), Some("~é")] {
                let status = handling.clone().detail(Reason::Expired);
                let field = key.map_or(status.clone(), |key| status.key(key)).to_field();
                let list: List = Parser::new(&field).parse().expect(&field);
                assert_eq!(list.len(), 1, "{field}");
                assert_eq!(list.serialize().unwrap(), field);
            }
        }
    }

    #[test]
    fn a_follower_says_that_it_was_collapsed() {
        let status =
            CacheStatus::forwarded(Reason::Expired, None).collapsed().detail(Reason::Collapsed);
        assert_eq!(status.to_field(), "Larder;fwd=stale;collapsed;detail=collapsed");
    }

    #[test]
    fn a_key_with_quotes_is_escaped_and_one_beyond_ascii_left_out() {
        let hit = || CacheStatus::hit(Duration::ZERO);
        assert_eq!(hit().key(r#"a"b\"#).to_field(), r#"Larder;hit;ttl=0;key="a\"b\\""#);
        assert_eq!(hit().key("/größe").to_field(), "Larder;hit;ttl=0");
    }

    #[test]
    fn a_ttl_beyond_what_the_field_can_say_saturates() {
        assert_eq!(CacheStatus::hit(Duration::MAX).to_field(), "Larder;hit;ttl=2147483648");
    }

    #[test]
    fn a_hit_is_written_as_it_is_serialised() {
        for secs in [0, 9, 10, 299, 1 << 40] {
            for key in [None, Some("http://example.org/a?b='c'%22")] {
                let left = Duration::from_secs(secs);
                let status = CacheStatus::hit(left).detail(Reason::Hit);
                let status = key.map_or(status.clone(), |key| status.key(key));
                let mut written = Vec::new();
                CacheStatus::write_hit(left, key, &mut written);
                assert_eq!(String::from_utf8(written).unwrap(), status.to_field());
            }
        }
    }

    #[test]
    fn a_stale_hit_has_a_negative_ttl() {
        let stale = |millis| CacheStatus::stale_hit(Duration::from_millis(millis)).to_field();
        assert_eq!(stale(1), "Larder;hit;ttl=-1");
        assert_eq!(stale(12_000), "Larder;hit;ttl=-12");
    }

    #[test]
    fn what_stands_in_for_an_error_of_the_origin_is_no_hit() {
        let stale = CacheStatus::stale_hit(Duration::from_secs(30));
        let status = stale.stands_in_for(Reason::Expired, 503).detail(Reason::StaleIfError);
        let field = "Larder;fwd=stale;fwd-status=503;ttl=-30;detail=stale-if-error";
        assert_eq!(status.to_field(), field);
    }

    #[test]
    fn caches_nearer_to_the_origin_come_first() {
        let mut headers = HeaderMap::new();
        headers.append("cache-status", "Origin; hit".parse().unwrap());
        headers.append("cache-status", "Shield; fwd=stale".parse().unwrap());
        CacheStatus::hit(Duration::ZERO).append_to(&mut headers);
        let lines: Vec<_> = headers.get_all("cache-status").iter().collect();
        assert_eq!(lines, ["Origin; hit", "Shield; fwd=stale", "Larder;hit;ttl=0"]);
    }

    #[test]
    fn a_list_that_would_take_ours_with_it_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.append("cache-status", "HIT from edge (1)".parse().unwrap());
        CacheStatus::hit(Duration::ZERO).append_to(&mut headers);
        let lines: Vec<_> = headers.get_all("cache-status").iter().collect();
        assert_eq!(lines, ["Larder;hit;ttl=0"]);
    }

    #[test]
    fn what_only_a_forwarded_request_can_be_says_nothing_on_a_hit() {
        let status = CacheStatus::hit(Duration::from_secs(1)).collapsed().stored_for(Duration::MAX);
        assert_eq!(status.to_field(), "Larder;hit;ttl=1");
    }
}
