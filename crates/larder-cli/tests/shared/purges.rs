//! Purges: what one gateway is told to forget, all have forgotten when it says so.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    fleet::{Fleet, State},
    instances::instances,
    support::eventually,
    versions::{Versions, version},
};

const PURGES: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_names_the_place_in_the_log_up_to_which_all_have_read() {
    let versions = Versions::default();
    let origin = versions.origin().await;
    let fleet = Fleet::before(origin.address).await;
    let mut before = None;
    for nth in 0..3 {
        let place = fleet.places()[nth];
        let said = eventually("a purge that all have done", async || {
            let said = place.purge(r#"{"tags":["page"],"wait":"shared"}"#).await?;
            (said.state == State::Applied).then_some(said)
        });
        let said: Value = serde_json::from_str(&said.await.answer).unwrap();
        let position = &said["receipts"][0]["tiers"][1]["position"];
        let generation = position["generation"].as_str().unwrap().to_owned();
        let number = position["number"].as_u64().unwrap();
        if let Some((same, lower)) = before.replace((generation.clone(), number)) {
            assert!(generation == same && number > lower, "{position}");
        }
        for place in fleet.places() {
            let instances = instances(place).await.unwrap();
            let cursors: Vec<_> =
                instances.iter().map(|it| it["cursor"].as_u64().unwrap()).collect();
            assert_eq!(cursors.len(), 3);
            assert!(cursors.iter().all(|cursor| *cursor >= number), "{cursors:?} {number}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_by_tag_holds_for_three_gateways_in_milliseconds_and_none_serves_what_is_older() {
    let versions = Versions::default();
    let origin = versions.origin().await;
    let fleet = Fleet::before(origin.address).await;
    let (places, mut took) = (fleet.places(), Vec::new());
    for turn in 0..PURGES {
        for place in &places {
            place.get("/page").await;
        }
        let fetched = versions.fetches("/page");
        let newest = versions.update("/page");
        let mode = if turn % 2 == 0 { "hard" } else { "soft" };
        let body = format!(r#"{{"tags":["page"],"mode":"{mode}","wait":"shared"}}"#);
        let began = Instant::now();
        let said = places[turn % 3].purge(&body).await.unwrap();
        took.push(began.elapsed());
        assert_eq!(said.state, State::Applied, "{}", said.answer);
        assert!(said.answer.contains(r#""by":3,"of":3"#), "{}", said.answer);
        for place in &places {
            assert_eq!(version(&place.get("/page").await), newest);
        }
        assert_eq!(versions.fetches("/page") - fetched, 1, "one fetches for all");
    }
    took.sort();
    let (median, most) = (took[PURGES / 2], took[PURGES - 1]);
    println!("a purge holds for three gateways after {median:?} at the median, {most:?} at most");
    assert!(median < Duration::from_millis(50), "{took:?}");
}
