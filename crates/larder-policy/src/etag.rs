//! Entity tags: which version of a representation (RFC 9110 §8.8.3).

use http::header;

use crate::{
    fields::Fields,
    list::{self, Backslash},
};

/// One entity tag, borrowed from its field.
///
/// Origins write tags in ways the grammar does not know: without quotes, with a small `w`, with
/// spaces inside. Such a tag is kept as it stands: it equals its own bytes and nothing else, and is
/// never strong, so it can spare a transfer but never join two bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    kind: Kind,
    /// With its quotes, without the weakness indicator.
    opaque: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Strong,
    Weak,
    Malformed,
}

impl<'a> EntityTag<'a> {
    /// Reads one tag; `None` if there is nothing to read.
    pub fn parse(value: &'a [u8]) -> Option<EntityTag<'a>> {
        let value = list::trimmed(value);
        if value.is_empty() {
            return None;
        }
        // Case matters here: §8.8.3 writes %s"W/".
        let (kind, opaque) = match value.strip_prefix(b"W/") {
            Some(opaque) => (Kind::Weak, opaque),
            None => (Kind::Strong, value),
        };
        if is_opaque_tag(opaque) {
            return Some(EntityTag { kind, opaque });
        }
        Some(EntityTag { kind: Kind::Malformed, opaque: value })
    }

    /// The tag of a response. Two `ETag` lines contradict each other and count as none.
    pub fn of(headers: impl Into<Fields<'a>>) -> Option<EntityTag<'a>> {
        EntityTag::parse(list::single(headers, header::ETAG.as_str())?)
    }

    /// Whether it marks one exact sequence of bytes.
    pub fn is_strong(&self) -> bool {
        self.kind == Kind::Strong
    }

    /// Whether it is written as the standard says.
    pub(crate) fn is_well_formed(&self) -> bool {
        self.kind != Kind::Malformed
    }

    /// What stands between its quotes, if it is written as the standard says.
    pub(crate) fn inner(&self) -> Option<&'a [u8]> {
        self.is_well_formed().then(|| self.opaque.get(1..self.opaque.len() - 1)).flatten()
    }

    /// Strong comparison (§8.8.3.2): both strong, and the same. What parts are joined by.
    pub fn strongly_matches(&self, other: &EntityTag<'_>) -> bool {
        self.is_strong() && other.is_strong() && self.opaque == other.opaque
    }

    /// Weak comparison (§8.8.3.2): the same, weak or not. What answers 304.
    pub fn weakly_matches(&self, other: &EntityTag<'_>) -> bool {
        let malformed = |tag: &EntityTag<'_>| tag.kind == Kind::Malformed;
        malformed(self) == malformed(other) && self.opaque == other.opaque
    }

    /// Whether it can be one of several in a list without being taken apart.
    pub(crate) fn fits_in_list(&self) -> bool {
        self.kind != Kind::Malformed || !self.opaque.iter().any(|byte| b",\"".contains(byte))
    }

    /// As it is written in a field.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        if self.kind == Kind::Weak {
            out.extend_from_slice(b"W/");
        }
        out.extend_from_slice(self.opaque);
    }
}

/// What `If-None-Match` (or `If-Match`) names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagList<'a> {
    /// `*`: any version.
    Any,
    /// These; none at all if nothing could be read.
    Listed(Vec<EntityTag<'a>>),
}

impl<'a> TagList<'a> {
    /// Reads the field `name` over all its lines; `None` if there is none. A `*` among others is not
    /// the wildcard (RFC 9110 §13.1.2), only a badly written tag.
    pub fn of(headers: impl Into<Fields<'a>>, name: &str) -> Option<TagList<'a>> {
        let headers = headers.into();
        if list::single(headers, name) == Some(b"*") {
            return Some(TagList::Any);
        }
        headers.contains(name).then(|| {
            let tags = list::lines(headers, name)
                .flat_map(|line| list::split(line, b',', Backslash::IsPlain))
                .filter_map(EntityTag::parse);
            TagList::Listed(tags.collect())
        })
    }

    /// Whether the wildcard or one of the tags matches strongly: what `If-Match` asks (RFC 9110 §13.1.1).
    pub fn strongly_matches(&self, tag: Option<&EntityTag<'_>>) -> bool {
        match self {
            TagList::Any => true,
            TagList::Listed(tags) => {
                tag.is_some_and(|tag| tags.iter().any(|listed| listed.strongly_matches(tag)))
            }
        }
    }

    /// Whether the wildcard or one of the tags matches weakly.
    pub fn weakly_matches(&self, tag: Option<&EntityTag<'_>>) -> bool {
        match self {
            TagList::Any => true,
            TagList::Listed(tags) => {
                tag.is_some_and(|tag| tags.iter().any(|listed| listed.weakly_matches(tag)))
            }
        }
    }
}

/// A double quote, `etagc` bytes (visible ASCII and whatever lies beyond ASCII), a double quote.
fn is_opaque_tag(bytes: &[u8]) -> bool {
    matches!(bytes, [b'"', inner @ .., b'"']
        if inner.iter().all(|&byte| byte > 0x20 && byte != b'"' && byte != 0x7f))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn tag(text: &str) -> EntityTag<'_> {
        EntityTag::parse(text.as_bytes()).expect("not empty")
    }

    #[test]
    fn the_two_comparisons_are_those_of_the_table_in_rfc_9110() {
        for (one, other, strong, weak) in [
            (r#"W/"1""#, r#"W/"1""#, false, true),
            (r#"W/"1""#, r#"W/"2""#, false, false),
            (r#"W/"1""#, r#""1""#, false, true),
            (r#""1""#, r#""1""#, true, true),
        ] {
            assert_eq!(tag(one).strongly_matches(&tag(other)), strong, "{one} {other}");
            assert_eq!(tag(other).strongly_matches(&tag(one)), strong, "{one} {other}");
            assert_eq!(tag(one).weakly_matches(&tag(other)), weak, "{one} {other}");
            assert_eq!(tag(other).weakly_matches(&tag(one)), weak, "{one} {other}");
        }
    }

    #[test]
    fn a_badly_written_tag_equals_its_own_bytes_only_and_is_never_strong() {
        for text in
            ["abc", r#"w/"abc""#, r#"W\"abc""#, r#"W"abc""#, r#""a b""#, r#""abc"#, r#"""""#]
        {
            assert!(tag(text).weakly_matches(&tag(text)), "{text}");
            assert!(!tag(text).strongly_matches(&tag(text)), "{text}");
            assert!(!tag(text).weakly_matches(&tag(r#""abc""#)), "{text}");
        }
    }

    #[test]
    fn an_empty_tag_and_one_beyond_ascii_are_tags() {
        assert!(tag(r#""""#).is_strong());
        assert!(tag("\"größe\"").is_strong());
        assert_eq!(EntityTag::parse(b" \t"), None);
    }

    #[test]
    fn two_tags_in_one_response_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::ETAG, HeaderValue::from_static(r#""a""#));
        assert!(EntityTag::of(&headers).is_some());
        headers.append(header::ETAG, HeaderValue::from_static(r#""b""#));
        assert_eq!(EntityTag::of(&headers), None);
    }

    #[test]
    fn a_list_takes_commas_and_backslashes_inside_tags_as_they_are() {
        let mut headers = HeaderMap::new();
        headers.append(header::IF_NONE_MATCH, HeaderValue::from_static(r#""a,b" , W/"c\", d"#));
        headers.append(header::IF_NONE_MATCH, HeaderValue::from_static(r#""e""#));
        let list = TagList::of(&headers, "if-none-match").expect("there is one");
        for listed in [r#""a,b""#, r#""c\""#, "d", r#""e""#] {
            assert!(list.weakly_matches(Some(&tag(listed))), "{listed}");
        }
        assert!(!list.weakly_matches(Some(&tag(r#""d""#))));
        assert!(!list.weakly_matches(None));
    }

    #[test]
    fn a_star_is_the_wildcard_only_when_alone() {
        let read = |text: &'static str| {
            HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(text))])
        };
        assert_eq!(TagList::of(&read(" * "), "if-none-match"), Some(TagList::Any));
        let among = read(r#"*, "a""#);
        let list = TagList::of(&among, "if-none-match").expect("there is one");
        assert!(!list.weakly_matches(Some(&tag(r#""b""#))));
        assert!(!list.weakly_matches(None));
        assert_eq!(TagList::of(&HeaderMap::new(), "if-none-match"), None);
    }
}
