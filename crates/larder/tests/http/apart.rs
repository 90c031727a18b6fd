//! Apart: of a key whose answers are for one reader each, processes that share a tier tell each other.

use larder::{
    Purge,
    http::{Body, Policy},
    lower::{self, Call},
};

use crate::{
    below::{Cluster, purged},
    support::{Reading, Site, answer, fresh, get, get_with, key, ok, read, rounds, secs, settle},
};

/// Several readers at each of these.
fn crowd(sites: &[Site]) -> Vec<Reading> {
    let ask = |site: &Site| (0..10).map(|_| site.ask(get("/a"))).collect::<Vec<_>>();
    sites.iter().flat_map(ask).collect()
}

async fn answered(readings: Vec<Reading>) {
    for reading in readings {
        assert_eq!(read(reading).await.text(), "body");
    }
}

fn private() -> http::Response<Body> {
    ok(&[("cache-control", "private, max-age=60")], "body")
}

#[tokio::test(start_paused = true)]
async fn readers_at_several_processes_wait_once_where_that_turns_out_to_be_in_vain() {
    let nothing: &[(&str, &str)] = &[];
    let validated = [("etag", "\"1\"")];
    let no_cache = [("cache-control", "no-cache"), ("etag", "\"1\"")];
    let stale_at_once = [("cache-control", "max-age=0"), ("etag", "\"1\"")];
    let worthless = [("cache-control", "max-age=0")];
    let private = [("cache-control", "private, max-age=60")];
    let cookie = [("cache-control", "max-age=60"), ("set-cookie", "a=b")];
    for fields in [nothing, &validated, &no_cache, &stale_at_once, &worthless, &private, &cookie] {
        let cluster = Cluster::new();
        let site = || cluster.site_with(Policy::guarded(), lower::Settings::default());
        let sites = [site(), site(), site()];
        let readings = crowd(&sites);
        // One asks, of all; what it is told is told to the others, and all ask at once.
        let first = rounds(&cluster.origin, &readings, || ok(fields, "body")).await;
        assert_eq!((first, cluster.origin.calls()), (2, 30), "{fields:?}");
        answered(readings).await;
        // One that starts now has not seen any of that.
        let readings = crowd(&[&sites[..], &[site()]].concat());
        let later = rounds(&cluster.origin, &readings, || ok(fields, "body")).await;
        assert_eq!((later, cluster.origin.calls()), (1, 70), "{fields:?}");
        answered(readings).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_who_is_told_that_answers_are_for_one_reader_each_sends_his_own_conditions() {
    let cluster = Cluster::new();
    cluster.site().answered(get("/a"), private()).await;
    let asks = || get_with("/a", &[("if-none-match", "\"own\"")]);
    let not_modified = cluster.site().answered(asks(), answer(304, &[], "")).await;
    assert_eq!(cluster.origin.last().field("if-none-match"), "\"own\"");
    assert_eq!(not_modified.status, 304);
}

#[tokio::test(start_paused = true)]
async fn that_answers_are_for_one_reader_each_is_known_for_a_while_and_purged_like_others() {
    let purge = |purge: Purge| Some(purge.hard());
    for (purge, waits, asked) in [
        (None, 100, 10),
        (None, 121, 1),
        (purge(Purge::key(key("/a"))), 0, 1),
        (purge(Purge::prefix(key("/"))), 0, 1),
        (purge(Purge::everything()), 0, 1),
        (purge(Purge::key(key("/b"))), 0, 10),
    ] {
        let cluster = Cluster::new();
        let site = cluster.site();
        site.answered(get("/a"), private()).await;
        if let Some(purge) = purge {
            purged(&site, purge).await;
        }
        cluster.clock.advance(secs(waits));
        let readings = crowd(&[cluster.site()]);
        settle().await;
        assert_eq!(cluster.origin.waiting(), asked, "after {waits} s");
        drop(readings);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_found_last_counts() {
    // What was for one reader is for all now, and stale meanwhile: one asks for all.
    let cluster = Cluster::new();
    let site = cluster.site();
    site.answered(get("/a"), private()).await;
    cluster.clock.advance(secs(1));
    let fields = [("cache-control", "max-age=10"), ("etag", "\"1\"")];
    site.answered(get("/a"), ok(&fields, "body")).await;
    // It went alone, and has written nothing.
    assert_eq!(cluster.tier.records(), 1);
    let other = cluster.site();
    other.answered(get_with("/a", &[("cache-control", "no-cache")]), ok(&fields, "body")).await;
    assert_eq!(cluster.tier.records(), 2, "beside what was known before");
    assert!(cluster.site().get("/a").await.is_hit());
    cluster.clock.advance(secs(20));
    let sites = [cluster.site(), cluster.site()];
    let readings = crowd(&sites);
    settle().await;
    assert_eq!(cluster.origin.waiting(), 1);
    cluster.origin.answer(ok(&fields, "body"));
    answered(readings).await;
    assert_eq!(cluster.origin.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn that_personal_answers_are_for_one_reader_each_says_nothing_of_the_others() {
    let cluster = Cluster::new();
    let site = || cluster.site_with(Policy::guarded(), lower::Settings::default());
    let one = site();
    let asks = get_with("/a", &[("cookie", "session=1")]);
    one.answered(asks, private()).await;
    let sites = [one, site()];
    let readings = crowd(&sites);
    settle().await;
    assert_eq!(cluster.origin.waiting(), 1);
    cluster.origin.answer(fresh("body"));
    answered(readings).await;
}

#[tokio::test(start_paused = true)]
async fn each_process_says_it_once_and_leaves_the_responses_of_the_key_alone() {
    let cluster = Cluster::new();
    let policy = Policy::standard().max_variants(1);
    let site = cluster.site_with(policy.clone(), lower::Settings::default());
    site.answered(get("/a"), fresh("body")).await;
    for _ in 0..5 {
        let reload = get_with("/a", &[("cache-control", "no-cache")]);
        site.answered(reload, private()).await;
    }
    assert_eq!((cluster.calls(Call::Commit), cluster.tier.records()), (2, 2));
    let other = cluster.site_with(policy, lower::Settings::default());
    assert!(other.get("/a").await.is_hit());
    assert_eq!(other.store().stats().lower.unreadable, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_personal_answers_and_of_the_others_leaves_the_responses_of_the_key_alone()
{
    let cluster = Cluster::new();
    let policy = Policy::guarded().max_variants(1);
    let site = || cluster.site_with(policy.clone(), lower::Settings::default());
    let german = ("accept-language", "de");
    let fields = [("cache-control", "max-age=60"), ("vary", "accept-language")];
    site().answered(get_with("/a", &[german]), ok(&fields, "body")).await;
    for fields in [&[("accept-language", "fr")][..], &[("cookie", "session=1")]] {
        site().answered(get_with("/a", fields), private()).await;
    }
    assert_eq!(cluster.tier.records(), 3);
    let other = site();
    assert!(read(other.ask(get_with("/a", &[german]))).await.is_hit());
}
