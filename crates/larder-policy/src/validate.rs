//! Validation: is what is stored, or what the reader holds, still current?
//!
//! ```text
//!            reader's conditions          our conditions
//!   reader ───── precondition ─── cache ──── conditional ───▶ origin
//!          ◀──── not_modified ───       ◀─── freshened_by ─── 304
//!                                             freshen
//! ```
//!
//! RFC 9110 §13 and §15.4.5, RFC 9111 §3.2 and §4.3.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::{
    date,
    etag::{EntityTag, TagList},
    fields::{Fields, read_number},
    forward,
    head::{Asking, ResponseHead},
    list,
    request::is_for_the_origin,
};

/// The fields that turn a forwarded request into a question about what is stored (RFC 9111 §4.3.1):
/// every entity tag in one `If-None-Match`, and the latest `Last-Modified` as `If-Modified-Since`.
/// Empty if none of the stored responses has a validator.
///
/// The origin's own bytes are sent back, also where they are no proper tag: it compares them with
/// what it wrote. A date that is none is left out, since `If-Modified-Since` would be ignored.
///
/// A stored part may be among them only if the request asks for bytes that lie within it
/// (RFC 9111 §4.3.2); the caller knows which do.
pub fn conditional<'a, F: Into<Fields<'a>>>(stored: impl IntoIterator<Item = F>) -> HeaderMap {
    let mut tags: Vec<EntityTag<'a>> = Vec::new();
    let mut latest: Option<(SystemTime, &[u8])> = None;
    for headers in stored {
        let headers = headers.into();
        if let Some(tag) = EntityTag::of(headers).filter(EntityTag::fits_in_list)
            && !tags.contains(&tag)
        {
            tags.push(tag);
        }
        if let Some((at, value)) =
            last_modified(headers).zip(headers.first(header::LAST_MODIFIED.as_str()))
            && latest.is_none_or(|(latest, _)| at > latest)
        {
            latest = Some((at, value));
        }
    }
    let mut conditions = HeaderMap::new();
    let mut list = Vec::new();
    for tag in &tags {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        tag.write_to(&mut list);
    }
    if !list.is_empty()
        && let Ok(list) = HeaderValue::from_bytes(&list)
    {
        conditions.insert(header::IF_NONE_MATCH, list);
    }
    if let Some(Ok(value)) = latest.map(|(_, value)| HeaderValue::from_bytes(value)) {
        conditions.insert(header::IF_MODIFIED_SINCE, value);
    }
    conditions
}

/// Which of the nominated responses a 304 is about, by their places in the slice (RFC 9111 §4.3.4).
/// None: the 304 speaks of something that is not stored, and nothing may be updated by it.
///
/// The first of these that applies:
///
/// 1. The 304 has a strong validator: all that share it.
/// 2. It has only weak ones: the most recent of those that match.
/// 3. It has none, and one response was nominated: that one.
///
/// Strict: an entity tag that differs outweighs a `Last-Modified` that agrees (RFC 9110 §13.2.2
/// takes tags to be the more accurate), and one that agrees outweighs it, too: a tag is never given
/// to two bodies because they bear the same date.
///
/// Lenient, since no other reading is possible when only one response was asked about: a 304 with
/// no validator at all counts although §4.3.4 expects the stored one to lack them as well (many
/// frameworks send such 304s), and a strong tag counts as the weak one that was asked about
/// (servers that compress on the way out weaken the tag of a 200, but not of a 304).
pub fn freshened_by<'a, F: Into<Fields<'a>> + Copy>(
    not_modified: &HeaderMap,
    nominated: &[F],
) -> Vec<usize> {
    let not_modified = Fields::from(not_modified);
    let nominated: Vec<Fields<'a>> = nominated.iter().map(|stored| (*stored).into()).collect();
    let matching = |matches: &dyn Fn(Fields<'a>) -> bool| -> Vec<usize> {
        let places = nominated.iter().enumerate();
        places.filter(|(_, stored)| matches(**stored)).map(|(place, _)| place).collect()
    };
    let tag = EntityTag::of(not_modified);
    let modified = last_modified(not_modified);

    // The later of two equally recent ones: they are given in the order in which they came.
    let most_recent = |places: Vec<usize>| -> Vec<usize> {
        let recent = places.into_iter().max_by_key(|&place| response_date(nominated[place]));
        recent.into_iter().collect()
    };

    let by_tag = matching(&|stored| {
        tag.zip(EntityTag::of(stored)).is_some_and(|(tag, stored)| tag.strongly_matches(&stored))
    });
    if !by_tag.is_empty() {
        return by_tag;
    }
    let by_date = matching(&|stored| share_strong_validator(not_modified, stored));
    if !by_date.is_empty() {
        return if tag.is_some() { most_recent(by_date) } else { by_date };
    }
    if tag.is_some_and(|tag| tag.is_strong()) {
        return match nominated[..] {
            [only] if same_tag(tag, EntityTag::of(only)) == Some(true) => vec![0],
            _ => Vec::new(),
        };
    }
    if tag.is_some() || modified.is_some() {
        let places = matching(&|stored| match same_tag(tag, EntityTag::of(stored)) {
            Some(same) => same,
            None => modified.is_some() && modified == last_modified(stored),
        });
        return most_recent(places);
    }
    if nominated.len() == 1 { vec![0] } else { Vec::new() }
}

/// Which of the nominated responses answers the request that a 304 answers, by its place in the slice
/// (RFC 9111 §4.1, §4.3.4). `None`: that cannot be told, and all of it is to be asked for.
///
/// Where one was nominated, it is the one that the request selects. Where there were several, they are
/// variants that the request does not select, and only an entity tag tells one of them from another: they
/// may bear the same date. Those that share a tag are of the same bytes, and the most recent of them is
/// taken; if they are in different content codings, the origin's tag tells nothing of the bytes.
pub fn answered_by<'a, F: Into<Fields<'a>> + Copy>(
    not_modified: &HeaderMap,
    nominated: &[F],
) -> Option<usize> {
    let confirmed = freshened_by(not_modified, nominated);
    let &last = confirmed.last()?;
    if nominated.len() > 1 {
        EntityTag::of(not_modified)?;
    }
    let coding = |place: usize| -> Vec<&'a [u8]> {
        list::members(nominated[place].into(), header::CONTENT_ENCODING.as_str()).collect()
    };
    confirmed.iter().all(|&place| coding(place) == coding(last)).then_some(last)
}

/// The fields of a stored response after `update`, a 304, a HEAD answer or a later part, has been
/// merged into it (RFC 9111 §3.2). Each field of the update replaces all values stored under its
/// name, those with an unknown `Content-` name too; what it does not name stays.
///
/// Kept as stored, because the stored body depends on it or because it tells of a message's content
/// and not of the representation: `Content-Length`, `Content-Encoding`, `Content-Range`,
/// `Content-Digest`, `Content-MD5`. Never taken over: what §3.1 keeps out of storage. A weak tag is
/// not made strong: under a strong one, bytes could be joined that do not belong together.
///
/// `Age` and `Date` tell of the message that was generated or validated last (RFC 9111 §4.2.3). An
/// update without them therefore removes what was stored: else the response would look as old as
/// before it was validated. Who needs a `Date` uses the time at which the update came in.
pub fn freshen<'a>(stored: impl Into<Fields<'a>>, update: &HeaderMap) -> HeaderMap {
    let stored = stored.into();
    let mut merged = stored.to_map();
    merged.remove(header::AGE);
    merged.remove(header::DATE);
    for name in update.keys() {
        if KEPT.contains(name) || forward::is_never_stored(name) {
            continue;
        }
        if *name == header::ETAG && strengthens(stored, update) {
            continue;
        }
        merged.remove(name);
        for value in update.get_all(name) {
            merged.append(name.clone(), value.clone());
        }
    }
    merged
}

const KEPT: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
];

/// Whether the update would put a strong tag where a weak or badly written one is stored.
fn strengthens(stored: Fields<'_>, update: &HeaderMap) -> bool {
    EntityTag::of(stored).is_some_and(|tag| !tag.is_strong())
        && EntityTag::of(update).is_some_and(|tag| tag.is_strong())
}

/// What a HEAD answer says about a stored response to GET (RFC 9111 §4.3.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadSays {
    /// It is current: merge the answer into it with [`freshen`].
    Current,
    /// It is not: validate it before its next use.
    Changed,
    /// Nothing about it.
    Nothing,
}

/// What the answer `head` to a HEAD request says about `stored`, whose complete representation is
/// `complete_bytes` long as far as is known.
///
/// Every validator that the answer has must agree with the stored one, and its `Content-Length`
/// with the length. `needs_proof`: it must have a validator. To the letter of the standard an answer without any says
/// that what is stored is current; but then whoever asks for the head of a page each minute keeps the page of last week.
/// 404 and 410 make the stored response stale as well: the standard leaves them
/// open, and a resource that is gone is better asked for.
pub fn head_says(
    stored: ResponseHead<'_>,
    complete_bytes: Option<u64>,
    head: ResponseHead<'_>,
    needs_proof: bool,
) -> HeadSays {
    match head.status {
        StatusCode::NOT_FOUND | StatusCode::GONE if stored.status != head.status => {
            HeadSays::Changed
        }
        StatusCode::OK if is_ok_or_part(stored.status) => {
            let agrees = tags_agree(stored.headers, head.headers)
                && dates_agree(stored.headers, head.headers)
                && lengths_agree(complete_bytes, head.headers);
            let validators = [header::ETAG, header::LAST_MODIFIED];
            let proves = validators.iter().any(|name| head.headers.contains(name.as_str()));
            match agrees {
                true if proves || !needs_proof => HeadSays::Current,
                true => HeadSays::Nothing,
                false => HeadSays::Changed,
            }
        }
        // It was something else than 200 when it was stored, and is 200 now.
        StatusCode::OK => HeadSays::Changed,
        _ => HeadSays::Nothing,
    }
}

fn tags_agree(stored: Fields<'_>, head: Fields<'_>) -> bool {
    !head.contains(header::ETAG.as_str())
        || same_tag(EntityTag::of(stored), EntityTag::of(head)) == Some(true)
}

fn dates_agree(stored: Fields<'_>, head: Fields<'_>) -> bool {
    match list::single(head, header::LAST_MODIFIED.as_str()) {
        Some(value) => match date::parse(value) {
            Some(at) => last_modified(stored) == Some(at),
            None => list::single(stored, header::LAST_MODIFIED.as_str()) == Some(value),
        },
        None => !head.contains(header::LAST_MODIFIED.as_str()),
    }
}

fn lengths_agree(complete_bytes: Option<u64>, head: Fields<'_>) -> bool {
    match (list::single(head, header::CONTENT_LENGTH.as_str()), complete_bytes) {
        (Some(length), Some(bytes)) => read_number(length) == Some(bytes),
        (Some(_), None) => true,
        (None, _) => !head.contains(header::CONTENT_LENGTH.as_str()),
    }
}

/// What the reader's conditions ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The stored response itself (or a range of it).
    Proceed,
    /// Only the news that it has not changed: a 304 with the fields of [`not_modified`].
    NotModified,
}

/// Evaluates the reader's conditions on the stored response that was chosen for the request, in the
/// order of RFC 9110 §13.2.2. `received_at` is when the stored response came in.
///
/// A cache never answers 412: `If-Match` and `If-Unmodified-Since` are the origin's to judge (RFC 9111
/// §4.3.2). A stored response that does not meet them is not chosen ([`decide`](crate::reuse::decide)),
/// so neither is looked at here. Only stored 200 and 206 have a representation to compare with. QUERY is
/// treated as GET: RFC 10008 makes its result the selected representation.
///
/// Without `Last-Modified` the stored `Date` takes its place, without that the time of receipt
/// (§4.3.2): then 304 is only the answer if the reader's date is not before the stored response.
pub fn precondition<'a>(
    request: impl Into<Asking<'a>>,
    stored: ResponseHead<'_>,
    received_at: SystemTime,
) -> Precondition {
    let request = request.into();
    let retrieves =
        matches!(*request.method, Method::GET | Method::HEAD) || request.method.as_str() == "QUERY";
    if request.headers.ask_for_nothing() || !retrieves || !is_ok_or_part(stored.status) {
        return Precondition::Proceed;
    }
    // Where If-None-Match stands, also one that cannot be read, If-Modified-Since is ignored.
    if let Some(tags) = TagList::of(request.headers, header::IF_NONE_MATCH.as_str()) {
        return if tags.weakly_matches(EntityTag::of(stored.headers).as_ref()) {
            Precondition::NotModified
        } else {
            Precondition::Proceed
        };
    }
    let since = list::single(request.headers, header::IF_MODIFIED_SINCE.as_str());
    let Some(since) = since.and_then(date::parse) else {
        return Precondition::Proceed;
    };
    let modified = last_modified(stored.headers)
        .or_else(|| response_date(stored.headers))
        .unwrap_or(received_at);
    if modified <= since { Precondition::NotModified } else { Precondition::Proceed }
}

/// Whether a stored response meets the reader's `If-Match`, or without that `If-Unmodified-Since`
/// (RFC 9110 §13.1.1, §13.1.4). One that does not is no answer, though a cache could ignore the condition:
/// who asks for a range of one version would join it with ranges of another.
///
/// Only what has a representation is compared (§13.2.1), and an `If-Unmodified-Since` that cannot be read,
/// or meets no date, is ignored.
pub(crate) fn meets_conditions_for_the_origin(
    request: Fields<'_>,
    stored: ResponseHead<'_>,
) -> bool {
    if request.ask_for_nothing() || !is_for_the_origin(request) || !is_ok_or_part(stored.status) {
        return true;
    }
    if let Some(tags) = TagList::of(request, header::IF_MATCH.as_str()) {
        return tags.strongly_matches(EntityTag::of(stored.headers).as_ref());
    }
    let since = list::single(request, header::IF_UNMODIFIED_SINCE.as_str()).and_then(date::parse);
    // Most requests have neither, and reading a stored field costs more than reading all of theirs.
    since.is_none_or(|since| last_modified(stored.headers).is_none_or(|modified| modified <= since))
}

/// The fields of a 304 made from a stored response (RFC 9110 §15.4.5): all but those that describe
/// the representation, which the reader has. `Content-Location`, `Date`, `ETag`, `Vary`,
/// `Cache-Control` and `Expires` are among those that stay; `Last-Modified` stays where there is no
/// tag to find the reader's copy by.
pub fn not_modified<'a>(stored: impl Into<Fields<'a>>) -> HeaderMap {
    let stored = stored.into();
    let has_tag = stored.contains(header::ETAG.as_str());
    let mut fields = stored.to_map();
    for name in DESCRIBE_THE_REPRESENTATION {
        fields.remove(name);
    }
    if has_tag {
        fields.remove(header::LAST_MODIFIED);
    }
    fields
}

/// Whether a 304 has this field of a response, which has a tag or not.
pub(crate) fn stays_in_304(name: &HeaderName, has_tag: bool) -> bool {
    let is_found_by_tag = has_tag && *name == header::LAST_MODIFIED;
    !is_found_by_tag && !DESCRIBE_THE_REPRESENTATION.contains(&name.as_str())
}

/// As texts, which are compared in fewer steps than names.
const DESCRIBE_THE_REPRESENTATION: [&str; 9] = [
    "content-type",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    "content-digest",
    "content-md5",
    "repr-digest",
    "trailer",
];

/// Whether two responses are of exactly the same bytes, so that parts of them may be joined
/// (RFC 9110 §8.8.1). `stored` is the entry whose `Date` tells whether its `Last-Modified` is strong.
pub(crate) fn share_strong_validator(update: Fields<'_>, stored: Fields<'_>) -> bool {
    let tags = EntityTag::of(update).zip(EntityTag::of(stored));
    if let Some((one, other)) = tags
        && (one.is_strong() && other.is_strong() || !one.weakly_matches(&other))
    {
        return one.strongly_matches(&other);
    }
    let modified = strong_last_modified(stored);
    modified.is_some() && modified == last_modified(update)
}

/// `Last-Modified`, if the response was made at least a second later: no second version can then
/// bear the same date (RFC 9110 §8.8.2.2).
pub(crate) fn strong_last_modified(headers: Fields<'_>) -> Option<SystemTime> {
    let modified = last_modified(headers)?;
    let made = response_date(headers)?;
    (made >= modified.checked_add(Duration::from_secs(1))?).then_some(modified)
}

/// Whether two tags are the same, if both are there.
fn same_tag(one: Option<EntityTag<'_>>, other: Option<EntityTag<'_>>) -> Option<bool> {
    one.zip(other).map(|(one, other)| one.weakly_matches(&other))
}

fn last_modified(headers: Fields<'_>) -> Option<SystemTime> {
    list::single(headers, header::LAST_MODIFIED.as_str()).and_then(date::parse)
}

fn response_date(headers: Fields<'_>) -> Option<SystemTime> {
    list::single(headers, header::DATE.as_str()).and_then(date::parse)
}

fn is_ok_or_part(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT)
}
