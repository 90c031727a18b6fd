//! Health: whether this process answers, and whether it is to be sent requests.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use crate::{console::Console, problem::Problem};

/// 200 as long as anything answers.
pub(crate) async fn live() -> &'static str {
    "ok"
}

/// 503 once it is told to stop: requests should go to another instance.
pub(crate) async fn ready(State(console): State<Arc<Console>>) -> Result<&'static str, Problem> {
    if console.stop.is_cancelled() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Stopping", "this one stops"));
    }
    Ok("ready")
}
