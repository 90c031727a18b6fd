//! Stand-in: what any gateway has stored stands in for an origin that fails, at all of them, unless it was purged.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    fleet::{Fleet, Place},
    support::{
        eventually,
        origin::{Origin, ok},
    },
};

const FAILS: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

/// An origin that answers with these fields until it is told to fail.
async fn origin(cache_control: &'static str) -> (Origin, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&fails);
    let answer = move |_: &str| match told.load(Ordering::SeqCst) {
        true => FAILS.into(),
        false => ok(&format!("cache-control: {cache_control}\r\nsurrogate-key: page\r\n"), "one"),
    };
    (Origin::answering(answer).await, fails)
}

/// The first of them has the page, and it lies below.
async fn filled(origin: &Origin) -> Fleet {
    let fleet = Fleet::before(origin.address).await;
    fleet.places()[0].get("/page").await;
    eventually("it to be written", async || {
        let writes = fleet.gateways[0]
            .larder()
            .metric("larder_lower_writes_total{cache=\"gateway\",outcome=\"written\"}");
        (writes.await > 0.0).then_some(())
    })
    .await;
    fleet
}

async fn stands_in(place: Place) -> Option<()> {
    let answer = place.get("/page").await;
    let is_so = answer.status() == 200 && answer.head.contains("detail=stale-if-error");
    is_so.then(|| assert_eq!(answer.text(), "one"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_below_stands_in_everywhere_until_all_is_purged_and_nowhere_after_that() {
    let (origin, fails) = origin("max-age=1, stale-if-error=600").await;
    let fleet = filled(&origin).await;
    fails.store(true, Ordering::SeqCst);
    let [first, second, third] = fleet.places()[..] else { unreachable!() };
    eventually("its time to be over", async || stands_in(first).await).await;
    assert!(stands_in(second).await.is_some(), "this one has never fetched it");
    let purge = r#"{"all":true,"mode":"hard","wait":"shared"}"#;
    assert!(second.purge(purge).await.unwrap().state.holds());
    for place in [first, second, third] {
        assert_eq!(place.get("/page").await.status(), 500);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_marked_stale_by_tag_still_stands_in_at_who_has_never_fetched_it() {
    let (origin, fails) = origin("max-age=600, stale-if-error=600").await;
    let fleet = filled(&origin).await;
    fails.store(true, Ordering::SeqCst);
    let [first, second, third] = fleet.places()[..] else { unreachable!() };
    let purge = r#"{"tags":["page"],"mode":"soft","wait":"shared"}"#;
    assert!(first.purge(purge).await.unwrap().state.holds());
    for place in [third, second, first] {
        assert!(stands_in(place).await.is_some());
    }
}
