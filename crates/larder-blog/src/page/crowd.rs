//! Crowd: many readers of one post at once.
//!
//! A browser opens six connections to a host and no more, so a page cannot be a crowd. Its server
//! can: each user here is a connection of its own to the backend.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
};
use futures_util::future::join_all;
use http::{HeaderMap, StatusCode, header};
use larder_admin::Problem;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::{
    crowd::{Handling, MAX_READERS, Seen, read},
    settings::BaseUrl,
};

pub(crate) struct Crowds {
    backend: BaseUrl,
    origins: Vec<String>,
    /// One crowd at a time.
    turn: Semaphore,
}

impl Crowds {
    pub(crate) fn new(backend: BaseUrl, origins: Vec<String>) -> Self {
        Crowds { backend, origins, turn: Semaphore::new(1) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CrowdRequest {
    post_id: i64,
    users: usize,
}

/// What the crowd saw.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct CrowdReport {
    users: usize,
    /// Got 200.
    answered: usize,
    /// Got an error, or nothing.
    failed: usize,
    /// Of all answers, those that caused a call of the posts service.
    fetches: usize,
    /// Those that shared such a call.
    collapsed: usize,
    hits: usize,
    fastest_ms: f64,
    median_ms: f64,
    slowest_ms: f64,
}

pub(crate) async fn crowd(
    State(crowds): State<Arc<Crowds>>,
    headers: HeaderMap,
    request: Result<Json<CrowdRequest>, JsonRejection>,
) -> Result<Json<CrowdReport>, Problem> {
    if let Some(origin) = headers.get(header::ORIGIN)
        && !crowds.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    {
        let detail = format!("pages of {origin:?} may not call a crowd");
        return Err(Problem::new(StatusCode::FORBIDDEN, "Origin not allowed", detail));
    }
    const TITLE: &str = "Crowd not understood";
    let Json(request) = request
        .map_err(|rejection| Problem::new(rejection.status(), TITLE, rejection.body_text()))?;
    if !(1..=MAX_READERS).contains(&request.users) {
        let detail = format!("{} users: must be 1 to {MAX_READERS}", request.users);
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, TITLE, detail));
    }
    let Ok(_turn) = crowds.turn.try_acquire() else {
        let detail = "wait until it is done, then ask again";
        return Err(Problem::new(StatusCode::CONFLICT, "Another crowd is under way", detail));
    };
    Ok(Json(gather(&crowds.backend, &request).await))
}

async fn gather(backend: &BaseUrl, request: &CrowdRequest) -> CrowdReport {
    let uri = backend.join(&format!("/api/posts/{}", request.post_id));
    let users = (0..request.users).map(|_| {
        let uri = uri.clone();
        async move {
            let began = Instant::now();
            (read(uri).await, began.elapsed())
        }
    });
    report(join_all(users).await)
}

fn report(mut seen: Vec<(Option<Seen>, Duration)>) -> CrowdReport {
    seen.sort_by_key(|(_, took)| *took);
    let took_ms =
        |place: usize| seen.get(place).map_or(0.0, |(_, took)| took.as_secs_f64() * 1000.0);
    let count = |wanted: fn(&Seen) -> bool| {
        seen.iter().filter_map(|(seen, _)| seen.as_ref()).filter(|seen| wanted(seen)).count()
    };
    let answered = count(|seen| seen.status == StatusCode::OK);
    CrowdReport {
        users: seen.len(),
        answered,
        failed: seen.len() - answered,
        fetches: count(|seen| matches!(seen.handling, Handling::Miss | Handling::Pass)),
        collapsed: count(|seen| seen.handling == Handling::Collapsed),
        hits: count(|seen| matches!(seen.handling, Handling::Hit | Handling::Stale)),
        fastest_ms: took_ms(0),
        median_ms: took_ms(seen.len() / 2),
        slowest_ms: took_ms(seen.len().saturating_sub(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_everybody_once() {
        let user = |status, handling| Some(Seen { status, handling });
        let (good, bad) = (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE);
        let ms = Duration::from_millis;
        let report = report(vec![
            (user(good, Handling::Collapsed), ms(30)),
            (user(good, Handling::Miss), ms(20)),
            (user(bad, Handling::Pass), ms(50)),
            (user(good, Handling::Stale), ms(10)),
            (None, ms(40)),
        ]);
        let expected = CrowdReport {
            users: 5,
            answered: 3,
            failed: 2,
            fetches: 2,
            collapsed: 1,
            hits: 1,
            fastest_ms: 10.0,
            median_ms: 30.0,
            slowest_ms: 50.0,
        };
        assert_eq!(report, expected);
    }
}
