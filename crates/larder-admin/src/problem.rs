//! Problem: every error the admin API answers with (RFC 9457).

use std::fmt;

use axum::{
    Json,
    extract::rejection::JsonRejection,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

/// A form on a page elsewhere can send anything but this header without asking: see `guard.rs`.
const NO_JSON: &str = "say that this is JSON, with the header content-type: application/json (with curl: \
                       -H 'content-type: application/json' or --json); without it, any page in a browser on \
                       this machine could purge";

/// An error as it is told (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemView {
    /// What kind of problem it is, for programs.
    #[serde(rename = "type")]
    kind: &'static str,
    /// What kind of thing went wrong, always in the same words.
    title: &'static str,
    status: u16,
    /// What it was this time, and the way out.
    detail: String,
}

/// An error as `application/problem+json`.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
}

impl Problem {
    /// `title` says what kind of thing went wrong, always in the same words; `detail` says what it
    /// was this time, and the way out.
    pub fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Problem { status, title, detail: detail.into() }
    }

    /// A request whose body is not the JSON that it should be.
    pub(crate) fn of_json(title: &'static str, rejection: &JsonRejection) -> Self {
        let detail = match rejection {
            JsonRejection::MissingJsonContentType(_) => NO_JSON.to_owned(),
            other => other.body_text(),
        };
        Problem::new(rejection.status(), title, detail)
    }
}

/// As a line of the log has it.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.title, self.status.as_u16(), self.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(ProblemView {
            kind: "about:blank",
            title: self.title,
            status: self.status.as_u16(),
            detail: self.detail,
        });
        let mut response = (self.status, body).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}
