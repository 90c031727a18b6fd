//! Problem: every error the gateway answers with itself (RFC 9457), signed with `Proxy-Status` and `Cache-Status`.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use larder::http::policy::{
    cache_status::CacheStatus,
    proxy_status::{ProxyError, ProxyStatus},
};

/// An error as `application/problem+json`. No cache may store it: it is about one moment.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
    error: ProxyError,
    retry_after: Option<Duration>,
}

impl Problem {
    /// `title` says what kind of thing went wrong, always in the same words; `detail` says what it
    /// was this time, for a reader who must not learn anything about the inside.
    pub fn new(
        status: StatusCode,
        title: &'static str,
        detail: impl Into<String>,
        error: ProxyError,
    ) -> Self {
        Problem { status, title, detail: detail.into(), error, retry_after: None }
    }

    /// Says in `Retry-After` when asking again may help, in whole seconds, one at least (RFC 9110
    /// §10.2.3).
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Problem { retry_after: Some(wait), ..self }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The `type` of the body: stable, one for each kind of error.
    fn kind(&self) -> String {
        format!("urn:larder:problem:{}", self.error.as_str())
    }

    /// The whole answer.
    pub fn to_response(&self) -> Response<Bytes> {
        let body = json!({
            "type": self.kind(),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let problem = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs_f64().ceil().clamp(1.0, 3600.0) as u64;
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // A serializer of structured fields writes printable ASCII only.
        let status = ProxyStatus::new(self.error).details(&self.detail);
        if let Ok(field) = HeaderValue::try_from(status.to_field()) {
            headers.insert("proxy-status", field);
        }
        // Nothing was forwarded, as far as is known here.
        CacheStatus::refused().append_to(headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::Problem;
    use larder::http::policy::proxy_status::ProxyError;

    #[test]
    fn a_problem_says_the_same_in_its_body_and_in_its_fields() {
        let status = StatusCode::GATEWAY_TIMEOUT;
        let error = ProxyError::HttpResponseTimeout;
        let response = Problem::new(status, "The origin is slow", "5s", error).to_response();
        assert_eq!(response.status(), 504);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let field = r#"Larder;error=http_response_timeout;details="5s""#;
        assert_eq!(response.headers()["proxy-status"], field);
        assert_eq!(response.headers()["cache-status"], "Larder");
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["type"], "urn:larder:problem:http_response_timeout");
        assert_eq!(body["status"], 504);
        assert_eq!(body["detail"], "5s");
        assert!(!response.headers().contains_key("retry-after"));
    }

    #[test]
    fn when_to_ask_again_is_said_in_whole_seconds() {
        let rows = [(0, "1"), (1, "1"), (4001, "5"), (u64::MAX, "3600")];
        for (millis, said) in rows {
            let error = ProxyError::ConnectionLimitReached;
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Busy", "", error);
            let response = problem.retry_after(Duration::from_millis(millis)).to_response();
            assert_eq!(response.headers()["retry-after"], said);
        }
    }
}
