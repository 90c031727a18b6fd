//! Index: the page at the root. It is the console where that was built, and otherwise a plain one that says what there is.
//! Where reading asks for a token, so does the page: it opens without one, and tells nothing.

use std::{fmt::Write, sync::Arc};

use axum::{
    extract::{OriginalUri, State},
    response::{Html, IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};

use crate::{assets, console::Console};

/// Nothing is loaded, and nothing runs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Nothing runs but the page's own script, which asks nobody but this API. Where scripts are off the form leads nowhere, so
/// that no token gets into an address.
const POLICY_OF_FORM: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; \
                              base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SCRIPT: &str = include_str!("page.js");

/// Asks for a token, and shows what it opens.
const FORM: &str = "<h2>With a token</h2>\n<form id=\"ask\">\n\
<label>Token <input type=\"password\" name=\"token\" autocomplete=\"off\" required></label>\n\
<label>Show <select name=\"path\"><option value=\"v1/stats\">counters</option>\
<option value=\"metrics\">metrics</option></select></label>\n<button>Ask</button>\n</form>\n\
<noscript><p>Without scripts: <code>curl -H 'authorization: Bearer …'</code></p></noscript>\n\
<pre id=\"said\" role=\"status\">Nothing was asked yet.</pre>\n";

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
    if let Some(page) = assets::page(base, escaped) {
        return page;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let names: Vec<_> = console.caches.iter().map(|cache| cache.name()).collect();
    let (shown, policy) = match console.tokens.ask_readers() {
        true => (Shown::ToAnybody, POLICY_OF_FORM),
        false => (Shown::ToReaders(&names), POLICY),
    };
    let mut response = Html(page(base, host, shown)).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

pub(crate) async fn script() -> Response {
    let kind = HeaderValue::from_static("text/javascript; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], SCRIPT).into_response()
}

/// To whom the page is shown.
#[derive(Clone, Copy)]
enum Shown<'a> {
    /// They may know what the caches are called.
    ToReaders(&'a [&'a str]),
    /// They have shown no token.
    ToAnybody,
}

fn page(base: &str, host: &str, shown: Shown<'_>) -> String {
    let (base, host) = (escaped(base), escaped(host));
    let form = match shown {
        Shown::ToReaders(_) => String::new(),
        Shown::ToAnybody => format!("{FORM}<script src=\"{base}/page.js\"></script>\n"),
    };
    let caches = match shown {
        Shown::ToAnybody => "What is read and changed here asks for a token.".to_owned(),
        Shown::ToReaders([]) => "No cache is administered here.".to_owned(),
        Shown::ToReaders(names) => {
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
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Larder: admin</h1>\n<p>{caches}</p>\n{form}\
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
    use super::{Shown, page};

    #[test]
    fn names_cannot_become_markup() {
        let page = page("/a\"b", "h<i>", Shown::ToReaders(&["x&<script>"]));
        assert!(page.contains("<code>x&amp;&lt;script&gt;</code>"), "{page}");
        assert!(page.contains("href=\"/a&quot;b/metrics\""), "{page}");
        assert!(page.contains("http://h&lt;i&gt;/a&quot;b/v1/purge"), "{page}");
    }

    #[test]
    fn whoever_has_shown_no_token_reads_no_name_and_can_show_one() {
        let page = page("/a", "h", Shown::ToAnybody);
        assert!(page.contains("<input type=\"password\""), "{page}");
        assert!(page.contains("<script src=\"/a/page.js\">"), "{page}");
        assert!(!page.contains("Administered here"), "{page}");
    }
}
