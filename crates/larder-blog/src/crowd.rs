//! Crowd: many readers of the backend at once, each over a connection of its own, and what each of them is told of the cache.

use std::time::Duration;

use http::{StatusCode, Uri};
use sfv::{BareItem, ListEntry, Parser};

use crate::http_client::{HttpClient, HttpReply};

/// Each reader takes up to four files of a process that is all parts.
pub(crate) const MAX_READERS: usize = 500;
/// More than any answer of the backend takes, even if readers queue up.
const BUDGET: Duration = Duration::from_secs(30);

/// What one reader learns from its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) status: StatusCode,
    pub(crate) handling: Handling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handling {
    Hit,
    Stale,
    /// It caused a call of the posts service.
    Miss,
    /// It shared such a call.
    Collapsed,
    /// It caused a call, and the cache had no part in it.
    Pass,
    /// The answer does not say: neither cache nor posts service was asked.
    Unsaid,
}

/// Asks once, over a connection of its own. `None`: no answer came.
pub(crate) async fn read(uri: Uri) -> Option<Seen> {
    let reply = HttpClient::new(BUDGET, 0).get(uri).await;
    reply.ok().map(|reply| Seen::of(&reply))
}

impl Seen {
    fn of(reply: &HttpReply) -> Seen {
        let field = reply.headers.get("cache-status").and_then(|field| field.to_str().ok());
        Seen { status: reply.status, handling: field.map_or(Handling::Unsaid, handling) }
    }
}

/// Reads the first member of a `Cache-Status` field (RFC 9211 §2).
fn handling(field: &str) -> Handling {
    let Ok(list) = Parser::new(field).parse::<sfv::List>() else { return Handling::Unsaid };
    let Some(ListEntry::Item(member)) = list.first() else { return Handling::Unsaid };
    let is_set = |name: &str| member.params.get(name) == Some(&BareItem::Boolean(true));
    let is_over = || {
        let left = member.params.get("ttl").and_then(BareItem::as_integer);
        left.is_some_and(|left| i64::from(left) < 0)
    };
    let is_bypass = || {
        let why = member.params.get("fwd").and_then(BareItem::as_token);
        why.is_some_and(|why| why.as_str() == "bypass")
    };
    if is_set("hit") {
        if is_over() { Handling::Stale } else { Handling::Hit }
    } else if is_set("collapsed") {
        Handling::Collapsed
    } else if is_bypass() {
        Handling::Pass
    } else if member.params.contains_key("fwd") {
        Handling::Miss
    } else {
        Handling::Unsaid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_tells_what_a_request_was() {
        for (field, expected) in [
            ("Larder;hit;ttl=3", Handling::Hit),
            ("Larder;hit;ttl=0", Handling::Hit),
            ("Larder;hit", Handling::Hit),
            ("Larder;hit;ttl=-3;detail=stale-if-error", Handling::Stale),
            ("Larder; fwd=uri-miss; fwd-status=200; stored; ttl=300", Handling::Miss),
            ("Larder;fwd=stale", Handling::Miss),
            ("Larder;fwd=bypass;detail=bypass-rule", Handling::Pass),
            ("Larder;fwd=uri-miss;collapsed", Handling::Collapsed),
            ("Larder;detail=bypass-rule", Handling::Unsaid),
            ("Larder;key=\"a;hit\"", Handling::Unsaid),
            ("", Handling::Unsaid),
            ("Larder;;", Handling::Unsaid),
        ] {
            assert_eq!(handling(field), expected, "{field}");
        }
    }
}
