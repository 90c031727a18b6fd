//! Own tag: an entity tag of the cache's own, where an origin gives none.
//!
//! It is made from the bytes that are stored, and so it is strong (RFC 9110 §8.8.1). The origin knows nothing of it: it is
//! taken out of what a request asks the origin under a condition, and nothing stored is validated by it.

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
        LAST_MODIFIED, RANGE,
    },
};

use crate::{
    etag::{EntityTag, TagList},
    list,
    response::Digest,
    settings::Policy,
    stored::{Extent, Saying, StoredHead},
};

/// Before the digits, within the quotes.
const MARK: &[u8] = b"larder-";
const DIGITS: usize = 32;

impl StoredHead {
    /// Whether it gets a tag of the cache's own once all of its body is here.
    pub fn wants_own_tag(&self, policy: &Policy) -> bool {
        policy.own_tags
            && self.status() == StatusCode::OK
            && self.extent() == Extent::Whole
            && !self.fields().contains(ETAG.as_str())
    }

    /// The same with a tag. `digest`: of its bytes, and of what says what they mean.
    pub fn with_own_tag(self, digest: [u8; 16]) -> StoredHead {
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let tag = HeaderValue::try_from(format!("\"larder-{digits}\"")).expect("visible ASCII");
        self.tagged(tag)
    }

    /// Its tag, where that is the cache's own.
    pub(crate) fn own_tag(&self) -> Option<HeaderValue> {
        let is_own = self.said.sayings.has(Saying::OwnTag);
        self.etag().filter(|_| is_own).and_then(|tag| HeaderValue::from_bytes(tag).ok())
    }

    /// The same with this tag of the cache's own.
    pub(crate) fn tagged(self, tag: HeaderValue) -> StoredHead {
        let mut headers = self.headers();
        headers.insert(ETAG, tag);
        let mut said = self.said;
        said.sayings = said.sayings.with(Saying::OwnTag, true);
        let (received_at, date, initial_age) = (self.received_at, self.date, self.initial_age);
        let (status, answers) = (self.status, self.answers);
        let digest = Digest { received_at, date, initial_age, said, status, answers };
        let extras = self.extras.clone().map(|extras| *extras).unwrap_or_default();
        // One that is too long for a tag goes without.
        digest.of_fields(&headers, extras).unwrap_or(self)
    }

    /// What the origin can be asked by.
    pub(crate) fn has_own_tag(&self) -> bool {
        self.said.sayings.has(Saying::OwnTag)
    }
}

/// Takes the cache's own tags out of what a request asks the origin: it would compare them with nothing.
///
/// A range that is wanted of such a version is not asked for: the origin cannot tell whether it still has that version, and
/// would send all of it. Whoever asks for a change of such versions alone is not asked for at all
/// ([`names_own_versions_alone`]).
pub fn hide_own_tags(policy: &Policy, headers: &mut HeaderMap) {
    if !policy.own_tags {
        return;
    }
    // Without the tags the dates would be judged instead, which are less accurate (RFC 9110 §13.1.3, §13.1.4).
    without_own(headers, IF_NONE_MATCH, IF_MODIFIED_SINCE);
    without_own(headers, IF_MATCH, IF_UNMODIFIED_SINCE);
    let of_range = list::single(&*headers, IF_RANGE.as_str()).and_then(EntityTag::parse);
    if of_range.is_some_and(|tag| is_own(&tag)) {
        headers.remove(IF_RANGE);
        headers.remove(RANGE);
    }
}

/// Whether a request is to be done only to a version (`If-Match`) that nobody but the cache knows by its tag. No origin could
/// compare it, and one that does not look at the condition would overwrite what has come between.
pub fn names_own_versions_alone(policy: &Policy, headers: &HeaderMap) -> bool {
    if !policy.own_tags {
        return false;
    }
    match TagList::of(headers, IF_MATCH.as_str()) {
        Some(TagList::Listed(listed)) => !listed.is_empty() && listed.iter().all(is_own),
        _ => false,
    }
}

/// A list of tags without those of the cache, and without this date where no other is left.
fn without_own(headers: &mut HeaderMap, name: HeaderName, date: HeaderName) {
    let Some(TagList::Listed(listed)) = TagList::of(&*headers, name.as_str()) else { return };
    if !listed.iter().any(is_own) {
        return;
    }
    let mut left = Vec::new();
    for tag in listed.iter().filter(|tag| !is_own(tag)) {
        if !left.is_empty() {
            left.extend_from_slice(b", ");
        }
        tag.write_to(&mut left);
    }
    headers.remove(&name);
    match HeaderValue::from_bytes(&left) {
        Ok(value) if !left.is_empty() => drop(headers.insert(name, value)),
        _ => drop(headers.remove(date)),
    }
}

fn is_own(tag: &EntityTag<'_>) -> bool {
    // A coded form's is the plain one's with more behind it.
    let digits = tag.inner().and_then(|inner| inner.strip_prefix(MARK));
    digits
        .and_then(|digits| digits.get(..DIGITS))
        .is_some_and(|digits| digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')))
}

/// Whether it has a date that the origin can be asked by.
pub(crate) fn has_date(headers: crate::fields::Fields<'_>) -> bool {
    let date = headers.first(LAST_MODIFIED.as_str());
    date.is_some_and(|value| crate::date::parse(value).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_asked_by_its_own_tags_only() {
        let own = format!("\"larder-{}\"", "0a".repeat(16));
        let policy = Policy::guarded().own_tags(true);
        for (sent, left) in [
            (own.clone(), None),
            (format!("\"a\", {own}, W/\"b\""), Some("\"a\", W/\"b\"")),
            (format!("W/{own}"), None),
            (format!("\"larder-{}-gzip\"", "0a".repeat(16)), None),
            ("\"larder-x\"".to_owned(), Some("\"larder-x\"")),
            ("*".to_owned(), Some("*")),
            ("\"a\"".to_owned(), Some("\"a\"")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, sent.parse().unwrap());
            headers.insert(IF_MODIFIED_SINCE, HeaderValue::from_static("a date"));
            hide_own_tags(&policy, &mut headers);
            assert_eq!(headers.contains_key(IF_MODIFIED_SINCE), left.is_some(), "{sent}");
            let there = headers.get(IF_NONE_MATCH).map(|value| value.to_str().unwrap());
            assert_eq!(there, left, "{sent}");
            let mut untouched = HeaderMap::new();
            untouched.insert(IF_NONE_MATCH, sent.parse().unwrap());
            hide_own_tags(&Policy::guarded(), &mut untouched);
            assert_eq!(untouched[IF_NONE_MATCH], *sent, "where none are given");
        }
        let mut headers = HeaderMap::new();
        headers.insert(IF_RANGE, own.parse().unwrap());
        headers.insert(RANGE, HeaderValue::from_static("bytes=3-"));
        hide_own_tags(&policy, &mut headers);
        assert!(headers.is_empty(), "{headers:?}");
    }

    #[test]
    fn what_is_to_be_done_to_a_version_of_ours_alone_is_no_origin_s_to_judge() {
        let own = format!("\"larder-{}\"", "0a".repeat(16));
        let policy = Policy::guarded().own_tags(true);
        for (sent, is_ours_alone, left) in [
            (own.clone(), true, None),
            (format!("{own}, {own}"), true, None),
            (format!("{own}, \"a\""), false, Some("\"a\"")),
            ("\"a\"".to_owned(), false, Some("\"a\"")),
            ("*".to_owned(), false, Some("*")),
            (String::new(), false, Some("")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH, sent.parse().unwrap());
            assert_eq!(names_own_versions_alone(&policy, &headers), is_ours_alone, "{sent}");
            assert!(!names_own_versions_alone(&Policy::guarded(), &headers), "{sent}");
            hide_own_tags(&policy, &mut headers);
            let there = headers.get(IF_MATCH).map(|value| value.to_str().unwrap());
            assert_eq!(there, left, "{sent}");
        }
        assert!(!names_own_versions_alone(&policy, &HeaderMap::new()));
    }
}
