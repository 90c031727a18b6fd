//! Health: whether this process answers, and whether it is to be sent requests.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use http::StatusCode;
use larder::lower::Health;

use crate::{
    console::Console,
    problem::{Problem, ProblemView},
};

/// What has waited less is on its way.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

/// 200 as long as anything answers.
#[utoipa::path(
    get, path = "/livez", tag = "health", security(()),
    responses((status = 200, description = "`ok`", body = String, content_type = "text/plain; charset=utf-8")),
)]
pub(crate) async fn live() -> &'static str {
    "ok"
}

/// 503 once it is told to stop: requests should go to another instance. Not so where a shared tier is away, which is
/// said in a line of its own: this instance still serves, and all others have lost that tier as well.
#[utoipa::path(
    get, path = "/readyz", tag = "health", security(()),
    responses(
        (status = 200, description = "`ready`, and a line for each thing that is out of order.", body = String, content_type = "text/plain; charset=utf-8"),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn ready(State(console): State<Arc<Console>>) -> Result<String, Problem> {
    if console.stop.is_cancelled() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Stopping", "this one stops"));
    }
    let mut said = "ready".to_owned();
    for cache in &console.caches {
        if let Some(Health::Fails { lasts, reason }) = cache.lower_health() {
            let (name, seconds) = (cache.name(), lasts.as_secs());
            let trusted = if cache.stats().lower.is_trusted {
                ""
            } else {
                ", and memory is not served without it"
            };
            said.push_str(&format!(
                "\nthe shared tier of {name} has not answered for {seconds} s{trusted}: {reason}"
            ));
        }
    }
    for cache in &console.caches {
        let (name, lower) = (cache.name(), cache.stats().lower);
        if lower.purges_outstanding > 0 && lower.outbox_age >= WORTH_A_LINE {
            let (purges, seconds) = (lower.purges_outstanding, lower.outbox_age.as_secs());
            said.push_str(&format!(
                "\n{purges} purges of {name} wait for its shared tier, the first for {seconds} s"
            ));
        }
        if let Some(reason) = cache.outbox_failure() {
            said.push_str(&format!(
                "\nthe outbox of {name} is not on disk, so purges that wait are in memory alone: {reason}"
            ));
        }
    }
    for note in console.notes.iter().filter_map(|note| note()) {
        said.push('\n');
        said.push_str(&note);
    }
    Ok(said)
}
