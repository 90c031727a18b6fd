//! Beginning: the first bytes of a stored body, as its reader would see them.
//!
//! What lies there in a content coding is decoded, as far as its first bytes go: what is read and what is written are bound.

#[cfg(feature = "compress")]
use std::io::Read;

/// The first bytes of a stored body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyBeginning {
    /// They.
    pub bytes: Vec<u8>,
    /// In which content codings the body came from its origin, if in any: `gzip`, `br`.
    pub coding: Option<String>,
    /// Whether the bytes are those before that coding. Not where it is unknown, there are several, or the bytes are none of it.
    pub is_decoded: bool,
}

impl BodyBeginning {
    /// `coded`: how it lies there.
    pub(super) fn of(coded: Vec<u8>, coding: Option<String>, most: usize) -> BodyBeginning {
        let decoded = coding.as_deref().and_then(|coding| decoded(coding, &coded, most));
        let is_decoded = decoded.is_some();
        BodyBeginning { bytes: decoded.unwrap_or(coded), coding, is_decoded }
    }

    /// Whether they can be read as text. The last character may be cut off.
    pub fn is_text(&self) -> bool {
        let whole = match std::str::from_utf8(&self.bytes) {
            Ok(_) => true,
            Err(error) => error.error_len().is_none(),
        };
        // Other encodings than UTF-8 are not known, but have no control characters either.
        let is_control = |byte: &&u8| **byte < b' ' && !b"\t\n\r\x0c\x1b".contains(byte);
        match self.bytes.iter().filter(is_control).count() {
            0 => {
                whole
                    || self.bytes.iter().filter(|byte| !byte.is_ascii()).count() * 5
                        < self.bytes.len()
            }
            _ => false,
        }
    }
}

/// The beginning of what is coded so. `None`: it is not known how, or it is nothing of the kind.
#[cfg(feature = "compress")]
fn decoded(coding: &str, coded: &[u8], most: usize) -> Option<Vec<u8>> {
    /// As a reader's own decoder may take (RFC 9659 §3).
    const WINDOW_LOG: u32 = 23;
    const BUFFER: usize = 4096;
    match coding.trim().to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => beginning(flate2::read::MultiGzDecoder::new(coded), most),
        "deflate" => beginning(flate2::read::ZlibDecoder::new(coded), most),
        "br" => beginning(brotli::Decompressor::new(coded, BUFFER), most),
        "zstd" => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(coded).ok()?;
            decoder.window_log_max(WINDOW_LOG).ok()?;
            beginning(decoder, most)
        }
        _ => None,
    }
}

#[cfg(not(feature = "compress"))]
fn decoded(_: &str, _: &[u8], _: usize) -> Option<Vec<u8>> {
    None
}

/// As far as it goes: what is coded was cut off somewhere.
#[cfg(feature = "compress")]
fn beginning(decoder: impl Read, most: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let ended = decoder.take(most as u64).read_to_end(&mut bytes);
    (ended.is_ok() || !bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beginning_of(bytes: &[u8], coding: Option<&str>) -> BodyBeginning {
        BodyBeginning::of(bytes.to_vec(), coding.map(str::to_owned), 100)
    }

    #[test]
    fn text_is_text_also_where_its_last_character_is_cut_off() {
        for (bytes, is_text) in [
            (&b""[..], true),
            (b"<p>\r\n\tA b\x0c", true),
            ("<p>gr\u{fc}\u{df}".as_bytes(), true),
            (&"<p>gr\u{fc}\u{df}".as_bytes()[..7], true),
            // Another encoding.
            (b"Stra\xdfe und Gr\xfc\xdfe, wie es fr\xfcher war", true),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", false),
            (b"\xff\xd8\xff\xe0\x10JFIF", false),
            (b"\xfe\xff\0a\0b", false),
            (b"\xe5\xa3\xb1\xff\xfe\xc1\xf5\xe5", false),
        ] {
            assert_eq!(beginning_of(bytes, None).is_text(), is_text, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_in_an_unknown_coding_stays_as_it_lies_there() {
        for coding in ["dcb", "gzip, br", "", "identity"] {
            let beginning = beginning_of(b"as it is", Some(coding));
            assert!(!beginning.is_decoded && beginning.bytes == b"as it is", "{coding}");
        }
    }

    #[cfg(feature = "compress")]
    #[test]
    fn each_coding_is_undone_as_far_as_the_first_bytes_go() {
        use std::io::Write;
        // More than a block of any of them.
        let page: String = (0..100_000).map(|number| format!("{} ", number * 7919)).collect();
        let page = page.into_bytes();
        let gzip = {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&page).unwrap();
            gzip.finish().unwrap()
        };
        let deflate = {
            let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            zlib.write_all(&page).unwrap();
            zlib.finish().unwrap()
        };
        let br = {
            let mut br = brotli::CompressorWriter::new(Vec::new(), 4096, 4, 22);
            br.write_all(&page).unwrap();
            br.into_inner()
        };
        let zstd = zstd::encode_all(&page[..], 1).unwrap();
        for (coding, coded) in [("gzip", gzip), ("deflate", deflate), ("br", br), ("zstd", zstd)] {
            // Whole, and where the rest was left out.
            for coded in [&coded[..], &coded[..coded.len() * 3 / 4]] {
                let beginning = beginning_of(coded, Some(coding));
                assert!(beginning.is_decoded, "{coding}");
                assert!(
                    page.starts_with(&beginning.bytes) && beginning.bytes.len() <= 100,
                    "{coding}"
                );
                assert!(!beginning.bytes.is_empty() && beginning.is_text(), "{coding}");
            }
            // Nearly anything begins as a stream of brotli may.
            if coding != "br" {
                let nothing = beginning_of(b"\x01\x02\x03 no such thing", Some(coding));
                assert!(!nothing.is_decoded && nothing.bytes.starts_with(b"\x01"), "{coding}");
            }
        }
    }
}
