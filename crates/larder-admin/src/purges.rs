//! Purges: which were made of late, and how far each is.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
};
use http::StatusCode;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    console::Console,
    problem::{Problem, ProblemView},
    trail::Story,
};

/// Those that were asked for since a time, the oldest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Purges {
    purges: Vec<Story>,
    /// There were more, which are older.
    more: bool,
}

/// Since when.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it says what a question looks like; the text is read by `since`")]
pub(crate) struct PurgesQuestion {
    /// Only those that were asked for since then.
    #[param(format = DateTime)]
    since: Option<String>,
}

fn no_trail() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "Not found", "purges are not remembered here")
}

/// What was purged under this name, and how far each tier is. Known where purges are remembered.
#[utoipa::path(
    get, path = "/v1/purges/{id}", tag = "purges",
    params(("id" = String, Path, description = "The `id` of an answer to a purge.")),
    responses(
        (status = 200, description = "How far it is.", body = Story),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn one(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
) -> Result<Json<Story>, Problem> {
    let trail = console.trail.as_ref().ok_or_else(no_trail)?;
    let unknown = || {
        let detail = "no purge of this name is remembered: the oldest make room for newer ones";
        Problem::new(StatusCode::NOT_FOUND, "Purge not known", detail)
    };
    trail.story(&id).map(Json).ok_or_else(unknown)
}

/// Which purges were made of late, by whom, and how far each tier is. Known where purges are remembered.
#[utoipa::path(
    get, path = "/v1/purges", tag = "purges", params(PurgesQuestion),
    responses(
        (status = 200, description = "The oldest first.", body = Purges),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn since(
    State(console): State<Arc<Console>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Purges>, Problem> {
    let trail = console.trail.as_ref().ok_or_else(no_trail)?;
    let wrong = |detail: &str| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "Question not understood", detail)
    };
    let since = match query.as_deref().filter(|query| !query.is_empty()) {
        None => None,
        Some(query) => {
            let time = query.strip_prefix("since=").ok_or_else(|| wrong("ask for ?since=TIME"))?;
            // A colon may be written in either way.
            let time = time.replace("%3A", ":").replace("%3a", ":");
            let time = humantime::parse_rfc3339_weak(&time);
            Some(time.map_err(|_| wrong("the time is written like 2026-11-30T12:00:00Z"))?)
        }
    };
    let (purges, more) = trail.stories(since);
    Ok(Json(Purges { purges, more }))
}
