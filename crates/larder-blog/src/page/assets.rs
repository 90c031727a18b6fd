//! Assets: the built page, embedded into the binary.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use rust_embed::{EmbeddedFile, RustEmbed};

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Assets;

const NOT_BUILT: &str = "The page is not part of this binary.\n\
    Build it and then the binary:  make build\n";

/// What the page may do in a browser (`Content-Security-Policy`): run its own scripts, and talk to
/// the ports of the hosts it is reached under.
#[derive(Clone, Debug)]
pub(crate) struct Policy(HeaderValue);

impl Policy {
    /// `origins` are what a browser may call the page.
    pub(crate) fn new(origins: &[String]) -> Policy {
        let hosts = origins.iter().map(|origin| {
            let (scheme, host) = origin.split_once("://").unwrap_or(("http", origin));
            let end = host.rfind(':').filter(|colon| !host[*colon..].contains(']'));
            format!(" {scheme}://{}:*", &host[..end.unwrap_or(host.len())])
        });
        let hosts: String = hosts.collect();
        let policy = format!(
            "default-src 'self'; connect-src 'self'{hosts}; img-src 'self' data:; \
             style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        Policy(policy.try_into().expect("origins are checked when the settings are read"))
    }
}

pub(crate) async fn serve(
    State(policy): State<Policy>,
    method: Method,
    uri: Uri,
    request: HeaderMap,
) -> Response {
    if method != Method::GET && method != Method::HEAD {
        let allow = [(header::ALLOW, "GET, HEAD")];
        return (StatusCode::METHOD_NOT_ALLOWED, allow).into_response();
    }
    let path = match uri.path().trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    match Assets::get(path) {
        Some(file) => found(path, &file, &request, policy),
        None if path == "index.html" => {
            (StatusCode::SERVICE_UNAVAILABLE, NOT_BUILT).into_response()
        }
        None => (StatusCode::NOT_FOUND, "There is nothing here.\n").into_response(),
    }
}

fn found(path: &str, file: &EmbeddedFile, request: &HeaderMap, policy: Policy) -> Response {
    let hash = file.metadata.sha256_hash();
    let tag: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let etag = HeaderValue::try_from(format!("\"{tag}\"")).expect("hexadecimal digits and quotes");
    let mut response = if request.get(header::IF_NONE_MATCH) == Some(&etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = file.data.clone().into_response();
        let kind = HeaderValue::from_static(content_type(path));
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag);
    // The build puts a hash of its content into the name of every asset.
    let keep = if path.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy.0);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The kinds of file a build of the page has.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" | "map" => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_may_talk_to_every_host_it_is_reached_under() {
        let origins = ["http://localhost:3000", "https://blog.example", "http://[::1]:3000"];
        let Policy(policy) = Policy::new(&origins.map(str::to_owned));
        let hosts = "connect-src 'self' http://localhost:* https://blog.example:* http://[::1]:*;";
        assert!(policy.to_str().unwrap().contains(hosts), "{policy:?}");
    }
}
