//! Flights: many readers of one cold key, one request to the origin, and nobody harmed by another.

use std::time::Duration;

use http::Response;
use larder::http::{Body, NoAnswer, Policy, Settings};

use crate::support::{
    Answer, Refused, Shape, Site, answer, chunk, drip, fresh, get, get_with, ok, over_each_shape,
    read, request, secs, settle, without_length,
};

over_each_shape!(a_thousand_readers_of_a_cold_key_cause_one_request_and_each_gets_it_whole);
async fn a_thousand_readers_of_a_cold_key_cause_one_request_and_each_gets_it_whole(shape: Shape) {
    let site = Site::new(shape.holding(100_000));
    let body: String = (0..100_000).map(|place| char::from(b'a' + (place % 23) as u8)).collect();
    let readings: Vec<_> = (0..1000).map(|_| site.ask(get("/a"))).collect();
    settle().await;
    assert_eq!(site.origin.waiting(), 1);
    let (drip, arriving) = drip();
    site.origin.answer(without_length(200, &[("cache-control", "max-age=60")], arriving));
    for piece in body.as_bytes().chunks(1000) {
        drip.send(piece.to_vec());
    }
    drop(drip);
    let mut collapsed = 0;
    for reading in readings {
        let answer = read(reading).await;
        assert!(answer.text() == body);
        collapsed += usize::from(answer.said().contains(";collapsed;"));
    }
    assert_eq!((site.origin.calls(), collapsed), (1, 999));
    assert!(site.get("/a").await.text() == body);
    let stats = site.store().stats();
    assert_eq!((stats.misses, stats.fetches, stats.collapsed), (1000, 1, 999));
}

over_each_shape!(what_arrives_reaches_all_at_once_and_not_after_the_end);
async fn what_arrives_reaches_all_at_once_and_not_after_the_end(shape: Shape) {
    let site = Site::new(shape);
    let readings: Vec<_> = (0..20).map(|_| site.ask(get("/a"))).collect();
    settle().await;
    let (drip, body) = drip();
    site.origin.answer(without_length(200, &[("cache-control", "max-age=60")], body));
    let mut answers = Vec::new();
    for reading in readings {
        answers.push(reading.await.unwrap().unwrap());
    }
    // Somebody who comes when it is half-way there begins at the beginning.
    for piece in ["first", "second"] {
        drip.send(piece);
        for answer in &mut answers {
            assert_eq!(chunk(answer).await.unwrap().unwrap(), piece);
        }
    }
    let mut late = site.ask(get("/a")).await.unwrap().unwrap();
    let mut begun = Vec::new();
    while begun.len() < "firstsecond".len() {
        begun.extend(chunk(&mut late).await.unwrap().unwrap());
    }
    assert_eq!(begun, b"firstsecond");
    drop(drip);
    for answer in &mut answers {
        assert!(chunk(answer).await.is_none());
    }
    assert_eq!(site.origin.calls(), 1);
}

over_each_shape!(a_reader_that_leaves_disturbs_nobody_whoever_it_is);
async fn a_reader_that_leaves_disturbs_nobody_whoever_it_is(shape: Shape) {
    for leaver in [0, 1] {
        for has_answer in [false, true] {
            let site = Site::new(shape);
            let mut readings: Vec<_> = (0..3).map(|_| site.ask(get("/a"))).collect();
            settle().await;
            let leaving = readings.remove(leaver);
            let (drip, body) = drip();
            if !has_answer {
                leaving.abort();
                settle().await;
                site.origin.answer(without_length(200, &[("cache-control", "max-age=60")], body));
                drip.send("bo");
            } else {
                site.origin.answer(without_length(200, &[("cache-control", "max-age=60")], body));
                drip.send("bo");
                settle().await;
                let mut answer = leaving.await.unwrap().unwrap();
                assert_eq!(chunk(&mut answer).await.unwrap().unwrap(), "bo");
                drop(answer);
            }
            settle().await;
            drip.send("dy");
            drop(drip);
            for reading in readings {
                assert_eq!(read(reading).await.text(), "body");
            }
            settle().await;
            assert!(site.get("/a").await.is_hit());
            assert_eq!(site.origin.calls(), 1);
        }
    }
}

over_each_shape!(an_answer_whose_readers_have_all_left_is_stored_all_the_same);
async fn an_answer_whose_readers_have_all_left_is_stored_all_the_same(shape: Shape) {
    let site = Site::new(shape);
    let reading = site.ask(get("/a"));
    settle().await;
    let (drip, body) = drip();
    site.origin.answer(without_length(200, &[("cache-control", "max-age=60")], body));
    drop(reading.await.unwrap().unwrap());
    settle().await;
    drip.send("body");
    drop(drip);
    settle().await;
    assert!(site.get("/a").await.is_hit());
}

over_each_shape!(a_request_that_goes_alone_is_given_up_with_its_reader);
async fn a_request_that_goes_alone_is_given_up_with_its_reader(shape: Shape) {
    let site = Site::new(shape);
    let reading = site.ask(get_with("/a", &[("if-match", "\"1\"")]));
    settle().await;
    assert_eq!(site.origin.waiting(), 1);
    reading.abort();
    settle().await;
    assert_eq!(site.origin.waiting(), 0);
}

over_each_shape!(what_comes_for_a_request_that_went_alone_is_stored_though_its_reader_leaves);
async fn what_comes_for_a_request_that_went_alone_is_stored_though_its_reader_leaves(shape: Shape) {
    let site = Site::new(shape);
    site.answered(get("/a"), personal(0)).await;
    let reading = site.ask(get("/a"));
    settle().await;
    let (drip, body) = drip();
    site.origin.answer(without_length(200, &[("cache-control", "max-age=60")], body));
    drip.send("bo");
    let mut answer = reading.await.unwrap().unwrap();
    assert_eq!(chunk(&mut answer).await.unwrap().unwrap(), "bo");
    drop(answer);
    settle().await;
    drip.send("dy");
    drop(drip);
    settle().await;
    let stored = site.get("/a").await;
    assert!(stored.is_hit() && stored.text() == "body");
}

over_each_shape!(who_shuts_down_waits_for_a_request_that_went_alone);
async fn who_shuts_down_waits_for_a_request_that_went_alone(shape: Shape) {
    let site = Site::new(shape);
    site.answered(get("/a"), personal(0)).await;
    let reading = site.ask(get("/a"));
    settle().await;
    let store = site.store().clone();
    let stopping = tokio::spawn(async move { store.shut_down(secs(10)).await });
    settle().await;
    assert!(!stopping.is_finished());
    let (drip, body) = drip();
    site.origin.answer(without_length(200, &[("cache-control", "max-age=60")], body));
    settle().await;
    drip.send("body");
    drop(drip);
    assert_eq!(read(reading).await.text(), "body");
    assert!(stopping.await.unwrap());
}

over_each_shape!(a_request_that_went_alone_is_given_up_when_the_time_to_shut_down_is_over);
async fn a_request_that_went_alone_is_given_up_when_the_time_to_shut_down_is_over(shape: Shape) {
    let site = Site::new(shape);
    site.answered(get("/a"), personal(0)).await;
    let reading = site.ask(get("/a"));
    settle().await;
    assert!(!site.store().shut_down(secs(1)).await);
    let error = reading.await.unwrap().unwrap_err();
    assert!(matches!(error, NoAnswer::ShutDown));
}

over_each_shape!(the_origin_hears_of_no_other_host_than_the_key_names);
async fn the_origin_hears_of_no_other_host_than_the_key_names(shape: Shape) {
    let methods = ["GET", "QUERY", "POST"];
    for host in [&["evil.example"][..], &["example.org", "evil.example"], &["Example.org"]] {
        let site = Site::new(shape);
        site.origin.answers(|seen| {
            Ok(fresh(seen.headers.get_all("host").iter().count().to_string() + seen.field("host")))
        });
        let fields: Vec<_> = host.iter().map(|host| ("host", *host)).collect();
        for method in methods {
            let asked = request(method, "/a", &fields);
            assert_eq!(site.send(asked).await.text(), "1example.org", "{method} {host:?}");
        }
    }
}

/// Answers that are for one reader each.
fn personal(number: usize) -> Response<Body> {
    match number % 3 {
        0 => ok(&[("cache-control", "private, max-age=60")], number.to_string()),
        1 => ok(&[("cache-control", "no-store")], number.to_string()),
        _ => ok(&[("cache-control", "max-age=60"), ("set-cookie", "id=1")], number.to_string()),
    }
}

over_each_shape!(what_is_for_one_reader_never_reaches_another_and_nobody_queues_for_it);
async fn what_is_for_one_reader_never_reaches_another_and_nobody_queues_for_it(shape: Shape) {
    for kind in 0..3 {
        let site = Site::guarded(shape);
        let readings: Vec<_> = (0..50).map(|_| site.ask(get("/a"))).collect();
        settle().await;
        assert_eq!(site.origin.waiting(), 1);
        site.origin.answer(personal(kind));
        settle().await;
        assert_eq!(site.origin.waiting(), 49, "the others went on their own, all at once");
        for number in 1..50 {
            site.origin.answer(personal(kind + 3 * number));
        }
        let mut bodies = Vec::new();
        for reading in readings {
            let answer = read(reading).await;
            assert!(!answer.said().contains("stored") && !answer.said().contains("collapsed"));
            bodies.push(answer.text().parse::<usize>().unwrap());
        }
        bodies.sort_unstable();
        assert_eq!(bodies, (0..50).map(|number| kind + 3 * number).collect::<Vec<_>>());
        assert_eq!(site.store().stats().entries, 0);

        // And that is remembered for a while.
        let later: Vec<_> = (0..5).map(|_| site.ask(get("/a"))).collect();
        settle().await;
        assert_eq!(site.origin.waiting(), 5);
        site.clock.advance(secs(120));
        let even_later: Vec<_> = (0..5).map(|_| site.ask(get("/a"))).collect();
        settle().await;
        assert_eq!(site.origin.waiting(), 6, "but not for ever");
        later.iter().chain(&even_later).for_each(|reading| reading.abort());
    }
}

over_each_shape!(an_answer_for_all_ends_the_memory_that_there_was_none);
async fn an_answer_for_all_ends_the_memory_that_there_was_none(shape: Shape) {
    let site = Site::new(shape);
    site.answered(get("/a"), personal(0)).await;
    site.answered(get("/a"), fresh("for all")).await;
    assert!(site.get("/a").await.is_hit());
}

over_each_shape!(anonymous_readers_do_not_wait_for_a_personal_request);
async fn anonymous_readers_do_not_wait_for_a_personal_request(shape: Shape) {
    let site = Site::guarded(shape);
    let personal_reading = site.ask(get_with("/a", &[("cookie", "id=1")]));
    settle().await;
    let personal_call = site.origin.take();
    let readings: Vec<_> = (0..20).map(|_| site.ask(get("/a"))).collect();
    settle().await;
    assert_eq!(site.origin.waiting(), 1, "they share one of their own");
    site.origin.answer(fresh("for all"));
    for reading in readings {
        assert_eq!(read(reading).await.text(), "for all");
    }
    assert!(personal_call.send(Ok(fresh("for one"))).is_ok());
    assert_eq!(Answer::read(personal_reading.await.unwrap().unwrap()).await.text(), "for one");
    // What is remembered of personal requests says nothing of the others.
    site.store().clear();
    let readings: Vec<_> = (0..20).map(|_| site.ask(get("/a"))).collect();
    settle().await;
    assert_eq!(site.origin.waiting(), 1);
    site.origin.answer(fresh("for all"));
    for reading in readings {
        assert_eq!(read(reading).await.text(), "for all");
    }
}

over_each_shape!(an_origin_that_fails_is_an_error_for_those_who_wait_and_not_for_later_ones);
async fn an_origin_that_fails_is_an_error_for_those_who_wait_and_not_for_later_ones(shape: Shape) {
    let site = Site::new(shape);
    let readings: Vec<_> = (0..20).map(|_| site.ask(get("/a"))).collect();
    settle().await;
    site.origin.refuse();
    for reading in readings {
        let error: NoAnswer = reading.await.unwrap().unwrap_err();
        assert_eq!(error.origin::<Refused>().unwrap().0, "connection refused");
    }
    assert_eq!(site.origin.calls(), 1);
    assert_eq!(site.answered(get("/a"), fresh("body")).await.text(), "body");
}

over_each_shape!(an_origin_that_panics_is_an_error_for_those_who_wait_and_not_for_later_ones);
async fn an_origin_that_panics_is_an_error_for_those_who_wait_and_not_for_later_ones(shape: Shape) {
    let site = Site::new(shape);
    site.origin.answers(|_| panic!("it is broken"));
    let readings: Vec<_> = (0..5).map(|_| site.ask(get("/a"))).collect();
    for reading in readings {
        assert!(reading.await.unwrap().is_err());
    }
    assert_eq!(site.origin.calls(), 1, "it is told to all, and not tried for each");
    // One that goes alone waits for no task, and one that may change something has its own.
    let alone = site.ask(get_with("/a", &[("if-match", "\"1\"")]));
    assert!(alone.await.unwrap().is_err());
    let posting = site.ask(crate::support::request("POST", "/a", &[]));
    assert!(posting.await.unwrap().is_err());
    site.origin.answers(|_| Ok(fresh("body")));
    assert_eq!(site.get("/a").await.text(), "body");
}

over_each_shape!(more_keys_than_may_be_fetched_are_refused);
async fn more_keys_than_may_be_fetched_are_refused(shape: Shape) {
    let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
        builder.max_concurrent_fetches(1)
    });
    // One has the turn; of the 1024 places in line, a host may have no more than 960.
    let readings: Vec<_> = (0..961).map(|number| site.ask(get(&format!("/{number}")))).collect();
    settle().await;
    assert!(readings.iter().all(|reading| !reading.is_finished()));
    assert_eq!(site.origin.waiting(), 1, "one at a time");
    let error = site.ask(get("/one-more")).await.unwrap().unwrap_err();
    assert!(matches!(error, NoAnswer::TooManyFetches));
    readings.iter().for_each(|reading| reading.abort());
}

over_each_shape!(purges_make_no_room_for_more_fetches_than_may_wait);
async fn purges_make_no_room_for_more_fetches_than_may_wait(shape: Shape) {
    let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
        builder.max_concurrent_fetches(1)
    });
    let mut readings = Vec::new();
    for _ in 0..1024 {
        readings.push(site.ask(get("/a")));
        settle().await;
        site.store().remove(crate::support::key("/a"));
    }
    let one_more = site.ask(get("/a"));
    settle().await;
    assert!(one_more.is_finished(), "it is one too many");
    let error = one_more.await.unwrap().unwrap_err();
    assert!(matches!(error, NoAnswer::TooManyFetches));
    site.origin.answer(fresh("body"));
    settle().await;
    let waiting = site.ask(get("/a"));
    settle().await;
    assert!(!waiting.is_finished(), "a fetch has ended, so another may wait");
}

over_each_shape!(after_it_is_shut_down_what_is_stored_is_still_served);
async fn after_it_is_shut_down_what_is_stored_is_still_served(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", fresh("body")).await;
    let waiting = site.ask(get("/b"));
    settle().await;
    assert!(!site.store().shut_down(Duration::from_secs(1)).await);
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, NoAnswer::ShutDown), "{error}");
    assert!(site.ask(get("/c")).await.unwrap().is_err());
    assert!(site.get("/a").await.is_hit());
}

over_each_shape!(while_it_is_shut_down_what_runs_ends_and_nothing_else_is_begun);
async fn while_it_is_shut_down_what_runs_ends_and_nothing_else_is_begun(shape: Shape) {
    let site = Site::new(shape);
    let bridging = [("cache-control", "max-age=60, stale-if-error=60")];
    site.fill("/stale", ok(&bridging, "stale")).await;
    site.clock.advance(secs(59));
    site.fill("/a", fresh("body")).await;
    site.clock.advance(secs(1));
    let running = site.ask(get("/b"));
    settle().await;
    let store = site.store().clone();
    let stopping = tokio::spawn(async move { store.shut_down(secs(10)).await });
    settle().await;
    let joining = site.ask(get("/b"));
    for refused in [get("/c"), request("POST", "/c", &[]), get_with("/c", &[("cookie", "a=b")])] {
        let error = site.ask(refused).await.unwrap().unwrap_err();
        assert!(matches!(error, NoAnswer::ShutDown), "{error}");
    }
    assert!(site.get("/a").await.is_hit());
    assert_eq!(site.get("/stale").await.text(), "stale");
    assert_eq!(site.origin.waiting(), 1);
    site.origin.answer(fresh("body"));
    for reading in [running, joining] {
        assert_eq!(read(reading).await.text(), "body");
    }
    assert!(stopping.await.unwrap(), "all ended in time");
}

over_each_shape!(a_runtime_that_ends_breaks_off_what_runs_on_it_and_the_next_one_starts_anew, test);
fn a_runtime_that_ends_breaks_off_what_runs_on_it_and_the_next_one_starts_anew(shape: Shape) {
    let site = Site::new(shape);
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
    };
    let first = runtime();
    let (drip, body) = drip();
    let mut arriving = first.block_on(async {
        let (arriving, waiting) = (site.ask(get("/a")), site.ask(get("/b")));
        while site.origin.waiting() < 2 {
            tokio::task::yield_now().await;
        }
        // Whose call came first is not said.
        let seen_first = site.origin.take();
        assert!(
            seen_first
                .send(Ok(without_length(200, &[("cache-control", "max-age=60")], body)))
                .is_ok()
        );
        drip.send("bo");
        let (answered, _) = futures_util::future::select(arriving, waiting).await.factor_first();
        let mut answer = answered.unwrap().unwrap();
        assert_eq!(chunk(&mut answer).await.unwrap().unwrap(), "bo");
        answer
    });
    // Waits until all that ran on it is gone.
    drop(first);
    let second = runtime();
    second.block_on(async {
        assert!(chunk(&mut arriving).await.unwrap().is_err());
        site.origin.answers(|_| Ok(answer(200, &[("cache-control", "max-age=60")], "body")));
        for path in ["/a", "/b"] {
            assert_eq!(site.get(path).await.text(), "body");
        }
    });
}

over_each_shape!(one_particular_request_does_not_end_the_sharing_of_a_key);
async fn one_particular_request_does_not_end_the_sharing_of_a_key(shape: Shape) {
    let particular: [(&[(&str, &str)], u16); 4] = [
        (&[("if-match", "\"x\"")], 412),
        (&[("range", "bytes=99999-")], 416),
        (&[], 429),
        (&[], 503),
    ];
    for (fields, status) in particular {
        let site = Site::new(shape);
        site.answered(get_with("/a", fields), answer(status, &[], "")).await;
        let readers: Vec<_> = (0..10).map(|_| site.ask(get("/a"))).collect();
        settle().await;
        assert_eq!(site.origin.calls(), 2, "{status}");
        site.origin.answer(fresh("body"));
        for reader in readers {
            assert_eq!(read(reader).await.text(), "body");
        }
    }
}

over_each_shape!(readers_of_two_caches_before_one_store_share_a_fetch);
async fn readers_of_two_caches_before_one_store_share_a_fetch(shape: Shape) {
    let site = Site::new(shape);
    let other = site.beside();
    let readings = [site.ask(get("/a")), other.ask(get("/a"))];
    settle().await;
    assert_eq!(site.origin.calls(), 1);
    site.origin.answer(fresh("for both"));
    for reading in readings {
        assert_eq!(read(reading).await.text(), "for both");
    }
}

over_each_shape!(
    what_a_head_has_shown_to_be_old_is_not_stored_by_another_cache_before_the_same_store
);
async fn what_a_head_has_shown_to_be_old_is_not_stored_by_another_cache_before_the_same_store(
    shape: Shape,
) {
    let site = Site::new(shape);
    let other = site.beside();
    let fields = [("cache-control", "max-age=60, stale-if-error=600"), ("etag", "\"1\"")];
    site.fill("/a", ok(&fields, "one")).await;
    site.clock.advance(secs(61));
    let older = other.ask(get_with("/a", &[("if-match", "\"1\"")]));
    settle().await;
    let older_call = site.origin.take();
    let head = site.ask(request("HEAD", "/a", &[("cache-control", "no-cache")]));
    settle().await;
    let changed = [("cache-control", "no-store"), ("etag", "\"2\""), ("content-length", "5")];
    site.origin.answer(without_length(200, &changed, Body::empty()));
    read(head).await;
    assert!(older_call.send(Ok(ok(&fields, "one"))).is_ok());
    read(older).await;
    settle().await;
    let anew = site.answered(get("/a"), fresh("two")).await;
    assert_eq!(anew.text(), "two");
}
