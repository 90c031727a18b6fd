//! Purge: forget entries, by key or all of them.

use std::sync::Arc;

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{admin::Console, problem::Problem};

/// More keys than this in one request are refused: send several.
const MAX_KEYS: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PurgeRequest {
    all: Option<bool>,
    keys: Option<Vec<String>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Scope {
    All,
    Keys(Vec<String>),
}

impl TryFrom<PurgeRequest> for Scope {
    type Error = String;

    fn try_from(request: PurgeRequest) -> Result<Scope, String> {
        match (request.all, request.keys) {
            (Some(true), None) => Ok(Scope::All),
            (None, Some(keys)) if keys.is_empty() => Err("\"keys\" is empty".to_owned()),
            (None, Some(keys)) if keys.len() > MAX_KEYS => {
                Err(format!("{} keys are more than the {MAX_KEYS} of one request", keys.len()))
            }
            (None, Some(keys)) => Ok(Scope::Keys(keys)),
            _ => Err("say either {\"all\":true} or {\"keys\":[\"…\"]}".to_owned()),
        }
    }
}

/// How many entries are gone.
#[derive(Serialize)]
pub(crate) struct Purged {
    purged: usize,
}

pub(crate) async fn purge(
    State(console): State<Arc<Console>>,
    request: Result<Json<PurgeRequest>, JsonRejection>,
) -> Result<Json<Purged>, Problem> {
    const TITLE: &str = "Purge not understood";
    let Json(request) = request
        .map_err(|rejection| Problem::new(rejection.status(), TITLE, rejection.body_text()))?;
    let scope = Scope::try_from(request)
        .map_err(|detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, TITLE, detail))?;
    let caches = console.caches.iter();
    let purged = match &scope {
        Scope::All => caches.map(|cache| cache.clear()).sum(),
        Scope::Keys(keys) => {
            caches.map(|cache| keys.iter().filter(|key| cache.remove(key)).count()).sum()
        }
    };
    tracing::info!(purged, all = matches!(scope, Scope::All), "purged");
    Ok(Json(Purged { purged }))
}
