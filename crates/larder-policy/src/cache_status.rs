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
        why: Forward,
        status: Option<u16>,
        stored: bool,
        collapsed: bool,
    },
}

/// Why a request went forward to the origin (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The cache was told to stay out of it.
    Bypass,
    /// The method's semantics require it.
    Method,
    /// Nothing was stored for this URI.
    UriMiss,
    /// Something was stored for this URI, but not for these selecting fields (`Vary`).
    VaryMiss,
    /// Nothing that is stored fits, and which of the two reasons above it is cannot be told.
    Miss,
    /// What was stored was fresh, but the reader wants an answer of the origin
    /// (`Cache-Control: no-cache`, for instance).
    Request,
    /// What was stored was no longer fresh.
    Stale,
    /// What was stored does not have all bytes that were asked for.
    Partial,
}

impl Forward {
    /// Which of the standard's reasons comes nearest to ours.
    pub const fn of(reason: Reason) -> Forward {
        match reason {
            Reason::UriMiss => Forward::UriMiss,
            Reason::VaryMiss => Forward::VaryMiss,
            Reason::PartialMiss => Forward::Partial,
            Reason::Method => Forward::Method,
            Reason::RequestNoCache | Reason::RequestMaxAge | Reason::RequestMinFresh => {
                Forward::Request
            }
            Reason::Expired | Reason::NoCache | Reason::Purged => Forward::Stale,
            // Something fits, but this cache keeps out of such requests.
            Reason::BypassRule
            | Reason::RequestNoStore
            | Reason::Cookie
            | Reason::Authorization => Forward::Bypass,
            _ => Forward::Miss,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Forward::Bypass => "bypass",
            Forward::Method => "method",
            Forward::UriMiss => "uri-miss",
            Forward::VaryMiss => "vary-miss",
            Forward::Miss => "miss",
            Forward::Request => "request",
            Forward::Stale => "stale",
            Forward::Partial => "partial",
        }
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

    /// The request went forward; `status` is what the origin answered, if it did.
    pub fn forwarded(why: Forward, status: Option<u16>) -> Self {
        Self::new(Handling::Forwarded { why, status, stored: false, collapsed: false })
    }

    /// The cache answered by itself that it will not answer (`only-if-cached`, for instance).
    pub fn refused() -> Self {
        Self::new(Handling::Refused)
    }

    fn new(handling: Handling) -> Self {
        CacheStatus { handling, ttl_secs: None, key: None, detail: None }
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
                field.push_str(why.as_str());
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
        let status = CacheStatus::forwarded(Forward::UriMiss, Some(200))
            .stored_for(Duration::from_millis(299_999))
            .key("/posts/1")
            .detail(Reason::UriMiss);
        assert_eq!(
            status.to_field(),
            r#"Larder;fwd=uri-miss;fwd-status=200;stored;ttl=299;key="/posts/1";detail=uri-miss"#
        );
    }

    #[test]
    fn reasons_have_their_nearest_word_in_the_standard() {
        for (reason, expected) in [
            (Reason::UriMiss, "uri-miss"),
            (Reason::VaryMiss, "vary-miss"),
            (Reason::PartialMiss, "partial"),
            (Reason::Expired, "stale"),
            (Reason::NoCache, "stale"),
            (Reason::RequestMaxAge, "request"),
            (Reason::Method, "method"),
            (Reason::Cookie, "bypass"),
            (Reason::OriginError, "miss"),
        ] {
            assert_eq!(Forward::of(reason).as_str(), expected, "{reason}");
        }
    }

    #[test]
    fn whatever_it_says_is_a_structured_list_as_a_serialiser_writes_it() {
        let handlings = [
            CacheStatus::hit(Duration::from_secs(10)),
            CacheStatus::stale_hit(Duration::from_secs(9)),
            CacheStatus::refused(),
            CacheStatus::forwarded(Forward::UriMiss, Some(200)),
            CacheStatus::forwarded(Forward::VaryMiss, None).stored_for(Duration::MAX).collapsed(),
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
            CacheStatus::forwarded(Forward::Stale, None).collapsed().detail(Reason::Collapsed);
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
    fn each_reason_to_forward_is_written_as_it_is_registered() {
        for (why, word) in [
            (Forward::Bypass, "bypass"),
            (Forward::Method, "method"),
            (Forward::UriMiss, "uri-miss"),
            (Forward::VaryMiss, "vary-miss"),
            (Forward::Miss, "miss"),
            (Forward::Request, "request"),
            (Forward::Stale, "stale"),
            (Forward::Partial, "partial"),
        ] {
            let field = CacheStatus::forwarded(why, None).to_field();
            assert_eq!(field, format!("Larder;fwd={word}"));
        }
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
