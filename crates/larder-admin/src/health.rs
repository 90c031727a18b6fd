//! Health: whether this process answers, and whether it is to be sent requests.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use larder::lower::Health;

use crate::{console::Console, problem::Problem};

/// 200 as long as anything answers.
pub(crate) async fn live() -> &'static str {
    "ok"
}

/// 503 once it is told to stop: requests should go to another instance. Not so where a shared tier is away, which is
/// said in a line of its own: this instance still serves, and all others have lost that tier as well.
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
    for note in console.notes.iter().filter_map(|note| note()) {
        said.push('\n');
        said.push_str(&note);
    }
    Ok(said)
}
