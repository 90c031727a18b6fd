//! Purges: which were made of late, and how far each is.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
};
use http::StatusCode;
use serde::Serialize;

use crate::{console::Console, problem::Problem, trail::Story};

/// Those that were asked for since a time, the oldest first.
#[derive(Serialize)]
pub(crate) struct Purges {
    purges: Vec<Story>,
    /// There were more, which are older.
    more: bool,
}

fn no_trail() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "Not found", "purges are not remembered here")
}

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
