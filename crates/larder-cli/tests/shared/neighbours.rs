//! Neighbours: what a purge names, it purges at all gateways, and nothing beside it.

use larder_test_support::redis::Redis;

use crate::{
    fleet::{Fleet, Place},
    support::{eventually, larder::Larder},
    versions::{Versions, version},
};

async fn purged(place: Place, purge: &str) {
    eventually("a purge that holds", async || {
        place.purge(purge).await?.state.holds().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_is_purged_and_none_whose_name_contains_it_or_lies_in_it() {
    let versions = Versions::default();
    let origin = versions.origin().await;
    let fleet = Fleet::before(origin.address).await;
    let paths = ["/items", "/items/1", "/items/1/2", "/item", "/ITEMS/1", "/.*", "/items/["];
    let places = fleet.places();
    for (turn, named) in paths.iter().enumerate() {
        let before = paths.map(|path| {
            let fetches = versions.fetches(path);
            (path, fetches)
        });
        for place in &places {
            for path in paths {
                place.get(path).await;
            }
        }
        let fetched: Vec<_> = paths.iter().map(|path| versions.fetches(path)).collect();
        // The first time, or because it was purged in the turn before.
        assert!(turn > 0 || before.iter().all(|(_, fetches)| *fetches == 0));
        let newest = versions.update(named);
        let tag = named.trim_start_matches('/');
        let purge = format!(r#"{{"tags":["{tag}"],"mode":"hard","wait":"shared"}}"#);
        purged(places[turn % 3], &purge).await;
        for place in &places {
            assert_eq!(version(&place.get(named).await), newest, "{named}");
            for path in paths {
                place.get(path).await;
            }
        }
        for (path, fetched) in paths.iter().zip(fetched) {
            let more = versions.fetches(path) - fetched;
            assert_eq!(more, usize::from(path == named), "{path} after a purge of {named}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_space_that_is_purged_as_a_whole_leaves_others_of_its_server_alone() {
    let versions = Versions::default();
    let origin = versions.origin().await;
    let server = Redis::start().await;
    let url = server.url();
    let mut larders = Vec::new();
    // One name is the beginning of the other.
    for namespace in ["shop", "shop", "shop2", "shop2"] {
        let flags = ["--shared", &url, "--shared-namespace", namespace, "--max-incoherence", "1s"];
        larders.push(Larder::with(origin.address, &flags).await);
    }
    let place = |larder: &Larder| Place { address: larder.address, admin: larder.admin() };
    let places: Vec<_> = larders.iter().map(place).collect();
    // Each pair knows its server.
    for place in &places {
        purged(*place, r#"{"tags":["none"],"wait":"shared"}"#).await;
    }
    for place in &places {
        assert_eq!(version(&place.get("/one").await), 0);
    }
    let newest = versions.update("/one");
    purged(places[0], r#"{"all":true,"mode":"hard","wait":"shared"}"#).await;
    let seen = async |place: Place| version(&place.get("/one").await);
    assert_eq!((seen(places[0]).await, seen(places[1]).await), (newest, newest));
    assert_eq!((seen(places[2]).await, seen(places[3]).await), (0, 0), "not theirs");
}
