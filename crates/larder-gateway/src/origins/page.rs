//! Page: what readers are told while no address of an upstream answers, in its owner's words.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use larder::http::policy::proxy_status::{ProxyError, ProxyStatus};

/// The most bytes of a page: it lies in memory.
pub const MAX_PAGE_BYTES: u64 = 1 << 20;

/// When asking again may help.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// A page, as it was when it was read. Its answer is 503.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    body: Bytes,
    media_type: &'static str,
}

impl Page {
    /// `file` is what it was read from: the end of its name says what it is.
    pub fn new(file: &Path, body: impl Into<Bytes>) -> Page {
        let end = file.extension().and_then(|end| end.to_str()).unwrap_or_default();
        let media_type = match end.to_ascii_lowercase().as_str() {
            "html" | "htm" => "text/html; charset=utf-8",
            "json" => "application/json",
            _ => "text/plain; charset=utf-8",
        };
        Page { body: body.into(), media_type }
    }

    /// No cache may store it: it is about one moment.
    pub(crate) fn to_response(&self) -> Response<Bytes> {
        let mut response = Response::new(self.body.clone());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
        // The page is for people; for programs there is the same word as without it.
        let status = ProxyStatus::new(ProxyError::DestinationUnavailable).to_field();
        if let Ok(field) = HeaderValue::try_from(status) {
            headers.insert("proxy-status", field);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_to_programs_that_the_service_is_down() {
        let page = Page::new(Path::new("down.html"), "<h1>Back soon</h1>");
        let answer = page.to_response();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["proxy-status"], "Larder;error=destination_unavailable");
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
        assert_eq!(answer.headers()["cache-control"], "no-store");
    }
}
