//! Assets: the built console, embedded where it is there.
//!
//! `npm --prefix web run build` puts it into `console/built`. Without it, and without the feature `console`, the page at the
//! root is the plain [`index`](crate::index): the crate builds without Node.
//!
//! Beside a larger file lies its gzip form, which goes out as it is to whoever takes it (RFC 9110 §12.5.3). Nothing is
//! compressed here.

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

#[cfg(feature = "console")]
#[derive(rust_embed::RustEmbed)]
#[folder = "console/built"]
#[allow_missing = true]
struct Built;

/// The page runs its own scripts, asks nobody but this API, and is part of no other page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// What is added to a file's name for its gzip form.
const GZIPPED: &str = ".gz";

/// A file of the build. Its tag is of its bytes, so each form of a file has one of its own (RFC 9110 §8.8.3.3).
struct File {
    bytes: std::borrow::Cow<'static, [u8]>,
    etag: HeaderValue,
}

#[cfg(feature = "console")]
fn find(name: &str) -> Option<File> {
    let file = <Built as rust_embed::RustEmbed>::get(name)?;
    let hash = file.metadata.sha256_hash();
    let tag: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let etag = HeaderValue::try_from(format!("\"{tag}\"")).expect("hexadecimal digits and quotes");
    Some(File { bytes: file.data, etag })
}

#[cfg(not(feature = "console"))]
fn find(_name: &str) -> Option<File> {
    None
}

#[cfg(feature = "console")]
fn takes_gzip(request: &HeaderMap) -> bool {
    use larder_policy::coding::{Accepted, Coding};
    Accepted::of(request).best([Coding::Gzip]).is_some()
}

#[cfg(not(feature = "console"))]
fn takes_gzip(_request: &HeaderMap) -> bool {
    false
}

/// The console's page for a router that is mounted at `base` (without its last slash), if it was built. It tells nothing by
/// itself: what it shows it asks for.
pub(crate) fn page(base: &str, escape: impl Fn(&str) -> String) -> Option<Response> {
    let file = find("console.html")?;
    let html = String::from_utf8_lossy(&file.bytes);
    // Relative addresses would depend on whether the browser's address ends with a slash.
    let html = html.replace("\"./", &format!("\"{}/", escape(base)));
    let mut response = axum::response::Html(html).into_response();
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(response)
}

/// A script, a stylesheet: the build puts a hash of its content into its name.
pub(crate) async fn asset(Path(name): Path<String>, request: HeaderMap) -> Response {
    serve(&format!("assets/{name}"), "public, max-age=31536000, immutable", &request)
}

pub(crate) async fn icon(request: HeaderMap) -> Response {
    serve("favicon.svg", "no-cache", &request)
}

fn serve(name: &str, keep: &'static str, request: &HeaderMap) -> Response {
    // A coded form is no file by itself.
    let Some(plain) = find(name).filter(|_| !name.ends_with(GZIPPED)) else {
        return (StatusCode::NOT_FOUND, "There is nothing here.\n").into_response();
    };
    let gzipped = find(&format!("{name}{GZIPPED}"));
    let varies = gzipped.is_some();
    // Whoever takes neither form gets the plain one: a page that is odd is better than none.
    let (file, is_gzipped) = match gzipped {
        Some(gzipped) if takes_gzip(request) => (gzipped, true),
        _ => (plain, false),
    };
    let is_known = is_known(&file.etag, request);
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => {
            let kind = HeaderValue::from_static(content_type(name));
            ([(header::CONTENT_TYPE, kind)], file.bytes).into_response()
        }
    };
    let fields = response.headers_mut();
    if is_gzipped && !is_known {
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if varies {
        fields.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    fields.insert(header::ETAG, file.etag);
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whether whoever asks has it (RFC 9110 §13.1.2). Compared is as loosely as that asks for: a cache between may have weakened
/// the tag.
fn is_known(etag: &HeaderValue, request: &HeaderMap) -> bool {
    let lines = request.get_all(header::IF_NONE_MATCH).iter();
    let tags = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    tags.map(<[u8]>::trim_ascii)
        .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes())
}

/// The kinds of file a build has.
fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
