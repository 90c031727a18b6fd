//! Health: whether this process answers, and whether it is to be sent requests.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use http::StatusCode;
use larder::{LowerStats, lower::Health};

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
        let Some(health) = cache.lower_health() else { continue };
        for line in lines_of(cache.name(), &health, &cache.stats().lower) {
            said.push('\n');
            said.push_str(&line);
        }
    }
    for cache in &console.caches {
        let name = cache.name();
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

/// What of the shared tier of this cache somebody should know.
fn lines_of(name: &str, health: &Health, lower: &LowerStats) -> Vec<String> {
    let mut lines = Vec::new();
    let seconds = lower.log_behind_for.as_secs();
    match health {
        Health::Fails { lasts, reason } => {
            let trusted =
                if lower.is_trusted { "" } else { ", and memory is not served without it" };
            let lasts = lasts.as_secs();
            lines.push(format!(
                "the shared tier of {name} has not answered for {lasts} s{trusted}: {reason}"
            ));
        }
        _ if lower.is_reconciling => lines.push(format!(
            "the shared tier of {name} finds out what it has lost, and no purge is said to hold meanwhile"
        )),
        _ if !lower.is_trusted => lines.push(format!(
            "the shared tier of {name} answers, but has not been heard of to its log's end, and memory is not served without that"
        )),
        _ => {}
    }
    if lower.log_behind > 0 && lower.log_behind_for >= WORTH_A_LINE {
        let entries = lower.log_behind;
        lines.push(format!(
            "{name} is {entries} entries behind in the log of its shared tier, and knew all of it {seconds} s ago"
        ));
    }
    if lower.purges_outstanding > 0 && lower.outbox_age >= WORTH_A_LINE {
        let (purges, seconds) = (lower.purges_outstanding, lower.outbox_age.as_secs());
        lines.push(format!(
            "{purges} purges of {name} wait for its shared tier, the first for {seconds} s"
        ));
    }
    if let Some(doubt) = lower.doubt {
        lines.push(format!("the server of the shared tier of {name} {}", doubt.as_str()));
    }
    let lost = [
        (lower.forks, "the server lost a part of its log and got it back"),
        (lower.gaps, "purges were missed and memory let all go"),
        (lower.overflows, "too many purges waited and became one of everything"),
    ];
    let lost: Vec<_> = lost
        .into_iter()
        .filter(|(times, _)| *times > 0)
        .map(|(times, what)| format!("{what} ({times} so far)"))
        .collect();
    if !lost.is_empty() {
        lines.push(format!("with the shared tier of {name}, since the start: {}", lost.join("; ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use larder::{Cache, Doubt};

    use super::*;

    /// Those of a cache with nothing below.
    fn well() -> LowerStats {
        Cache::<()>::builder().build().stats().lower
    }

    fn told(health: &Health, change: impl FnOnce(&mut LowerStats)) -> Vec<String> {
        let mut lower = well();
        change(&mut lower);
        lines_of("posts", health, &lower)
    }

    #[test]
    fn a_tier_that_is_well_is_no_line_and_each_thing_that_is_not_is_one() {
        let answers = |change: fn(&mut LowerStats)| told(&Health::Answers, change);
        assert_eq!(answers(|_| ()), [""; 0]);
        // One that is behind for a moment is on its way.
        assert_eq!(answers(|lower| lower.log_behind = 3), [""; 0]);
        let behind = answers(|lower| {
            (lower.log_behind, lower.log_behind_for) = (3, Duration::from_secs(4));
        });
        let line =
            "posts is 3 entries behind in the log of its shared tier, and knew all of it 4 s ago";
        assert_eq!(behind, [line]);
        let lost = answers(|lower| (lower.forks, lower.gaps) = (2, 1));
        let line = "with the shared tier of posts, since the start: the server lost a part of its log and got it back \
                    (2 so far); purges were missed and memory let all go (1 so far)";
        assert_eq!(lost, [line]);
        let doubt = answers(|lower| lower.doubt = Some(Doubt::MinReplicasToWrite));
        let line = "the server of the shared tier of posts may lose acknowledged purges: min-replicas-to-write";
        assert_eq!(doubt, [line]);
        let closing = answers(|lower| (lower.is_reconciling, lower.is_trusted) = (true, false));
        assert!(closing.len() == 1 && closing[0].contains("finds out what it has lost"));
        let unheard = answers(|lower| lower.is_trusted = false);
        assert!(unheard.len() == 1 && unheard[0].contains("memory is not served"), "{unheard:?}");
        let away = Health::Fails { lasts: Duration::from_secs(9), reason: "refused".to_owned() };
        let away = told(&away, |lower| {
            (lower.purges_outstanding, lower.outbox_age) = (7, Duration::from_secs(8));
        });
        let lines = [
            "the shared tier of posts has not answered for 9 s: refused",
            "7 purges of posts wait for its shared tier, the first for 8 s",
        ];
        assert_eq!(away, lines);
    }
}
