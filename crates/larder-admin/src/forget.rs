//! Forget: a process that was killed is no longer one of those that share.

use std::sync::Arc;

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
};
use futures_util::future::join_all;
use http::StatusCode;
use larder::lower::{Forget, Forgotten};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    console::Console,
    object::Object,
    problem::{Problem, ProblemView},
};

/// Whom to forget, by the name that a receipt calls it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForgetRequest {
    instance: String,
    /// Also if it is alive.
    #[serde(default)]
    force: bool,
}

/// What was done.
#[derive(Serialize, ToSchema)]
pub(crate) struct Done {
    /// So many of that name are no longer waited for.
    forgotten: u64,
}

/// No longer waits for a process that was killed, where a tier is shared.
#[utoipa::path(
    post, path = "/v1/shared/forget", tag = "shared tier", request_body = ForgetRequest,
    responses(
        (status = 200, description = "It is forgotten.", body = Done),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn forget(
    State(console): State<Arc<Console>>,
    request: Result<Json<Object<ForgetRequest>>, JsonRejection>,
) -> Result<Json<Done>, Problem> {
    const TITLE: &str = "Not forgotten";
    let Json(Object(request)) =
        request.map_err(|rejection| Problem::of_json("Forget not understood", &rejection))?;
    let ForgetRequest { instance, force } = request;
    let problem = |status, detail: String| Err(Problem::new(status, TITLE, detail));
    if instance.is_empty() {
        let detail = "\"instance\" is the name of one, as a receipt says it: \"web3:812\"";
        return problem(StatusCode::UNPROCESSABLE_ENTITY, detail.to_owned());
    }
    let whom = if force { Forget::InAnyCase } else { Forget::IfSilent };
    let sharing: Vec<_> =
        console.caches.iter().filter(|cache| cache.lower_health().is_some()).collect();
    if sharing.is_empty() {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "nothing is shared here".to_owned());
    }
    let (mut forgotten, mut alive, mut failure) = (0, None, None);
    for done in join_all(sharing.iter().map(|cache| cache.forget_reader(&instance, whom))).await {
        match done {
            Ok(Forgotten::Readers(count)) => forgotten += count,
            Ok(Forgotten::Alive(silent)) => alive = Some(silent),
            Ok(_) => {}
            Err(error) => failure = Some(error),
        }
    }
    match (forgotten, alive, failure) {
        (0, _, Some(error)) => problem(StatusCode::SERVICE_UNAVAILABLE, told(&error)),
        (0, Some(silent), None) => problem(
            StatusCode::CONFLICT,
            format!(
                "{instance} is alive: it said something {} ms ago. Stop it, or say \"force\":true: then no purge is \
                 said to hold until what it may still serve is over",
                silent.as_millis()
            ),
        ),
        (0, None, None) => problem(
            StatusCode::NOT_FOUND,
            format!("the shared tier knows no {instance}: a receipt names those that it misses"),
        ),
        (forgotten, ..) => {
            tracing::info!("{instance} is forgotten: purges no longer wait for it");
            Ok(Json(Done { forgotten }))
        }
    }
}

fn told(error: &larder::lower::LowerError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
