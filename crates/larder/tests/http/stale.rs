//! Stale answers: behind the reader's back, instead of an error, for want of patience.

use std::{
    sync::mpsc,
    task::{Context, Waker},
    thread,
    time::Duration,
};

use http::Request;
use larder::{
    Purge,
    http::{Body, Policy, Settings},
};
use larder_test_support::eventually::until;
use tower_service::Service;

use crate::support::{
    Answer, Refused, Shape, Site, answer, get, get_with, key, ok, over_each_shape, read, request,
    secs, settle,
};

fn with_windows(body: &'static str) -> http::Response<Body> {
    ok(
        &[
            ("cache-control", "max-age=10, stale-while-revalidate=20, stale-if-error=60"),
            ("etag", "\"1\""),
        ],
        body,
    )
}

fn reload() -> Request<Body> {
    get_with("/a", &[("cache-control", "no-cache")])
}

over_each_shape!(while_it_is_refreshed_a_stale_answer_goes_out_at_once);
async fn while_it_is_refreshed_a_stale_answer_goes_out_at_once(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", with_windows("old")).await;
    site.clock.advance(secs(15));
    for _ in 0..5 {
        let stale = site.get("/a").await;
        assert_eq!((stale.text(), &*stale.field("age")), ("old", "15"));
        assert_eq!(stale.said(), "Larder;hit;ttl=-5;detail=stale-while-revalidate");
        assert!(stale.field("server-timing").starts_with("cache;desc=stale;dur="));
    }
    settle().await;
    assert_eq!((site.origin.calls(), site.origin.waiting()), (2, 1), "one refresh");
    assert_eq!(site.origin.last().field("if-none-match"), "\"1\"");
    site.origin.answer(with_windows("new"));
    settle().await;
    assert_eq!(site.get("/a").await.text(), "new");
    let stats = site.store().stats();
    assert_eq!((stats.refreshes, stats.stale_served), (1, 5));
}

over_each_shape!(a_refresh_that_is_confirmed_makes_it_fresh_again);
async fn a_refresh_that_is_confirmed_makes_it_fresh_again(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", with_windows("old")).await;
    site.clock.advance(secs(15));
    site.get("/a").await;
    settle().await;
    site.origin.answer(answer(304, &[("etag", "\"1\"")], ""));
    settle().await;
    let hit = site.get("/a").await;
    assert_eq!((hit.text(), &*hit.said()), ("old", "Larder;hit;ttl=10;detail=hit"));
}

over_each_shape!(a_refresh_asks_for_the_whole_whatever_its_reader_wanted);
async fn a_refresh_asks_for_the_whole_whatever_its_reader_wanted(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", with_windows("old")).await;
    site.clock.advance(secs(15));
    let wants = [("range", "bytes=0-0"), ("if-none-match", "\"1\"")];
    assert_eq!(site.send(get_with("/a", &wants[..1])).await.text(), "o");
    settle().await;
    assert_eq!(site.origin.last().field("range"), "");
    site.origin.answer(with_windows("new"));
    settle().await;
    assert_eq!(site.get("/a").await.text(), "new");
    site.clock.advance(secs(15));
    assert_eq!(site.send(get_with("/a", &wants[1..])).await.status, 304);
    settle().await;
    assert_eq!(site.origin.calls(), 3);
}

over_each_shape!(a_head_that_finds_it_stale_refreshes_what_there_is_to_get);
async fn a_head_that_finds_it_stale_refreshes_what_there_is_to_get(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", with_windows("old")).await;
    site.clock.advance(secs(15));
    assert_eq!(site.send(request("HEAD", "/a", &[])).await.status, 200);
    settle().await;
    assert_eq!(site.origin.last().method, "GET");
    site.origin.answer(with_windows("new"));
    settle().await;
    assert_eq!(site.get("/a").await.text(), "new");
}

over_each_shape!(an_origins_own_window_ends_also_for_an_origin_that_is_gone);
async fn an_origins_own_window_ends_also_for_an_origin_that_is_gone(shape: Shape) {
    for (window, stands_in) in
        [("", true), (", stale-if-error=0", false), (", stale-if-error=60", true)]
    {
        let site = Site::new(shape);
        let control = format!("max-age=10{window}");
        site.fill("/a", ok(&[("cache-control", &control)], "old")).await;
        site.clock.advance(secs(15));
        let asked = site.ask(get("/a"));
        settle().await;
        site.origin.refuse();
        assert_eq!(asked.await.unwrap().is_ok(), stands_in, "{control}");
    }
}

over_each_shape!(after_a_refresh_that_fails_the_next_waits_a_little);
async fn after_a_refresh_that_fails_the_next_waits_a_little(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", with_windows("old")).await;
    site.clock.advance(secs(12));
    site.get("/a").await;
    settle().await;
    site.origin.refuse();
    settle().await;
    for _ in 0..3 {
        assert_eq!(site.get("/a").await.text(), "old");
        settle().await;
    }
    assert_eq!((site.origin.calls(), site.store().stats().refreshes_held_back), (2, 3));
    site.clock.advance(secs(1));
    site.get("/a").await;
    settle().await;
    assert_eq!(site.origin.calls(), 3, "a second later it is tried again");
    site.origin.answer(with_windows("new"));
    settle().await;
    assert_eq!(site.get("/a").await.text(), "new");
    // What came has ended the waiting.
    site.clock.advance(secs(12));
    site.get("/a").await;
    settle().await;
    assert_eq!(site.origin.calls(), 4);
}

over_each_shape!(a_refresh_that_fails_leaves_what_is_stored);
async fn a_refresh_that_fails_leaves_what_is_stored(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", with_windows("old")).await;
    site.clock.advance(secs(15));
    site.get("/a").await;
    settle().await;
    site.origin.refuse();
    settle().await;
    assert_eq!(site.get("/a").await.text(), "old");
    site.clock.advance(secs(1));
    site.get("/a").await;
    settle().await;
    assert_eq!(site.origin.waiting(), 1, "a later reader asks again");
}

over_each_shape!(a_purge_while_it_is_refreshed_is_not_undone);
async fn a_purge_while_it_is_refreshed_is_not_undone(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", with_windows("old")).await;
    site.clock.advance(secs(15));
    site.get("/a").await;
    settle().await;
    site.store().remove("http://example.org/a");
    site.origin.answer(answer(304, &[("etag", "\"1\"")], ""));
    settle().await;
    assert_eq!(site.answered(get("/a"), with_windows("new")).await.text(), "new");
}

over_each_shape!(a_refused_connection_is_bridged_with_what_is_stale);
async fn a_refused_connection_is_bridged_with_what_is_stale(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", with_windows("old")).await;
    site.clock.advance(secs(40));
    let reading = site.ask(get("/a"));
    settle().await;
    site.origin.refuse();
    let stale = read(reading).await;
    assert_eq!((stale.text(), &*stale.field("age")), ("old", "40"));
    assert_eq!(stale.said(), "Larder;hit;ttl=-30;detail=stale-if-error");
}

over_each_shape!(so_is_an_error_of_the_origin_but_only_in_the_window);
async fn so_is_an_error_of_the_origin_but_only_in_the_window(shape: Shape) {
    for status in [500, 502, 503, 504] {
        let site = Site::new(shape);
        site.fill("/a", with_windows("old")).await;
        site.clock.advance(secs(69));
        let stale = site.answered(get("/a"), answer(status, &[], "broken")).await;
        assert_eq!((stale.status, stale.text()), (200, "old"), "{status}");
        let said = format!("Larder;fwd=stale;fwd-status={status};ttl=-59;detail=stale-if-error");
        assert_eq!(stale.said(), said);
        site.clock.advance(secs(1));
        let error = site.answered(get("/a"), answer(status, &[], "broken")).await;
        assert_eq!((error.status, error.text()), (status, "broken"));
    }
    let site = Site::new(shape);
    site.fill("/a", with_windows("old")).await;
    site.clock.advance(secs(40));
    let gone = site.answered(get("/a"), answer(404, &[], "gone")).await;
    assert_eq!(gone.status, 404, "that is an answer, not a failure");
}

over_each_shape!(an_answer_that_must_be_revalidated_bridges_nothing);
async fn an_answer_that_must_be_revalidated_bridges_nothing(shape: Shape) {
    let site = Site::new(shape);
    let fields = [("cache-control", "max-age=10, must-revalidate, stale-if-error=60")];
    site.fill("/a", ok(&fields, "old")).await;
    site.clock.advance(secs(20));
    let reading = site.ask(get("/a"));
    settle().await;
    site.origin.refuse();
    assert!(reading.await.unwrap().is_err());
}

over_each_shape!(those_who_wait_for_a_fetch_that_fails_are_each_bridged);
async fn those_who_wait_for_a_fetch_that_fails_are_each_bridged(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", with_windows("old")).await;
    site.clock.advance(secs(40));
    let readings: Vec<_> = (0..10).map(|_| site.ask(get("/a"))).collect();
    settle().await;
    assert_eq!(site.origin.waiting(), 1);
    site.origin.answer(answer(503, &[], "busy"));
    for reading in readings {
        assert_eq!(read(reading).await.text(), "old");
    }
    assert_eq!(site.origin.calls(), 2);
}

over_each_shape!(what_was_purged_meanwhile_bridges_nothing);
async fn what_was_purged_meanwhile_bridges_nothing(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", with_windows("old")).await;
    site.clock.advance(secs(40));
    let reading = site.ask(get("/a"));
    settle().await;
    site.store().clear();
    site.origin.refuse();
    assert!(reading.await.unwrap().is_err());
}

over_each_shape!(who_fails_to_fetch_what_another_has_brought_meanwhile_is_given_that);
async fn who_fails_to_fetch_what_another_has_brought_meanwhile_is_given_that(shape: Shape) {
    for was_there in [true, false] {
        let site = Site::new(shape);
        if was_there {
            site.fill("/a", with_windows("old")).await;
            site.clock.advance(secs(40));
        }
        let readings: Vec<_> = (0..2).map(|_| site.ask(get("/a"))).collect();
        settle().await;
        let failing = site.origin.take();
        // From now on nobody waits for what these have asked for.
        site.store().soft_remove(key("/a"));
        assert_eq!(site.answered(get("/a"), with_windows("new")).await.text(), "new");
        assert!(failing.send(Err(Refused("connection refused"))).is_ok());
        for reading in readings {
            let newer = read(reading).await;
            assert_eq!((newer.text(), &*newer.said()), ("new", "Larder;hit;ttl=10;detail=hit"));
        }
    }
}

over_each_shape!(an_answer_that_is_waited_for_too_long_goes_on_behind_its_readers_backs);
async fn an_answer_that_is_waited_for_too_long_goes_on_behind_its_readers_backs(shape: Shape) {
    let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
        builder.soft_timeout(secs(1))
    });
    site.fill("/a", with_windows("old")).await;
    site.clock.advance(secs(40));
    let readings: Vec<_> = (0..3).map(|_| site.ask(get("/a"))).collect();
    for reading in readings {
        let stale = read(reading).await;
        assert_eq!(stale.text(), "old");
        assert_eq!(stale.said(), "Larder;hit;ttl=-30;detail=soft-timeout");
    }
    assert_eq!((site.origin.calls(), site.origin.waiting()), (2, 1));
    site.origin.answer(with_windows("new"));
    settle().await;
    assert_eq!(site.get("/a").await.text(), "new");
}

over_each_shape!(a_lone_readers_request_that_takes_too_long_goes_on_behind_its_back);
/// Whose answers must be validated each time go to the origin alone, and the stale copy must not be all
/// that they ever see.
async fn a_lone_readers_request_that_takes_too_long_goes_on_behind_its_back(shape: Shape) {
    let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
        builder.soft_timeout(secs(1))
    });
    let answer =
        |body| ok(&[("cache-control", "max-age=0, stale-if-error=600"), ("etag", body)], body);
    site.fill("/a", answer("\"old\"")).await;
    for (stale, next) in [("\"old\"", "\"new\""), ("\"new\"", "\"newer\"")] {
        site.clock.advance(secs(1));
        let reading = site.ask(get("/a"));
        assert_eq!(read(reading).await.text(), stale);
        assert_eq!(site.origin.waiting(), 1, "it is not given up");
        site.origin.answer(answer(next));
        settle().await;
    }
}

over_each_shape!(who_wants_the_origins_word_waits_for_it);
async fn who_wants_the_origins_word_waits_for_it(shape: Shape) {
    let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
        builder.soft_timeout(secs(1))
    });
    site.fill("/a", with_windows("old")).await;
    let reading = site.ask(reload());
    tokio::time::sleep(secs(5)).await;
    site.origin.answer(with_windows("new"));
    assert_eq!(read(reading).await.text(), "new");
}

/// What a server puts among a request's extensions. Its clones ask the cache.
struct AsksTheCache(Site);

impl Clone for AsksTheCache {
    fn clone(&self) -> Self {
        let mut asking = Box::pin(self.0.get("/b"));
        // One poll: what is stale is served at once, and a refresh begins.
        _ = asking.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        AsksTheCache(self.0.clone())
    }
}

over_each_shape!(what_a_request_carries_may_ask_the_cache_where_it_is_cloned_for_a_refresh, test);
fn what_a_request_carries_may_ask_the_cache_where_it_is_cloned_for_a_refresh(shape: Shape) {
    let (done, is_done) = mpsc::channel();
    // Who waits for a lock that it holds itself waits for ever.
    thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
            let site = Site::new(shape);
            for path in ["/a", "/b"] {
                site.fill(path, with_windows("old")).await;
            }
            site.clock.advance(secs(15));
            let mut asks = get("/a");
            asks.extensions_mut().insert(AsksTheCache(site.clone()));
            assert_eq!(site.send(asks).await.text(), "old");
            settle().await;
            done.send(site.origin.waiting()).unwrap();
        });
    });
    assert_eq!(is_done.recv_timeout(Duration::from_secs(30)), Ok(2), "both are refreshed");
}

over_each_shape!(a_refresh_that_waits_does_not_keep_the_cache_alive);
async fn a_refresh_that_waits_does_not_keep_the_cache_alive(shape: Shape) {
    let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
        builder.max_concurrent_refreshes(1)
    });
    for path in ["/a", "/b"] {
        site.fill(path, with_windows("old")).await;
    }
    site.clock.advance(secs(15));
    for path in ["/a", "/b"] {
        site.get(path).await;
    }
    settle().await;
    assert_eq!((site.origin.calls(), site.origin.waiting()), (3, 1), "the other waits");
    let origin = site.origin.clone();
    drop(site);
    origin.answer(with_windows("new"));
    settle().await;
    assert_eq!(origin.calls(), 3, "nobody wants it any more");
}

/// A miss that finds something stale when it looks once more leads a flight, which ends before the refresh.
#[test]
fn a_refresh_is_not_lost_to_the_flight_of_the_reader_who_has_asked_for_it() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let site = Site::new(Shape::S3_FIFO);
        let stale = [("cache-control", "max-age=0, stale-while-revalidate=600"), ("etag", "\"1\"")];
        site.origin.answers(move |_| Ok(ok(&stale, "body")));
        for round in 0..200 {
            let path = format!("/{round}");
            let late = site.service().call(get(&path));
            site.get(&path).await;
            until("it is stored", || site.store().get(key(&path)).is_some()).await;
            let answer = Answer::read(late.await.unwrap()).await;
            assert!(answer.said().ends_with("detail=stale-while-revalidate"), "{}", answer.said());
            until("the refresh", || site.store().stats().refreshes == round + 1).await;
        }
    });
}

over_each_shape!(what_was_purged_is_not_kept_waiting_by_a_refresh_from_before);
async fn what_was_purged_is_not_kept_waiting_by_a_refresh_from_before(shape: Shape) {
    let purges =
        [Purge::everything(), Purge::key(key("/a")), Purge::prefix(key("/")), Purge::tag("t")];
    for purge in purges {
        let site = Site::new(shape);
        let page = |text: &'static str| {
            let fields = [
                ("cache-control", "max-age=60, stale-while-revalidate=6000"),
                ("surrogate-key", "t"),
            ];
            ok(&fields, text)
        };
        site.fill("/a", page("one")).await;
        site.clock.advance(secs(61));
        assert_eq!(site.get("/a").await.text(), "one");
        settle().await;
        let doomed = site.origin.take();
        assert!(site.origin.calls() == 2, "the first, and a refresh");
        // While nothing has come between, one refresh is enough.
        assert_eq!(site.get("/a").await.text(), "one");
        settle().await;
        assert_eq!(site.origin.calls(), 2);
        site.clock.advance(secs(1));
        site.store().purge(purge.clone()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(site.get("/a").await.text(), "one", "{purge:?}");
            settle().await;
            assert_eq!(site.origin.calls(), 3, "{purge:?}");
        }
        site.origin.answer(page("two"));
        settle().await;
        assert_eq!(site.get("/a").await.text(), "two", "{purge:?}");
        // What comes too late changes nothing.
        assert!(doomed.send(Ok(page("old"))).is_ok());
        settle().await;
        let hit = site.get("/a").await;
        assert_eq!((hit.is_hit(), hit.text()), (true, "two"), "{purge:?}");
        assert_eq!(site.origin.calls(), 3);
    }
}

over_each_shape!(a_refresh_that_a_purge_has_overtaken_has_not_failed);
async fn a_refresh_that_a_purge_has_overtaken_has_not_failed(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", with_windows("one")).await;
    site.clock.advance(secs(15));
    site.get("/a").await;
    settle().await;
    let doomed = site.origin.take();
    site.store().purge(Purge::everything()).await.unwrap();
    assert!(doomed.send(Ok(with_windows("doomed"))).is_ok());
    settle().await;
    // Its next reader begins another one, however soon.
    assert_eq!(site.get("/a").await.text(), "one");
    settle().await;
    site.origin.answer(with_windows("two"));
    settle().await;
    assert_eq!(site.get("/a").await.text(), "two");
}
