//! Stopped: a gateway that stands still for a while serves nothing when it goes on that was purged meanwhile.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::timeout;

use crate::{
    fleet::{Fleet, State},
    support::{Wire, eventually, larder::request},
    versions::{Versions, version},
};

/// So many have asked a gateway that stands still before it goes on.
const ASKING: usize = 8;
/// Far longer than an answer takes.
const PATIENCE: Duration = Duration::from_secs(30);
const PURGE: &str = r#"{"tags":["page"],"mode":"hard","wait":"shared"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_was_stopped_serves_nothing_that_was_purged_meanwhile() {
    let versions = Versions::default();
    let origin = versions.origin().await;
    let fleet = Fleet::before(origin.address).await;
    let places = fleet.places();
    for round in 0..2 {
        for place in &places {
            place.get("/page").await;
        }
        let stopped = &fleet.gateways[2];
        assert_eq!(places[2].get("/page").await.handling(), "hit");
        // It has these connections, and what comes on them, though it stands still.
        let mut asking = Vec::new();
        for _ in 0..ASKING {
            asking.push(Wire::connect(stopped.place.address).await);
        }
        stopped.larder().signal(Signal::STOP);

        let newest = versions.update("/page");
        // It cannot say that it has heard of it: longer than its trust lasts it is waited for, three seconds in all.
        let said = eventually("a purge that holds without it", async || {
            let said = places[round % 2].purge(PURGE).await?;
            said.state.holds().then_some(said)
        })
        .await;
        assert_eq!(said.state, State::Lapsed, "{}", said.answer);
        assert!(said.answer.contains(r#""of":3"#), "{}", said.answer);
        for place in &places[..2] {
            assert_eq!(version(&place.get("/page").await), newest);
        }
        for wire in &mut asking {
            wire.send(request("GET", "/page", "")).await;
        }

        stopped.larder().signal(Signal::CONT);
        for wire in &mut asking {
            let answer = timeout(PATIENCE, wire.answer()).await.unwrap();
            assert_eq!(answer.status(), 200);
            assert!(version(&answer) >= newest, "round {round}: {}", answer.text());
        }
        for _ in 0..50 {
            assert!(version(&places[2].get("/page").await) >= newest);
        }
        // It is one of three again, without a restart.
        eventually("a purge that holds for all", async || {
            let said = places[2].purge(r#"{"tags":["none"],"wait":"shared"}"#).await?;
            (said.state == State::Applied && said.answer.contains(r#""by":3,"of":3"#)).then_some(())
        })
        .await;
        let gateway = stopped.larder();
        let lost = "larder_lower_everything_lost_total{cache=\"gateway\",cause=\"gap\"}";
        assert_eq!(gateway.metric(lost).await, 0.0, "the log had all that it had missed");
    }
}
