//! Path type: does an answer's media type contradict what its path looks like?
//!
//! Who asks for `/account/x.css` may be shown the account: many services ignore what stands behind a path that they
//! know. Where answers that look like style sheets are stored, one reader's account is then everybody's (web cache
//! deception). A style sheet that is a page gives it away.

use http::{StatusCode, Uri};

use crate::fields::Fields;

/// What becomes of an answer whose media type is not one that its path's extension stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathType {
    /// It is not stored.
    Fitting,
    /// It is stored as any other.
    Any,
}

/// One row: extensions, and the media types of what is called so. A type that ends in `/` stands for all that begin
/// like that, and one that begins with `+` for all that end like that.
type Row = (&'static [&'static str], &'static [&'static str]);

const ROWS: &[Row] = &[
    (&["css"], &["text/css", PLAIN]),
    (
        &["js", "mjs", "cjs"],
        &[
            "text/javascript",
            "application/javascript",
            "application/x-javascript",
            "text/ecmascript",
            "application/ecmascript",
            "text/x-javascript",
            "text/jscript",
            PLAIN,
        ],
    ),
    (
        &["json", "map", "webmanifest", "geojson", "jsonld"],
        &[
            "application/json",
            "text/json",
            "+json",
            "text/javascript",
            "application/javascript",
            PLAIN,
        ],
    ),
    (&["wasm"], &["application/wasm"]),
    (
        &[
            "png", "jpg", "jpeg", "jpe", "gif", "webp", "avif", "apng", "jxl", "bmp", "ico", "tif",
            "tiff", "heic",
        ],
        &["image/"],
    ),
    (
        &["svg", "svgz"],
        &["image/svg+xml", "image/svg", "text/xml", "application/xml", "application/gzip", PLAIN],
    ),
    (
        &["woff", "woff2", "ttf", "otf", "eot"],
        &[
            "font/",
            "application/font",
            "application/x-font",
            "application/vnd.ms-fontobject",
            "application/vnd.ms-opentype",
        ],
    ),
    (
        &[
            "mp4", "m4v", "webm", "mov", "avi", "mkv", "ogv", "mp3", "m4a", "aac", "ogg", "oga",
            "opus", "wav", "flac", "m4s",
        ],
        &["video/", "audio/", "application/ogg", "application/mp4"],
    ),
    (&["m3u8", "mpd"], &["application/", "audio/", "video/", PLAIN]),
    (&["pdf"], &["application/pdf", "application/x-pdf"]),
    (
        &[
            "zip", "gz", "tgz", "bz2", "xz", "zst", "br", "7z", "rar", "tar", "jar", "apk", "dmg",
            "exe", "msi", "deb", "rpm", "iso", "bin",
        ],
        &[
            "application/",
            "audio/",
            "video/",
            "image/",
            "font/",
            "text/css",
            "text/javascript",
            PLAIN,
        ],
    ),
    (&["csv"], &["text/csv", "application/csv", "application/vnd.ms-excel", PLAIN]),
    (&["txt", "md"], &["text/plain", "text/markdown", "text/x-markdown"]),
    (
        &["doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "odp", "rtf", "epub"],
        &["application/", "text/rtf"],
    ),
];

/// What is said of text by who does not know which.
const PLAIN: &str = "text/plain";
/// What is said of bytes by who does not know which: it contradicts nothing.
const UNKNOWN: [&str; 2] = ["application/octet-stream", "binary/octet-stream"];
/// These are what pages are made of, whatever else begins with `application/`.
const OF_PAGES: [&str; 2] = ["application/json", "application/xhtml+xml"];

/// Whether the answer to a request for `uri` is of another media type than its path's extension stands for.
///
/// Only answers of success are looked at: what is said of an image that is not there is mostly a page. A path without an
/// extension, or with one that is not listed, contradicts nothing, nor does an answer without a type.
pub fn contradicts(uri: &Uri, status: StatusCode, response: Fields<'_>) -> bool {
    if !status.is_success() {
        return false;
    }
    let mut types = response.iter().filter(|line| line.name.eq_ignore_ascii_case(b"content-type"));
    let Some(line) = types.next() else { return false };
    let essence = line.value.split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    let Ok(essence) = str::from_utf8(&essence) else { return true };
    if essence.is_empty() || UNKNOWN.contains(&essence) {
        return false;
    }
    extensions(uri.path()).iter().flatten().any(|extension| {
        let row = ROWS.iter().find(|(extensions, _)| extensions.contains(&&**extension));
        row.is_some_and(|(_, types)| !types.iter().any(|known| is_of(essence, known)))
    })
}

fn is_of(essence: &str, known: &str) -> bool {
    match known.as_bytes() {
        [b'+', ..] => essence.ends_with(known),
        [.., b'/'] => essence.starts_with(known) && !OF_PAGES.contains(&essence),
        // Of fonts there are many: `application/font-woff`, `application/x-font-ttf`.
        _ if known.ends_with("font") => essence.starts_with(known),
        _ => essence == known,
    }
}

/// What stands behind the last dot of the path's last part, and the same of what stands there before a parameter of
/// the path (`x.css;v=1`).
fn extensions(path: &str) -> [Option<String>; 2] {
    let last = path.rsplit('/').next().unwrap_or_default();
    let decoded = decoded(last);
    let of = |name: &[u8]| {
        let at = memchr::memrchr(b'.', name)?;
        let extension = str::from_utf8(&name[at + 1..]).ok()?;
        // Longer ones are in no list.
        let is_one = extension.len() <= 11 && !extension.is_empty();
        is_one.then(|| extension.to_ascii_lowercase())
    };
    let before_parameters = decoded.split(|byte| *byte == b';').next().unwrap_or_default();
    [of(&decoded), of(before_parameters)]
}

/// Without its escapes: a service, or a rule that goes by extensions, may see it so.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, after @ ..] => {
                digit(*high).zip(digit(*low)).map(|(h, l)| (h << 4 | l, after))
            }
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    bytes
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn is_contradiction(path: &str, status: u16, content_type: Option<&str>) -> bool {
        let mut fields = HeaderMap::new();
        if let Some(content_type) = content_type {
            fields.insert("content-type", content_type.parse().unwrap());
        }
        let uri = format!("http://example.org{path}").parse().unwrap();
        contradicts(&uri, StatusCode::from_u16(status).unwrap(), Fields::from(&fields))
    }

    #[test]
    fn an_account_is_no_style_sheet_however_its_path_is_written() {
        for path in [
            "/account/x.css",
            "/account/x.CSS",
            "/account/x.css?y=1",
            "/account;x.css",
            "/account/x.css;v=1",
            "/account%2Fx.css",
            "/account%3Fx.css",
            "/account%23x.css",
            "/account%00.css",
            "/account/x%2ecss",
            "/account/x.c%73s",
            "/account/x.js",
            "/account/x.png",
            "/account/x.woff2",
            "/account/x.pdf",
            "/account/x.zip",
            "/account/x.json",
            "/account/x.ico",
            "/account/.css",
        ] {
            for page in
                ["text/html", "Text/HTML; charset=utf-8", " text/html ;x", "application/xhtml+xml"]
            {
                assert!(is_contradiction(path, 200, Some(page)), "{path} {page}");
            }
        }
        for path in [
            "/account/x.css",
            "/account/x.js",
            "/account/x.png",
            "/account/x.zip",
            "/account/x.docx",
        ] {
            assert!(is_contradiction(path, 200, Some("application/json")), "{path}");
        }
        assert!(is_contradiction("/account/x.png", 206, Some("text/plain")));
    }

    #[test]
    fn what_is_what_it_looks_like_contradicts_nothing() {
        for (path, types) in [
            ("/a.css", &["text/css", "text/css; charset=utf-8", "text/plain"][..]),
            ("/a.js", &["text/javascript", "application/javascript", "application/x-javascript"]),
            ("/a.mjs", &["text/javascript"]),
            ("/a.json", &["application/json", "application/ld+json", "text/javascript"]),
            ("/app.css.map", &["application/json"]),
            ("/a.png", &["image/png", "image/webp", "IMAGE/AVIF"]),
            ("/favicon.ico", &["image/x-icon", "image/vnd.microsoft.icon"]),
            ("/a.svg", &["image/svg+xml", "application/xml"]),
            ("/a.woff2", &["font/woff2", "application/font-woff2", "application/x-font-woff"]),
            ("/a.mp4", &["video/mp4"]),
            ("/a.m3u8", &["application/vnd.apple.mpegurl", "audio/mpegurl"]),
            ("/a.tar.gz", &["application/gzip", "application/x-gzip", "application/x-tar"]),
            ("/a.js.gz", &["text/javascript"]),
            ("/a.txt", &["text/plain"]),
            (
                "/a.docx",
                &["application/vnd.openxmlformats-officedocument.wordprocessingml.document"],
            ),
        ] {
            for fits in types.iter().chain(&UNKNOWN) {
                assert!(!is_contradiction(path, 200, Some(fits)), "{path} {fits}");
            }
            assert!(!is_contradiction(path, 200, None), "{path}");
        }
    }

    #[test]
    fn without_an_extension_that_is_known_nothing_is_contradicted() {
        for path in [
            "/",
            "",
            "/account",
            "/account/",
            "/a.css/",
            "/v1.2",
            "/a.html",
            "/a.php",
            "/a.",
            "/.",
            "/..",
            "/a?file=x.css",
            "/user@example.com",
            "/%",
            "/%2",
            "/%zz",
            "/a.cssx",
            "/x.css/account",
        ] {
            for content_type in ["text/html", "application/json", "image/png"] {
                assert!(!is_contradiction(path, 200, Some(content_type)), "{path} {content_type}");
            }
        }
    }

    #[test]
    fn that_there_is_no_such_image_may_be_said_by_a_page() {
        for status in [301, 404, 410, 500] {
            assert!(!is_contradiction("/a.png", status, Some("text/html")), "{status}");
        }
    }
}
