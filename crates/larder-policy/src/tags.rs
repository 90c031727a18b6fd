//! Tags: the names under which an origin wants a response purged.
//!
//! `Surrogate-Key` (spaces between), `Cache-Tag` (commas between), `xkey` (either), as the caches
//! that introduced them read them; and those of applications that were set up for such caches: `X-Cache-Tags` and
//! `X-Magento-Tags` (commas between), `Cache-Tags` (either).

use std::collections::HashSet;

use crate::fields::Fields;

/// Every tag once, in the order they were first named. Bytes beyond UTF-8 are replaced: a tag that
/// were left out could never be purged.
pub fn tags<'a>(headers: impl Into<Fields<'a>>) -> Vec<Box<str>> {
    let headers = headers.into();
    const FIELDS: [(&str, &[u8]); 6] = [
        ("surrogate-key", b" \t"),
        ("cache-tag", b","),
        ("xkey", b" \t,"),
        ("x-cache-tags", b","),
        ("x-magento-tags", b","),
        ("cache-tags", b" \t,"),
    ];
    let mut tags = Names::default();
    for (name, separators) in FIELDS {
        for line in headers.lines(name) {
            for tag in line.split(|byte| separators.contains(byte)).map(<[u8]>::trim_ascii) {
                tags.add(&String::from_utf8_lossy(tag));
            }
        }
    }
    tags.in_order
}

/// Names, every one once. Looked up by hash: one field line has room for thousands.
#[derive(Default)]
struct Names {
    in_order: Vec<Box<str>>,
    seen: HashSet<Box<str>>,
}

impl Names {
    fn add(&mut self, name: &str) {
        if !name.is_empty() && self.seen.insert(name.into()) {
            self.in_order.push(name.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn each_field_is_split_as_the_cache_that_introduced_it_splits_it() {
        let headers = fields(&[
            ("surrogate-key", "a  b,c"),
            ("cache-tag", "d e, f,,"),
            ("xkey", "g h,i"),
            ("xkey", "j"),
            ("x-cache-tags", "k l,m"),
            ("x-magento-tags", "n,o"),
            ("cache-tags", "p q,r"),
        ]);
        let tags = tags(&headers);
        let tags: Vec<&str> = tags.iter().map(AsRef::as_ref).collect();
        assert_eq!(
            tags,
            ["a", "b,c", "d e", "f", "g", "h", "i", "j", "k l", "m", "n", "o", "p", "q", "r"]
        );
    }

    #[test]
    fn a_tag_named_twice_counts_once() {
        let headers = fields(&[("surrogate-key", "a b a"), ("xkey", "b")]);
        assert_eq!(tags(&headers).len(), 2);
    }

    #[test]
    fn a_tag_beyond_ascii_can_still_be_named() {
        let mut headers = HeaderMap::new();
        headers.append("xkey", http::HeaderValue::from_bytes(b"caf\xe9 gr\xc3\xb6n").unwrap());
        let tags = tags(&headers);
        assert_eq!([&*tags[0], &*tags[1]], ["caf\u{fffd}", "grön"]);
    }
}
