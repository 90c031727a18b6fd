//! Escape: texts as URLs, XML and vendors' names have them.

/// All but letters, digits and `-._~` as `%XX` (RFC 3986 §2.3).
pub(super) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                out.push('%');
                out.push_str(&hex(&[byte]).to_ascii_uppercase());
            }
        }
    }
    out
}

/// As content of an element.
pub(super) fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
    out
}

/// The content of the first element of this name that has no attributes; `None` where there is none.
pub(super) fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(content, _)| content)
}

/// Sixteen letters and digits that tell a text from others.
pub(super) fn short(text: &str) -> String {
    hex(&blake3::hash(text.as_bytes()).as_bytes()[..8])
}

/// In small letters.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a text takes all");
        out
    })
}

/// A name in the form of a UUID (RFC 9562 §5.8), the same for the same text.
pub(super) fn uuid(text: &str) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex(&bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A text in which no character of a regular expression means more than itself.
pub(super) fn literal(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, character| {
        if "\\.+*?()|[]{}^$#&-~".contains(character) {
            out.push('\\');
        }
        out.push(character);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_their_meaning() {
        assert_eq!(percent("https://a.b/c d?e=é"), "https%3A%2F%2Fa.b%2Fc%20d%3Fe%3D%C3%A9");
        assert_eq!(xml("/a?b=1&c=<2>"), "/a?b=1&amp;c=&lt;2&gt;");
        assert_eq!(element("<A><Id>I1</Id></A>", "Id"), Some("I1"));
        assert_eq!(element("<A><Id>I1", "Id"), None);
        let id = uuid("x");
        assert_eq!((id.len(), id == uuid("x"), id == uuid("y")), (36, true, false));
        assert_eq!(id.as_bytes()[14], b'8');
        assert_eq!(literal("/a.b*"), "/a\\.b\\*");
    }
}
