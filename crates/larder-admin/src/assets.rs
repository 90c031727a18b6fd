//! Assets: the built console, embedded where it is there.
//!
//! `npm --prefix web run build` puts it into `console/built`. Without it, and without the feature `console`, the page at the
//! root is the plain [`index`](crate::index): the crate builds without Node.

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

/// A file of the build.
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
    let Some(file) = find(name) else {
        return (StatusCode::NOT_FOUND, "There is nothing here.\n").into_response();
    };
    let mut response = if request.get(header::IF_NONE_MATCH) == Some(&file.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = HeaderValue::from_static(content_type(name));
        ([(header::CONTENT_TYPE, kind)], file.bytes).into_response()
    };
    let fields = response.headers_mut();
    fields.insert(header::ETAG, file.etag);
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
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
