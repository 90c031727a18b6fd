//! List: the members of a comma-separated field, over all its lines (RFC 9110 §5.6.1).

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{List, Parser};

use crate::fields::Fields;

/// The members, without the white space around them; empty ones are skipped, as §5.6.1.2 asks. A
/// comma between double quotes does not separate, and a backslash there takes the next byte as it
/// is (§5.6.4).
pub(crate) fn members<'a>(
    headers: impl Into<Fields<'a>>,
    name: &str,
) -> impl Iterator<Item = &'a [u8]> {
    lines(headers, name).flat_map(|line| split(line, b',', Backslash::Escapes))
}

/// What a backslash between double quotes is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backslash {
    /// The start of a quoted pair (RFC 9110 §5.6.4).
    Escapes,
    /// A byte like any other, as in entity tags (§8.8.3).
    IsPlain,
}

/// The pieces of `line` between separators that stand outside double quotes.
pub(crate) fn split(
    line: &[u8],
    separator: u8,
    backslash: Backslash,
) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    line.split(move |&byte| {
        let literal = std::mem::take(&mut escaped);
        match byte {
            b'"' if !literal => quoted = !quoted,
            b'\\' if quoted && !literal => escaped = backslash == Backslash::Escapes,
            _ => {}
        }
        byte == separator && !quoted
    })
    .map(trimmed)
    .filter(|member| !member.is_empty())
}

/// The lines of a field.
pub(crate) fn lines<'a>(
    headers: impl Into<Fields<'a>>,
    name: &str,
) -> impl Iterator<Item = &'a [u8]> {
    headers.into().lines(name)
}

/// Appends a member to a structured list. A list that cannot be read is replaced, since a reader would
/// drop all of it together with our member (RFC 9651 §4.2); so is an empty one, whose line would leave
/// a comma with nothing before it.
pub(crate) fn append_member(headers: &mut HeaderMap, name: HeaderName, member: String) {
    let value = HeaderValue::try_from(member).expect("a structured field is visible ASCII");
    if !headers.contains_key(&name) {
        headers.insert(name, value);
        return;
    }
    let before = lines(&*headers, name.as_str()).collect::<Vec<_>>().join(&b", "[..]);
    if Parser::new(&before).parse::<List>().is_ok_and(|list| !list.is_empty()) {
        headers.append(name, value);
    } else {
        headers.insert(name, value);
    }
}

/// The value of a field that may stand only once. Twice is a contradiction, and counts as not at
/// all.
pub(crate) fn single<'a>(headers: impl Into<Fields<'a>>, name: &str) -> Option<&'a [u8]> {
    let mut lines = lines(headers, name);
    let value = lines.next()?;
    lines.next().is_none().then(|| trimmed(value))
}

/// Without the optional white space at both ends (RFC 9110 §5.6.3).
pub(crate) fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether these bytes are a token (RFC 9110 §5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

/// Whether a token may contain this byte.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(lines: &[&'static str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("list", HeaderValue::from_static(line));
        }
        members(&headers, "list")
            .map(|member| String::from_utf8_lossy(member).into_owned())
            .collect()
    }

    #[test]
    fn members_of_all_lines_count_and_empty_ones_do_not() {
        assert_eq!(list(&["a, b,,\t c ", "", "d"]), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_comma_in_quotes_does_not_separate_nor_does_an_escaped_quote_end_them() {
        assert_eq!(list(&[r#"a;b="1,2", c;d="\",", e"#]), [r#"a;b="1,2""#, r#"c;d="\",""#, "e"]);
    }

    #[test]
    fn a_quote_left_open_ends_with_its_line() {
        assert_eq!(list(&[r#"a, "b, c"#, "d"]), ["a", r#""b, c"#, "d"]);
    }
}
