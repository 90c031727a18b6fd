//! Escape: bytes that anybody may have sent, as a line of a log can hold them.
//!
//! What is not printable ASCII is spelled out, and so are quotes and backslashes: no line can be ended, no field
//! closed, and no terminal told anything by what a reader sends.

use super::config::{Format, Query};

/// Writes text between quotes.
pub(super) fn write_text(text: &[u8], format: Format, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| !is_plain(*byte)) {
        out.extend_from_slice(&rest[..at]);
        write_escaped(rest[at], format, out);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn write_escaped(byte: u8, format: Format, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let is_quote = matches!(byte, b'"' | b'\\');
    match format {
        Format::Json if is_quote => return out.extend_from_slice(&[b'\\', byte]),
        Format::Json => out.extend_from_slice(b"\\u00"),
        Format::Combined => out.extend_from_slice(b"\\x"),
    }
    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0x0f)]]);
}

/// Writes a target or a URI between quotes, with what may be told of its query.
pub(super) fn write_uri(uri: &[u8], query: Query, format: Format, out: &mut Vec<u8>) {
    let Some(mark) = memchr::memchr(b'?', uri).filter(|_| query != Query::Keep) else {
        return write_text(uri, format, out);
    };
    write_text(&uri[..mark], format, out);
    if query == Query::Drop {
        return;
    }
    for (index, pair) in uri[mark + 1..].split(|byte| *byte == b'&').enumerate() {
        out.push(if index == 0 { b'?' } else { b'&' });
        // What has no name is a value.
        if let Some(end) = memchr::memchr(b'=', pair) {
            write_text(&pair[..=end], format, out);
        }
        if !pair.is_empty() {
            out.push(b'*');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &[u8], format: Format) -> String {
        let mut out = Vec::new();
        write_text(text, format, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_that_is_sent_ends_a_line_or_a_field() {
        let sent = b"a\r\nb\"c\\d\x1b[31m\x7f\xc3\xa9\0";
        assert_eq!(
            written(sent, Format::Json),
            r#"a\u000d\u000ab\"c\\d\u001b[31m\u007f\u00c3\u00a9\u0000"#
        );
        assert_eq!(
            written(sent, Format::Combined),
            r"a\x0d\x0ab\x22c\x5cd\x1b[31m\x7f\xc3\xa9\x00"
        );
        let all: Vec<u8> = (0..=255).collect();
        let json = format!("\"{}\"", written(&all, Format::Json));
        let read: String = serde_json::from_str(&json).unwrap();
        let meant: String = all.iter().map(|byte| char::from(*byte)).collect();
        assert_eq!(read, meant, "each byte can be read back");
        for format in [Format::Json, Format::Combined] {
            assert!(written(&all, format).bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }

    #[test]
    fn of_a_query_is_told_what_may_be() {
        let rows = [
            ("/a", "/a", "/a"),
            ("/a?", "/a?", "/a"),
            ("/a?token", "/a?*", "/a"),
            ("/a?q=1&user=me", "/a?q=*&user=*", "/a"),
            ("/a?q=&&b=2=3?4", "/a?q=*&&b=*", "/a"),
            ("https://example.org/?q=1", "https://example.org/?q=*", "https://example.org/"),
        ];
        for (uri, masked, dropped) in rows {
            for (query, meant) in
                [(Query::Keep, uri), (Query::Mask, masked), (Query::Drop, dropped)]
            {
                let mut out = Vec::new();
                write_uri(uri.as_bytes(), query, Format::Json, &mut out);
                assert_eq!(str::from_utf8(&out), Ok(meant), "{query:?}");
            }
        }
    }
}
