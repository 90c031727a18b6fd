//! Faults: a shared tier that is out of reach, and an origin that is slow, until that is taken back.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{ActView, not_offered};
use crate::{
    console::Console,
    object::Object,
    problem::{Problem, ProblemView},
};

/// No origin is made slower than this, unless it was so from the start: nobody watches for longer.
const MOST_DELAY: Duration = Duration::from_secs(10);

const TITLE: &str = "Act not understood";

/// A tier that can be cut off.
pub(super) struct SharedTier {
    pub(super) place: String,
    pub(super) is_cut_off: Box<dyn Fn() -> bool + Send + Sync>,
    pub(super) set: Box<dyn Fn(bool) + Send + Sync>,
}

impl SharedTier {
    pub(super) fn view(&self) -> ActView {
        ActView::BreakShared { place: self.place.clone(), on: (self.is_cut_off)() }
    }
}

/// An origin that can be made slow.
pub(super) struct OriginDelay {
    pub(super) usual: Duration,
    pub(super) says: String,
    pub(super) delay: Box<dyn Fn() -> Duration + Send + Sync>,
    pub(super) set: Box<dyn Fn(Duration) + Send + Sync>,
}

impl OriginDelay {
    fn most(&self) -> Duration {
        self.usual.max(MOST_DELAY)
    }

    pub(super) fn view(&self) -> ActView {
        ActView::SlowOrigin {
            ms: millis((self.delay)()),
            usual_ms: millis(self.usual),
            most_ms: millis(self.most()),
            says: self.says.clone(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whether the shared tier is to be out of reach.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BreakRequest {
    /// `false` mends it.
    on: bool,
}

/// How long the origin is to take.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlowRequest {
    /// For each answer, in milliseconds: from 0 to what is offered.
    #[schema(maximum = 10000)]
    ms: u64,
}

/// Cuts this process off from the tier that it shares, or mends that. What is on its way there fails; other processes go on.
#[utoipa::path(
    post, path = "/v1/stage/break_shared", tag = "stage", request_body = BreakRequest,
    responses(
        (status = 200, description = "It is so from now on.", body = ActView),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn break_shared(
    State(console): State<Arc<Console>>,
    request: Result<Json<Object<BreakRequest>>, JsonRejection>,
) -> Result<Json<ActView>, Problem> {
    let shared = console.stage.as_ref().and_then(|stage| stage.shared.as_ref());
    let shared = shared.ok_or_else(not_offered)?;
    let Json(Object(BreakRequest { on })) =
        request.map_err(|rejection| Problem::of_json(TITLE, &rejection))?;
    (shared.set)(on);
    match on {
        true => tracing::info!("{} is out of reach, as the stage has asked for", shared.place),
        false => tracing::info!("{} can be reached again", shared.place),
    }
    Ok(Json(shared.view()))
}

/// Has the origin take so long for each answer that it begins from now on.
#[utoipa::path(
    post, path = "/v1/stage/slow_origin", tag = "stage", request_body = SlowRequest,
    responses(
        (status = 200, description = "It is so from now on.", body = ActView),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn slow_origin(
    State(console): State<Arc<Console>>,
    request: Result<Json<Object<SlowRequest>>, JsonRejection>,
) -> Result<Json<ActView>, Problem> {
    let origin = console.stage.as_ref().and_then(|stage| stage.origin.as_ref());
    let origin = origin.ok_or_else(not_offered)?;
    let Json(Object(SlowRequest { ms })) =
        request.map_err(|rejection| Problem::of_json(TITLE, &rejection))?;
    let (delay, most) = (Duration::from_millis(ms), origin.most());
    if delay > most {
        let detail = format!("\"ms\" is {ms}: say 0 to {}", millis(most));
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, TITLE, detail));
    }
    (origin.set)(delay);
    tracing::info!("the origin takes {ms} ms for each answer, as the stage has asked for");
    Ok(Json(origin.view()))
}
