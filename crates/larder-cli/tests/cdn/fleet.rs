//! Fleet: gateways that share a tier tell a CDN together, whichever of them is killed or paused meanwhile.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    crash::Told,
    site::{Site, state},
    support::{
        Redis, eventually,
        larder::Larder,
        origin::{Origin, ok},
    },
};

const REQUESTS: usize = 400;
const TAGS: usize = 5;
/// So many of them before anything goes wrong.
const WELL: usize = REQUESTS / 4;
/// Longer than a leader's right lasts, and than a purge waits for a gateway that says nothing.
const PAUSE: Duration = Duration::from_secs(8);
const LONG: Duration = Duration::from_secs(90);

fn tables(cdn: SocketAddr, redis: SocketAddr) -> String {
    format!(
        "[shared]\nurl = \"redis://{redis}\"\nmax_incoherence = \"1s\"\n\
         [[cdn]]\n[cdn.larder]\napi = \"http://{cdn}\"\n\
         [outbox]\njournal = \"cdn\"\nsettle = \"0s\"\nold_answers = \"1s\"\n"
    )
}

/// Which of these works on the list.
async fn leader(sites: &[Option<Site>]) -> usize {
    let began = Instant::now();
    loop {
        for (nth, site) in sites.iter().enumerate() {
            if let Some(site) = site
                && site.larder.metric("larder_cdn_leading").await > 0.0
            {
                return nth;
            }
        }
        assert!(began.elapsed() < LONG, "nobody leads");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Asks one gateway to purge the tags of this number; what the receipt is called.
async fn purge(site: &Site, request: usize) -> String {
    let tags: Vec<_> = (0..TAGS).map(|tag| format!("t{:05}", request * TAGS + tag)).collect();
    let story = site.post(&json!({ "tags": tags, "mode": "hard" })).await;
    story["id"].as_str().unwrap().to_owned()
}

async fn ends(site: &Site, id: &str) -> Value {
    let began = Instant::now();
    loop {
        let story = site.story(id).await;
        if state(&story) == "confirmed" {
            return story;
        }
        assert!(began.elapsed() < LONG, "{story}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cdn_hears_of_each_purge_of_a_fleet_whose_leaders_are_killed_and_paused() {
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", "page")).await;
    let told = Told::default();
    told.is_up.store(true, SeqCst);
    let (cdn, redis) = (told.serve().await, Redis::start().await);
    let tables = tables(cdn.address, redis.address());
    let mut sites = Vec::new();
    for _ in 0..3 {
        sites.push(Some(Site::before(origin.address, &tables).await));
    }
    let mut asked: Vec<(usize, String)> = Vec::new();
    let (mut killed, mut paused, mut paused_at) = (None, None, None);
    for request in 0..REQUESTS {
        if request == WELL {
            // What comes before has been told when it goes wrong. Just after the start that takes seconds: nobody knows yet
            // that nobody else serves.
            eventually("the first to have arrived", async || {
                let tags = told.tags.lock().unwrap();
                let different: BTreeSet<&String> = tags.iter().collect();
                (different.len() == WELL * TAGS).then_some(())
            })
            .await;
            let first = leader(&sites).await;
            let Site { larder, folder } = sites[first].take().unwrap();
            larder.signal(Signal::KILL);
            larder.exit().await;
            killed = Some((first, folder));
        }
        if request == REQUESTS / 2 {
            let second = leader(&sites).await;
            let site = sites[second].take().unwrap();
            site.larder.signal(Signal::STOP);
            paused = Some((second, site));
            paused_at = Some(Instant::now());
        }
        let up: Vec<usize> = (0..3).filter(|nth| sites[*nth].is_some()).collect();
        let nth = up[request % up.len()];
        let id = purge(sites[nth].as_ref().unwrap(), request).await;
        asked.push((nth, id));
    }
    let third = leader(&sites).await;
    sleep(PAUSE.saturating_sub(paused_at.unwrap().elapsed())).await;
    let (second, site) = paused.unwrap();
    assert_ne!(second, third, "another has taken over");
    site.larder.signal(Signal::CONT);
    sites[second] = Some(site);
    let (first, folder) = killed.unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    sites[first] = Some(Site { larder, folder });
    // Of the one that was killed nobody knows receipts that were over.
    for (nth, id) in asked.iter().filter(|(nth, _)| *nth != first) {
        let story = ends(sites[*nth].as_ref().unwrap(), id).await;
        assert_eq!(story["purges"], TAGS, "{story}");
    }
    eventually("all to have arrived", async || {
        let tags = told.tags.lock().unwrap();
        let different: BTreeSet<&String> = tags.iter().collect();
        (different.len() == REQUESTS * TAGS).then_some(())
    })
    .await;
    // Of what one gateway was asked for after the other, the CDN has heard in that order, while all were well. (Later some
    // had to be told before the gateway that was silent could have them, out of turn, and once more in their turn.)
    let tags = told.tags.lock().unwrap().clone();
    let mut seen = BTreeSet::new();
    let first_time: Vec<&String> = tags.iter().filter(|tag| seen.insert(*tag)).collect();
    for nth in 0..3 {
        let of_one = first_time.iter().filter(|tag| {
            let request = tag[1..].parse::<usize>().unwrap() / TAGS;
            request < WELL && asked[request].0 == nth
        });
        assert!(of_one.is_sorted(), "{nth}");
    }
    let takeovers =
        sites[third].as_ref().unwrap().larder.metric("larder_cdn_takeovers_total").await;
    assert!(takeovers >= 1.0, "{takeovers}");
}

/// What becomes of purges that a CDN does not have when the server is killed, and how often everything was purged for it.
async fn purged_over_a_server_that_is_killed(mut redis: Redis) -> f64 {
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", "page")).await;
    let told = Told::default();
    let cdn = told.serve().await;
    let tables = tables(cdn.address, redis.address());
    let one = Site::before(origin.address, &tables).await;
    let other = Site::before(origin.address, &tables).await;
    let mut ids = Vec::new();
    for request in 0..20 {
        let site = if request % 2 == 0 { &one } else { &other };
        ids.push((request % 2, purge(site, request).await));
    }
    // The CDN does not answer, so that all of them are still on the list.
    sleep(Duration::from_secs(3)).await;
    redis.kill().await;
    redis.start_again().await;
    told.is_up.store(true, SeqCst);
    for (nth, id) in &ids {
        ends(if *nth == 0 { &one } else { &other }, id).await;
    }
    let tags = told.tags.lock().unwrap().clone();
    let different: BTreeSet<String> = tags.into_iter().collect();
    assert!((0..100).all(|tag| different.contains(&format!("t{tag:05}"))), "{different:?}");
    let cuts = "larder_cdn_list_cuts_total";
    one.larder.metric(cuts).await + other.larder.metric(cuts).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_the_server_has_lost_is_made_again_and_everything_is_purged() {
    assert!(purged_over_a_server_that_is_killed(Redis::start().await).await >= 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_server_that_comes_back_with_its_list_the_work_goes_on() {
    let keeps = ["--appendonly", "yes", "--appendfsync", "always"];
    let redis = Redis::start_with(&keeps).await;
    assert_eq!(purged_over_a_server_that_is_killed(redis).await, 0.0);
}
