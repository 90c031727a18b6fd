//! Collapse key: which of the requests for one URI may wait for the same answer.

use http::{HeaderName, header::VARY};

use crate::fields::Fields;

/// Names the variant that a request asks for, as far as the answers known so far tell: the request's
/// values of every field that the `Vary` of one of them names, and of those in `always`. Requests of different collapse keys would
/// get different answers and need not wait for each other; those of the same one may still turn out
/// to differ, once an answer varies by more.
///
/// Empty if nothing is in `always` and no known answer varies. `known` are the fields of stored responses, or of such as are
/// being fetched.
pub fn collapse_key<'a, F: Into<Fields<'a>>>(
    always: &[HeaderName],
    known: impl IntoIterator<Item = F>,
    request: Fields<'_>,
) -> String {
    let mut names: Vec<HeaderName> = always.to_vec();
    for headers in known {
        for line in headers.into().lines(VARY.as_str()) {
            let members = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            names.extend(members.filter_map(|member| HeaderName::from_bytes(member).ok()));
        }
    }
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    let mut collapse_key = String::new();
    for name in &names {
        collapse_key.push_str(name.as_str());
        for value in request.lines(name.as_str()) {
            // Neither sign is in a field's name or at the edge of a value.
            collapse_key.push('\u{1}');
            collapse_key.push_str(&String::from_utf8_lossy(value.trim_ascii()));
        }
        collapse_key.push('\u{2}');
    }
    collapse_key
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn requests_are_told_apart_by_what_known_answers_vary_by_and_nothing_else() {
        let known = [fields(&[("vary", "Accept-Encoding, X-One")])];
        let asks = |pairs| collapse_key(&[], &known, (&fields(pairs)).into());
        let plain = asks(&[("accept-encoding", "gzip"), ("cookie", "a=1")]);
        assert_eq!(plain, asks(&[("accept-encoding", "gzip"), ("cookie", "a=2")]));
        assert_ne!(plain, asks(&[("accept-encoding", "br")]));
        assert_ne!(plain, asks(&[("accept-encoding", "gzip"), ("x-one", "")]));
        assert_ne!(asks(&[]), asks(&[("x-one", "")]), "absent is not empty");
    }

    #[test]
    fn there_is_one_collapse_key_while_nothing_is_known_to_vary() {
        let known = [fields(&[("etag", "\"a\"")]), fields(&[("vary", "")])];
        assert_eq!(collapse_key(&[], &known, (&fields(&[("accept-encoding", "gzip")])).into()), "");
    }
}
