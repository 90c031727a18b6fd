//! Answer fields: which fields all answers get, and which they lose, on their way to the reader.
//!
//! What is stored stays as the origin sent it, so a rule that has changed holds for it, too.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::fields::{FieldBlock, NameFilter};

/// Fields that are set on answers, in place of those they have, fields that are added beside those, and fields that are
/// taken out. By default none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerFields {
    set: Vec<(HeaderName, HeaderValue)>,
    /// Beside what the answer has of these names.
    added: Vec<(HeaderName, HeaderValue)>,
    /// All that an answer may not keep of its own: what is set, and what is removed.
    hidden: Vec<HeaderName>,
    filter: NameFilter,
    /// Those that are set or added, as HTTP/1.1 writes them.
    block: FieldBlock,
}

/// A field that is no rule's to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is the cache's own: it says how long the answer is, how old, or what the connection does"
)]
pub struct OwnField(pub HeaderName);

/// Whoever reads an answer goes by these to find its end, its age and what it is.
const OWN: [HeaderName; 16] = [
    header::AGE,
    HeaderName::from_static("cache-status"),
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::DATE,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-status"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::VARY,
];

/// What an answer says of its content and of how long anybody may keep it, and where it sends its reader. Where the gateway
/// answers itself, rules that were made for a service's answers know nothing of that.
const OF_OWN_ANSWERS: [HeaderName; 8] = [
    header::CACHE_CONTROL,
    HeaderName::from_static("cdn-cache-control"),
    HeaderName::from_static("cloudflare-cdn-cache-control"),
    header::CONTENT_TYPE,
    HeaderName::from_static("edge-control"),
    header::EXPIRES,
    header::LOCATION,
    HeaderName::from_static("surrogate-control"),
];

impl AnswerFields {
    /// Sets `set`, and takes `removed` out.
    ///
    /// # Errors
    ///
    /// One of them is the cache's own.
    pub fn new(
        set: Vec<(HeaderName, HeaderValue)>,
        removed: Vec<HeaderName>,
    ) -> Result<AnswerFields, OwnField> {
        let fields = AnswerFields::laid_out(set, Vec::new(), removed);
        match fields.hidden.iter().find(|name| OWN.contains(name)) {
            Some(own) => Err(OwnField(own.clone())),
            None => Ok(fields),
        }
    }

    /// The same where these are added beside what answers have of their names.
    ///
    /// # Errors
    ///
    /// One of them is the cache's own. `Vary` is not, here: what is added takes nothing away from it.
    pub fn adding(self, added: Vec<(HeaderName, HeaderValue)>) -> Result<AnswerFields, OwnField> {
        let is_own = |name: &HeaderName| OWN.contains(name) && *name != header::VARY;
        if let Some((own, _)) = added.iter().find(|(name, _)| is_own(name)) {
            return Err(OwnField(own.clone()));
        }
        Ok(AnswerFields::laid_out(self.set, added, self.hidden))
    }

    fn laid_out(
        set: Vec<(HeaderName, HeaderValue)>,
        added: Vec<(HeaderName, HeaderValue)>,
        removed: Vec<HeaderName>,
    ) -> AnswerFields {
        let mut hidden: Vec<_> = set.iter().map(|(name, _)| name.clone()).chain(removed).collect();
        hidden.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        hidden.dedup();
        let mut filter = NameFilter::default();
        hidden.iter().for_each(|name| filter.add(name.as_str().as_bytes()));
        let mut map = HeaderMap::new();
        for (name, value) in set.iter().chain(&added) {
            map.append(name, value.clone());
        }
        AnswerFields { set, added, hidden, filter, block: FieldBlock::from(&map) }
    }

    /// The same where these are set as well, in place of what was, and these are removed. They may be the cache's own.
    pub(crate) fn with(
        &self,
        set: &[(HeaderName, HeaderValue)],
        removed: Vec<HeaderName>,
    ) -> AnswerFields {
        let is_set_anew = |name: &HeaderName| set.iter().any(|(other, _)| other == name);
        let is_removed = |name: &HeaderName| removed.contains(name) && !is_set_anew(name);
        let stays =
            |(name, _): &&(HeaderName, HeaderValue)| !is_set_anew(name) && !is_removed(name);
        let all: Vec<_> = self.set.iter().filter(stays).chain(set).cloned().collect();
        let added = self.added.iter().filter(stays).cloned().collect();
        let hidden = self.hidden.iter().cloned().chain(removed).collect();
        AnswerFields::laid_out(all, added, hidden)
    }

    /// Whether answers go out as they are.
    #[inline]
    pub fn change_nothing(&self) -> bool {
        self.hidden.is_empty() && self.added.is_empty()
    }

    /// Changes the fields of an answer that came from a service, or from what is stored of one.
    pub fn change(&self, headers: &mut HeaderMap) {
        self.change_where(headers, |_| true);
    }

    /// Changes the fields of an answer that no service made, but for those that say of which type it is, how long it may be
    /// kept, and where it sends its reader.
    pub fn change_own(&self, headers: &mut HeaderMap) {
        self.change_where(headers, |name| !OF_OWN_ANSWERS.contains(name));
    }

    fn change_where(&self, headers: &mut HeaderMap, may: impl Fn(&HeaderName) -> bool) {
        for name in self.hidden.iter().filter(|name| may(name)) {
            headers.remove(name);
        }
        for (name, value) in self.set.iter().chain(&self.added).filter(|(name, _)| may(name)) {
            headers.append(name, value.clone());
        }
    }

    /// Whether an answer keeps no field of this name (in small letters) of its own.
    pub fn hide(&self, name: &[u8]) -> bool {
        self.filter.may_have(name)
            && self.hidden.iter().any(|hidden| hidden.as_str().as_bytes() == name)
    }

    /// Writes lines of a [`FieldBlock`] as an answer has them: without those that are hidden, and with those that are set or
    /// added.
    pub fn write(&self, block: &[u8], out: &mut Vec<u8>) {
        let mut from = 0;
        for (line, span) in FieldBlock::spans(block) {
            if self.hide(line.name) {
                out.extend_from_slice(&block[from..span.start]);
                from = span.end;
            }
        }
        out.extend_from_slice(&block[from..]);
        self.write_set(out);
    }

    /// Writes those that are set or added.
    pub fn write_set(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.block.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(set: &[(&'static str, &str)], removed: &[&'static str]) -> AnswerFields {
        let set =
            set.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let removed = removed.iter().map(|name| HeaderName::from_static(name));
        AnswerFields::new(set.collect(), removed.collect()).unwrap()
    }

    #[test]
    fn a_map_and_a_block_are_changed_alike() {
        let mut map = HeaderMap::new();
        for (name, value) in
            [("server", "a"), ("x-a", "1"), ("etag", "\"1\""), ("x-a", "2"), ("x-b", "3")]
        {
            map.append(name, value.parse().unwrap());
        }
        let rules = fields(&[("x-a", "new"), ("x-frame-options", "DENY")], &["server", "x-none"]);
        let mut written = Vec::new();
        rules.write(FieldBlock::from(&map).as_bytes(), &mut written);
        rules.change(&mut map);
        let expected = "etag: \"1\"\r\nx-b: 3\r\nx-a: new\r\nx-frame-options: DENY\r\n";
        assert_eq!(String::from_utf8(written).unwrap(), expected);
        assert_eq!(map.len(), 4);
        assert_eq!(
            (&map["x-a"], &map["x-frame-options"]),
            (&"new".parse().unwrap(), &"DENY".parse().unwrap())
        );
        assert!(fields(&[], &[]).change_nothing() && !rules.change_nothing());
    }

    #[test]
    fn what_is_added_stands_beside_what_an_answer_has() {
        let link = |value: &str| (header::LINK, HeaderValue::try_from(value).unwrap());
        let vary = (header::VARY, HeaderValue::from_static("x-tenant"));
        let rules = fields(&[("x-a", "1")], &[]);
        let rules = rules.adding(vec![link("</a>"), link("</b>"), vary]).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in [("link", "</own>"), ("vary", "accept"), ("x-a", "own")] {
            map.append(name, value.parse().unwrap());
        }
        let mut written = Vec::new();
        rules.write(FieldBlock::from(&map).as_bytes(), &mut written);
        rules.change(&mut map);
        let all = |name| map.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(all("link"), ["</own>", "</a>", "</b>"]);
        assert_eq!(all("vary"), ["accept", "x-tenant"]);
        assert_eq!(all("x-a"), ["1"]);
        let text = String::from_utf8(written).unwrap();
        let lines = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!((lines("link"), lines("vary"), lines("x-a")), (3, 2, 1), "{text}");
        let only_added = AnswerFields::default().adding(vec![link("</a>")]).unwrap();
        assert!(!only_added.change_nothing());
        for own in [header::AGE, header::CONTENT_LENGTH] {
            let added = vec![(own.clone(), HeaderValue::from_static("1"))];
            assert_eq!(AnswerFields::default().adding(added), Err(OwnField(own)));
        }
    }

    #[test]
    fn an_answer_that_no_service_made_still_says_what_it_is() {
        let rules = fields(
            &[
                ("cache-control", "max-age=9"),
                ("surrogate-control", "max-age=9"),
                ("content-type", "text/html"),
                ("x-a", "1"),
            ],
            &["location", "server"],
        );
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("cache-control", "no-store"),
            ("content-type", "application/problem+json"),
            ("location", "/"),
            ("server", "own"),
        ] {
            map.append(name, value.parse().unwrap());
        }
        rules.change_own(&mut map);
        assert_eq!(map.len(), 4, "{map:?}");
        assert_eq!(map["cache-control"], "no-store");
        assert_eq!((&map["location"], &map["x-a"]), (&"/".parse().unwrap(), &"1".parse().unwrap()));
    }

    #[test]
    fn what_frames_an_answer_is_no_rule_s_to_change() {
        for name in OWN {
            assert_eq!(AnswerFields::new(Vec::new(), vec![name.clone()]), Err(OwnField(name)));
        }
    }
}
