//! Replies: the JSON errors that backend and posts service have in common.

use axum::{
    Json, Router,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::{HeaderValue, StatusCode, Uri, header};
use serde_json::json;

use crate::post_id::NoPostId;

/// `{"detail":"…"}`
pub(crate) fn detail(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "detail": text }))).into_response()
}

/// 422 in the shape the contract names, for a path that has no integer where one must be.
pub(crate) fn no_post_id(why: NoPostId, input: &str) -> Response {
    let (kind, message) = match why {
        NoPostId::NotAnInteger => {
            ("int_parsing", "Input should be a valid integer, unable to parse string as an integer")
        }
        NoPostId::TooManyDigits => (
            "int_parsing_size",
            "Unable to parse input string as an integer, exceeded maximum size",
        ),
    };
    let detail = InvalidPath { r#type: kind, loc: ["path", "post_id"], msg: message, input };
    let body = Json(Details { detail: [detail] });
    (StatusCode::UNPROCESSABLE_ENTITY, body).into_response()
}

// Structs, because the contract's fields have an order.
#[derive(serde::Serialize)]
struct Details<'a> {
    detail: [InvalidPath<'a>; 1],
}

#[derive(serde::Serialize)]
struct InvalidPath<'a> {
    r#type: &'static str,
    loc: [&'static str; 2],
    msg: &'static str,
    input: &'a str,
}

/// What both services answer alike: `/health`, unknown paths, wrong methods, and a path with a slash
/// too many, which is sent to the one without (`is_path` says whether there is one).
pub(crate) fn with_common_replies<S>(
    router: Router<S>,
    service: &'static str,
    is_path: fn(&str) -> bool,
) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let health = async move || Json(Health { status: "healthy", service });
    let elsewhere = async move |uri: Uri| not_found_or_moved(&uri, is_path);
    router
        .route("/health", get(health))
        .fallback(elsewhere)
        .method_not_allowed_fallback(async || method_not_allowed())
}

#[derive(serde::Serialize)]
struct Health {
    status: &'static str,
    service: &'static str,
}

fn not_found_or_moved(uri: &Uri, is_path: fn(&str) -> bool) -> Response {
    match uri.path().strip_suffix('/') {
        Some(path) if path == "/health" || is_path(path) => {
            let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
            Redirect::temporary(&format!("{path}{query}")).into_response()
        }
        _ => detail(StatusCode::NOT_FOUND, "Not Found"),
    }
}

/// 405, naming what is allowed.
pub(crate) fn method_not_allowed() -> Response {
    let mut response = detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}
