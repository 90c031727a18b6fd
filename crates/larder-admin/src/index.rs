//! Index: the page at the root, which says what there is.

use std::{fmt::Write, sync::Arc};

use axum::{
    extract::{OriginalUri, State},
    response::{Html, IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};

use crate::console::Console;

/// Nothing is loaded, and nothing runs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}\
dt{margin-top:.75rem}dd{margin:0 0 0 1rem}\
code,pre{font:14px/1.5 ui-monospace,monospace}\
pre{padding:.75rem 1rem;border:1px solid;border-radius:4px;overflow-x:auto;white-space:pre}";

/// What there is to read: path, and what it is.
const PAGES: [(&str, &str); 5] = [
    ("v1/stats", "the counters of every cache, as JSON"),
    ("v1/events", "the same, once a second (server-sent events)"),
    ("metrics", "the counters for Prometheus (OpenMetrics)"),
    ("livez", "ok, while the process answers"),
    ("readyz", "ready; 503 once it is told to stop"),
];

pub(crate) async fn index(
    State(console): State<Arc<Console>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    // The router may be mounted anywhere.
    let base = uri.path().trim_end_matches('/');
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let names: Vec<_> = console.caches.iter().map(|cache| cache.name()).collect();
    let mut response = Html(page(base, host, &names)).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn page(base: &str, host: &str, caches: &[&str]) -> String {
    let (base, host) = (escaped(base), escaped(host));
    let caches = match caches {
        [] => "No cache is administered here.".to_owned(),
        names => {
            let names: Vec<_> =
                names.iter().map(|name| format!("<code>{}</code>", escaped(name))).collect();
            format!("Administered here: {}.", names.join(", "))
        }
    };
    let mut pages = String::new();
    for (path, what) in PAGES {
        writeln!(
            pages,
            "<dt><a href=\"{base}/{path}\"><code>GET {base}/{path}</code></a></dt><dd>{what}</dd>"
        )
        .expect("a String takes everything");
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Larder: admin</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Larder: admin</h1>\n<p>{caches}</p>\n\
         <h2>To read</h2>\n<dl>\n{pages}</dl>\n\
         <h2>To purge</h2>\n<p><code>POST {base}/v1/purge</code> marks entries stale, or removes them with \
         <code>\"mode\":\"hard\"</code>. It takes one of <code>keys</code>, <code>prefix</code>, \
         <code>tags</code> and <code>all</code>:</p>\n\
         <pre>curl http://{host}{base}/v1/purge -H 'content-type: application/json' \\\n  \
         -d '{{\"all\":true}}'</pre>\n</main>\n</body>\n</html>\n"
    )
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn names_cannot_become_markup() {
        let page = page("/a\"b", "h<i>", &["x&<script>"]);
        assert!(page.contains("<code>x&amp;&lt;script&gt;</code>"), "{page}");
        assert!(page.contains("href=\"/a&quot;b/metrics\""), "{page}");
        assert!(page.contains("http://h&lt;i&gt;/a&quot;b/v1/purge"), "{page}");
    }
}
