//! Coded: the head of a coded form of a stored response, and its entity tag, which is another than the response's own.
//!
//! A strong tag names one sequence of bytes (RFC 9110 §8.8.3), so each coded form has one of its own: the origin's,
//! the coding, and a digest of the coded bytes, since two encoders need not write the same. Where the origin gives no
//! tag, the rest of that is one all the same: a date alone could not tell the form from the plain bytes, and parts of
//! both would be joined. A weak tag is for all forms (§8.8.1).
//!
//! ```text
//! origin's   "v1"                                   (none)                               W/"v1"
//! coded      "v1-larder-br-9f86d081884c7d65"   "-larder-br-9f86d081884c7d65"   W/"v1"
//! ```
//!
//! No origin ever sees such a tag: [`CodedTags`] writes a request's conditions in the origin's terms.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
        IF_RANGE, RANGE, VARY,
    },
};

use crate::{
    coding::{Accepted, Coding},
    compression::says_vary,
    etag::{EntityTag, TagList},
    list,
    response::Digest,
    stored::StoredHead,
};

/// Before the coding in a coded form's tag.
const MARK: &[u8] = b"-larder-";
const DIGEST_DIGITS: usize = 16;

/// What is said of the content as it was sent, and of no other form of it.
const OF_THE_PLAIN_BYTES: [&str; 4] = ["content-digest", "content-md5", "digest", "repr-digest"];

impl StoredHead {
    /// The head of this response in a coding. `digest` tells its bytes from all others, `bytes` is how many there are.
    /// `None`: its fields would be longer than any head.
    pub fn coded(&self, coding: Coding, digest: u64, bytes: u64) -> Option<StoredHead> {
        let mut headers = self.headers();
        for name in OF_THE_PLAIN_BYTES {
            headers.remove(name);
        }
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
        if let Some(tag) = coded_tag(EntityTag::of(self.fields()), coding, digest) {
            headers.insert(ETAG, HeaderValue::from_bytes(&tag).ok()?);
        }
        if !says_vary(self.fields()) {
            headers.append(VARY, HeaderValue::from_static("accept-encoding"));
        }
        let digest = Digest {
            received_at: self.received_at,
            date: self.date,
            initial_age: self.initial_age,
            said: self.said,
            status: self.status,
            answers: self.answers,
        };
        // Which requests it fits, and by which tags it is purged, is asked of the response that it is a form of.
        digest.of_fields(&headers, Default::default())
    }
}

/// The tag of a coded form; `None`: the origin's own does for it.
fn coded_tag(own: Option<EntityTag<'_>>, coding: Coding, digest: u64) -> Option<Vec<u8>> {
    let own = match &own {
        Some(tag) if !tag.is_strong() => return None,
        Some(tag) => tag.inner()?,
        None => &[],
    };
    let mut tag = vec![b'"'];
    tag.extend_from_slice(own);
    tag.extend_from_slice(MARK);
    tag.extend_from_slice(format!("{coding}-{digest:016x}\"").as_bytes());
    Some(tag)
}

/// What a coded form's tag is made of.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'a> {
    /// What stood in the origin's tag.
    own: &'a [u8],
    coding: Coding,
}

/// Takes a coded form's tag apart. `None`: it is no such tag.
fn parts<'a>(tag: &EntityTag<'a>) -> Option<Parts<'a>> {
    let inner = tag.inner()?;
    let (rest, digest) = inner.split_at_checked(inner.len().checked_sub(DIGEST_DIGITS)?)?;
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let rest = rest.strip_suffix(b"-")?;
    if !digest.iter().all(is_digit) {
        return None;
    }
    Coding::ALL.into_iter().find_map(|coding| {
        let own = rest.strip_suffix(coding.as_str().as_bytes())?.strip_suffix(MARK)?;
        Some(Parts { own, coding })
    })
}

/// The tags of coded forms that a request has in its conditions.
///
/// [`take`](CodedTags::take) writes the conditions in terms of the origin's tags, by which everything is judged from
/// there on; what a 304 says then is told to the reader in terms of its own
/// ([`tell_reader`](CodedTags::tell_reader)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodedTags {
    /// Those in `If-None-Match` whose coding the reader takes, with the origin's tags.
    listed: Vec<Listed>,
    /// The origin's own tags that are listed beside them.
    beside: Vec<Box<[u8]>>,
    /// A range of the form with this tag.
    part: Option<(Box<[u8]>, HeaderValue)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    coded: Box<[u8]>,
    /// `None`: the origin gave no tag.
    own: Option<Box<[u8]>>,
}

impl CodedTags {
    /// Takes the tags of coded forms out of a request's conditions, and puts the origin's in their place. `None`: there
    /// are none, and nothing has changed.
    ///
    /// - `If-None-Match`: the origin's tag, as far as the reader takes the coding. Where no tag is left, a date beside it
    ///   counts.
    /// - `If-Match`: the origin's tag. It names the version, and any form of it will do; a range of another form will
    ///   not, and is not asked for.
    /// - `If-Range`: the range is taken out, and is only given by the form that has the tag.
    pub fn take(method: &Method, headers: &mut HeaderMap) -> Option<CodedTags> {
        let has_any = |name: &HeaderName| {
            let mut lines = headers.get_all(name).iter();
            lines.any(|line| memchr::memmem::find(line.as_bytes(), MARK).is_some())
        };
        if ![IF_NONE_MATCH, IF_MATCH, IF_RANGE].iter().any(has_any) {
            return None;
        }
        let mut taken = CodedTags::default();
        taken.take_from_none_match(headers);
        take_from_match(method, headers);
        taken.take_from_range(headers);
        Some(taken)
    }

    fn take_from_none_match(&mut self, headers: &mut HeaderMap) {
        let accepted = Accepted::of(&*headers);
        let mut tags = Vec::new();
        let mut is_out_of_reach = false;
        match TagList::of(&*headers, IF_NONE_MATCH.as_str()) {
            Some(TagList::Listed(listed)) => {
                if !listed.iter().any(|tag| parts(tag).is_some()) {
                    return;
                }
                for tag in &listed {
                    match parts(tag) {
                        Some(Parts { own, coding }) if accepted.takes(coding) => {
                            let own = (!own.is_empty()).then(|| own_tag(tag, own));
                            tags.extend(own.clone());
                            let (coded, own) = (written(tag), own.map(Into::into));
                            self.listed.push(Listed { coded: coded.into(), own });
                        }
                        // It is no form that may answer this request.
                        Some(_) => is_out_of_reach = true,
                        None => {
                            self.beside.push(written(tag).into());
                            tags.push(written(tag));
                        }
                    }
                }
            }
            Some(TagList::Any) | None => return,
        }
        headers.remove(IF_NONE_MATCH);
        match HeaderValue::from_bytes(&tags.join(&b", "[..])) {
            Ok(value) if !tags.is_empty() => drop(headers.insert(IF_NONE_MATCH, value)),
            // It would be judged instead of the tags, which it must not be where those were there to be judged.
            _ if is_out_of_reach => drop(headers.remove(IF_MODIFIED_SINCE)),
            _ => {}
        }
    }

    fn take_from_range(&mut self, headers: &mut HeaderMap) {
        let is_coded =
            |value: &&[u8]| EntityTag::parse(value).is_some_and(|tag| parts(&tag).is_some());
        let Some(tag) = list::single(&*headers, IF_RANGE.as_str()).filter(is_coded) else { return };
        let tag = tag.into();
        headers.remove(IF_RANGE);
        if let Some(range) = headers.remove(RANGE) {
            self.part = Some((tag, range));
        }
    }

    /// Whether `If-None-Match` names this form, by its tag.
    pub fn name(&self, form: &StoredHead) -> bool {
        let Some(tag) = EntityTag::of(form.fields()) else { return false };
        let is_it = |listed: &Listed| {
            EntityTag::parse(&listed.coded).is_some_and(|named| named.weakly_matches(&tag))
        };
        self.listed.iter().any(is_it)
    }

    /// The range that is asked for of this form, if one is of this very form.
    pub fn range_of(&self, form: &StoredHead) -> Option<&HeaderValue> {
        let (tag, range) = self.part.as_ref()?;
        let named = EntityTag::parse(tag)?;
        EntityTag::of(form.fields())
            .is_some_and(|tag| tag.strongly_matches(&named))
            .then_some(range)
    }

    /// A 304 that confirms the origin's tag confirms the reader's form of it, and names that by its own tag.
    pub fn tell_reader(&self, status: StatusCode, headers: &mut HeaderMap) {
        if status != StatusCode::NOT_MODIFIED {
            return;
        }
        let Some(confirmed) = EntityTag::of(&*headers) else { return };
        let is_it =
            |tag: &[u8]| EntityTag::parse(tag).is_some_and(|tag| tag.weakly_matches(&confirmed));
        if self.beside.iter().any(|tag| is_it(tag)) {
            return;
        }
        let coded = self.listed.iter().find(|listed| listed.own.as_deref().is_some_and(is_it));
        if let Some(Ok(tag)) = coded.map(|listed| HeaderValue::from_bytes(&listed.coded)) {
            headers.insert(ETAG, tag);
        }
    }
}

/// The version is what counts (a change that would overwrite another's is refused by it), and a range of another form
/// would be joined with what the reader has.
fn take_from_match(method: &Method, headers: &mut HeaderMap) {
    let Some(TagList::Listed(listed)) = TagList::of(&*headers, IF_MATCH.as_str()) else { return };
    let own = |tag: &EntityTag<'_>| match parts(tag) {
        Some(Parts { own, .. }) if !own.is_empty() => (own_tag(tag, own), true),
        // The origin never gave it a tag, and will tell that it knows none such.
        _ => (written(tag), false),
    };
    let (tags, were_coded): (Vec<_>, Vec<_>) = listed.iter().map(own).unzip();
    if !were_coded.contains(&true) {
        return;
    }
    let value = HeaderValue::from_bytes(&tags.join(&b", "[..]));
    if let Ok(value) = value {
        headers.insert(IF_MATCH, value);
    }
    if *method == Method::GET {
        headers.remove(RANGE);
        headers.remove(IF_RANGE);
    }
}

/// The origin's tag in a coded form's, as strong as that was written.
fn own_tag(tag: &EntityTag<'_>, own: &[u8]) -> Vec<u8> {
    let weak: &[u8] = if tag.is_strong() { b"" } else { b"W/" };
    [weak, b"\"", own, b"\""].concat()
}

fn written(tag: &EntityTag<'_>) -> Vec<u8> {
    let mut written = Vec::new();
    tag.write_to(&mut written);
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "0123456789abcdef";

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.replace('#', D).parse().unwrap());
        }
        map
    }

    fn coded(own: Option<&str>) -> Option<String> {
        let own = own.and_then(|own| EntityTag::parse(own.as_bytes()));
        coded_tag(own, Coding::Br, 0x0123_4567_89ab_cdef).map(|tag| String::from_utf8(tag).unwrap())
    }

    #[test]
    fn a_strong_tag_gets_another_for_each_form_and_a_weak_one_is_for_all() {
        assert_eq!(coded(Some("\"v1\"")).unwrap(), format!("\"v1-larder-br-{D}\""));
        assert_eq!(coded(None).unwrap(), format!("\"-larder-br-{D}\""));
        assert_eq!(coded(Some("W/\"v1\"")), None);
    }

    #[test]
    fn a_coded_tag_is_taken_apart_into_what_it_was_made_of_and_no_other_tag_is() {
        for (own, text) in [("v1", "\"v1\""), ("a-larder-gzip-x", "\"a-larder-gzip-x\"")] {
            let tag = coded(Some(text)).unwrap();
            let tag = EntityTag::parse(tag.as_bytes()).unwrap();
            assert_eq!(parts(&tag), Some(Parts { own: own.as_bytes(), coding: Coding::Br }));
        }
        for text in [
            "\"\"".to_owned(),
            "\"v1\"".to_owned(),
            format!("\"{D}\""),
            format!("\"v1-larder-br{D}\""),
            format!("\"v1-larder-xz-{D}\""),
            format!("\"v1larder-br-{D}\""),
            format!("\"v1-larder-br-{}\"", &D[1..]),
            format!("\"v1-larder-br-{}\"", D.to_uppercase()),
            format!("v1-larder-br-{D}"),
        ] {
            assert_eq!(parts(&EntityTag::parse(text.as_bytes()).unwrap()), None, "{text}");
        }
    }

    #[test]
    fn a_request_goes_on_in_the_origins_terms() {
        let takes = ("accept-encoding", "gzip, br");
        let since = ("if-modified-since", "Tue, 14 Nov 2023 22:13:20 GMT");
        for (sent, goes_on) in [
            (
                &[takes, ("if-none-match", "\"a-larder-br-#\"")][..],
                &[takes, ("if-none-match", "\"a\"")][..],
            ),
            (
                &[takes, ("if-none-match", "\"b\", W/\"a-larder-gzip-#\""), since],
                &[takes, ("if-none-match", "\"b\", W/\"a\""), since],
            ),
            // It has a form that it takes no longer.
            (&[takes, ("if-none-match", "\"a-larder-zstd-#\""), since], &[takes]),
            (
                &[takes, ("if-none-match", "\"a\", \"a-larder-zstd-#\"")],
                &[takes, ("if-none-match", "\"a\"")],
            ),
            // The origin gave no tag: the date is what it can judge.
            (&[takes, ("if-none-match", "\"-larder-br-#\""), since], &[takes, since]),
            (&[("if-match", "\"a-larder-br-#\"")], &[("if-match", "\"a\"")]),
            (
                &[("if-match", "\"a-larder-br-#\""), ("range", "bytes=0-9")],
                &[("if-match", "\"a\"")],
            ),
            (&[("if-match", "\"-larder-br-#\"")], &[("if-match", "\"-larder-br-#\"")]),
            (&[("if-range", "\"a-larder-br-#\""), ("range", "bytes=9-")], &[]),
            (&[("if-range", "\"a-larder-br-#\"")], &[]),
        ] {
            let mut headers = map(sent);
            assert!(CodedTags::take(&Method::GET, &mut headers).is_some(), "{sent:?}");
            assert_eq!(headers, map(goes_on), "{sent:?}");
        }
    }

    #[test]
    fn a_request_without_coded_tags_stays_as_it_is() {
        for sent in [
            &[][..],
            &[("if-none-match", "*")],
            &[("if-none-match", "\"a\" , \"b\"")],
            &[("if-match", "\"a\""), ("range", "bytes=0-9")],
            &[("if-range", "\"a\""), ("range", "bytes=0-9")],
        ] {
            let mut headers = map(sent);
            assert_eq!(CodedTags::take(&Method::GET, &mut headers), None);
            assert_eq!(headers, map(sent));
        }
    }

    #[test]
    fn a_304_names_the_form_that_the_reader_has() {
        for (listed, confirmed, told) in [
            ("\"a-larder-br-#\"", "\"a\"", "\"a-larder-br-#\""),
            ("\"b-larder-br-#\", \"a-larder-gzip-#\"", "\"a\"", "\"a-larder-gzip-#\""),
            // It has the plain bytes as well.
            ("\"a\", \"a-larder-br-#\"", "\"a\"", "\"a\""),
            ("\"a-larder-br-#\"", "\"c\"", "\"c\""),
            ("\"a-larder-zstd-#\"", "\"a\"", "\"a\""),
        ] {
            let mut asked = map(&[("accept-encoding", "gzip, br"), ("if-none-match", listed)]);
            let taken = CodedTags::take(&Method::GET, &mut asked).unwrap();
            let mut answer = map(&[("etag", confirmed)]);
            taken.tell_reader(StatusCode::OK, &mut answer);
            assert_eq!(answer, map(&[("etag", confirmed)]), "it has a body of its own");
            taken.tell_reader(StatusCode::NOT_MODIFIED, &mut answer);
            assert_eq!(answer, map(&[("etag", told)]), "{listed}");
        }
    }
}
