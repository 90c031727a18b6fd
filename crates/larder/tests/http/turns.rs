//! Turns: who may ask the origin, who waits for it, and what becomes of what nobody waits for any more.

use std::net::IpAddr;

use futures_util::FutureExt;
use http::{Request, Response};
use larder::http::{Body, Bypass, Client, MayTakeLong, NoAnswer, Policy, Settings};

use crate::support::{
    Drip, Reading, Shape, Site, answer, chunk, drip, failed, fresh, get, get_with, ok,
    over_each_shape, read, request, rounds, secs, settle, without_length,
};

const FRESH: [(&str, &str); 1] = [("cache-control", "max-age=60")];
const NO_STORE: [(&str, &str); 1] = [("cache-control", "no-store")];

/// A cache with so many turns for each kind of request.
fn with_turns(shape: Shape, turns: usize) -> Site {
    let settings = Settings { max_passing: Some(turns), ..Settings::default() };
    Site::with(shape, Policy::standard(), settings, |builder| builder.max_concurrent_fetches(turns))
}

/// How three readers come to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Shared,
    Alone,
    /// They have something stale, and have left long before it is over.
    Refresh,
    Passing,
    Post,
}

#[derive(Clone, Copy, Debug)]
enum Leaving {
    First,
    AllButTheFirst,
    All,
}

const WAYS: [Way; 5] = [Way::Shared, Way::Alone, Way::Refresh, Way::Passing, Way::Post];

/// Three who ask for `/a`, and wait.
async fn three(site: &Site, way: Way) -> Vec<Reading> {
    match way {
        Way::Shared | Way::Passing | Way::Post => {}
        Way::Alone => drop(site.answered(get("/a"), ok(&NO_STORE, "")).await),
        Way::Refresh => {
            let windows = [("cache-control", "max-age=1, stale-while-revalidate=600")];
            site.fill("/a", ok(&windows, "stale")).await;
            site.clock.advance(secs(2));
        }
    }
    let request = || match way {
        Way::Passing => request("OPTIONS", "/a", &[]),
        Way::Post => request("POST", "/a", &[]),
        _ => get("/a"),
    };
    let readings = (0..3).map(|_| site.ask(request())).collect();
    settle().await;
    readings
}

async fn leave(readings: &mut Vec<Reading>, leaving: Leaving) {
    let leavers = match leaving {
        Leaving::First => 0..1,
        Leaving::AllButTheFirst => 1..3,
        Leaving::All => 0..3,
    };
    for reading in readings.drain(leavers) {
        reading.abort();
        // One that had its answer already leaves in its middle.
        drop(reading.await);
    }
    settle().await;
}

over_each_shape!(a_fetch_is_given_up_with_the_last_who_waits_for_its_head);
async fn a_fetch_is_given_up_with_the_last_who_waits_for_its_head(shape: Shape) {
    for (way, left) in [
        (Way::Shared, [1, 1, 0]),
        (Way::Alone, [2, 1, 0]),
        // They wait for nobody.
        (Way::Refresh, [1, 1, 1]),
        (Way::Passing, [2, 1, 0]),
        // What it changes has to be noticed, whoever is there.
        (Way::Post, [3, 3, 3]),
    ] {
        for (leaving, left) in
            [Leaving::First, Leaving::AllButTheFirst, Leaving::All].into_iter().zip(left)
        {
            let site = with_turns(shape, 16);
            let mut readings = three(&site, way).await;
            leave(&mut readings, leaving).await;
            assert_eq!(site.origin.waiting(), left, "{way:?} {leaving:?}");
            assert_eq!(site.cache.turns_taken(), left, "{way:?} {leaving:?}");
            let abandoned = match way {
                Way::Shared => usize::from(left == 0),
                Way::Alone => 3 - left,
                Way::Refresh | Way::Passing | Way::Post => 0,
            } as u64;
            assert_eq!(site.store().stats().abandoned, abandoned, "{way:?} {leaving:?}");
            // Those who stay are answered, and those who come later.
            for _ in 0..left {
                site.origin.answer(fresh("new"));
                settle().await;
            }
            if way != Way::Refresh {
                for reading in readings {
                    assert_eq!(read(reading).await.text(), "new", "{way:?} {leaving:?}");
                }
            }
            assert_eq!(site.cache.turns_taken(), 0, "{way:?} {leaving:?}");
            site.origin.answers(|_| Ok(fresh("new")));
            assert_eq!(site.get("/a").await.text(), "new", "{way:?} {leaving:?}");
        }
    }
}

over_each_shape!(what_may_take_long_waits_on_without_a_turn_after_a_while);
async fn what_may_take_long_waits_on_without_a_turn_after_a_while(shape: Shape) {
    let site = with_turns(shape, 16);
    for method in ["GET", "POST"] {
        let mut poll = request(method, "/poll", &[]);
        poll.extensions_mut().insert(Bypass);
        let mut usual = request(method, "/usual", &[]);
        usual.extensions_mut().insert(Bypass);
        poll.extensions_mut().insert(MayTakeLong);
        let readings = [site.ask(poll), site.ask(usual)];
        settle().await;
        assert_eq!((site.origin.waiting(), site.cache.turns_taken()), (2, 2), "{method}");
        tokio::time::sleep(secs(6)).await;
        assert_eq!((site.origin.waiting(), site.cache.turns_taken()), (2, 1), "{method}");
        for _ in 0..2 {
            site.origin.answer(ok(&NO_STORE, "said"));
        }
        for reading in readings {
            assert_eq!(read(reading).await.text(), "said", "{method}");
        }
        assert_eq!(site.cache.turns_taken(), 0, "{method}");
    }
}

over_each_shape!(what_is_on_its_way_into_the_cache_goes_on_and_what_is_not_goes_with_its_reader);
async fn what_is_on_its_way_into_the_cache_goes_on_and_what_is_not_goes_with_its_reader(
    shape: Shape,
) {
    for way in WAYS {
        for is_stored in [true, false] {
            for leaving in [Leaving::First, Leaving::AllButTheFirst, Leaving::All] {
                let what = format!("{way:?} {leaving:?} stored: {is_stored}");
                let site = with_turns(shape, 16);
                let mut readings = three(&site, way).await;
                let mut drips: Vec<Drip> = Vec::new();
                while site.origin.waiting() > 0 {
                    let (drip, body) = drip();
                    let fields = if is_stored { FRESH } else { NO_STORE };
                    site.origin.answer(without_length(200, &fields, body));
                    drip.send("bo");
                    drips.push(drip);
                    // Those who wait for an answer that is for one reader come now.
                    settle().await;
                }
                leave(&mut readings, leaving).await;
                // What passes, and what is not stored, is for its reader.
                let is_kept = is_stored && matches!(way, Way::Shared | Way::Alone | Way::Refresh);
                let still_there = drips.iter().filter(|drip| !drip.is_given_up()).count();
                let expected = match (is_kept, way) {
                    (true, _) => drips.len(),
                    // A refresh that may not be stored has nobody to go to.
                    (false, Way::Refresh) => 0,
                    (false, _) => readings.len(),
                };
                assert_eq!(still_there, expected, "{what}");
                for drip in &drips {
                    drip.send("dy");
                }
                drop(drips);
                for reading in readings {
                    if way != Way::Refresh {
                        assert_eq!(read(reading).await.text(), "body", "{what}");
                    }
                }
                settle().await;
                assert_eq!(site.cache.turns_taken(), 0, "{what}");
                if is_kept {
                    assert_eq!(site.get("/a").await.text(), "body", "{what}");
                }
            }
        }
    }
}

over_each_shape!(eleven_hundred_readers_of_what_hangs_who_leave_at_once_leave_every_turn_behind);
async fn eleven_hundred_readers_of_what_hangs_who_leave_at_once_leave_every_turn_behind(
    shape: Shape,
) {
    let site = with_turns(shape, 1024);
    let hang =
        |number| if number % 2 == 0 { "/hang".to_owned() } else { format!("/hang?{number}") };
    let readings: Vec<_> = (0..1100).map(|number| site.ask(get(&hang(number)))).collect();
    settle().await;
    assert_eq!(site.cache.turns_taken(), 551, "half of them share one");
    // Others are not kept waiting while they are there,
    let hanging: Vec<_> = (0..551).map(|_| site.origin.take()).collect();
    let began = tokio::time::Instant::now();
    assert_eq!(site.answered(get("/other"), fresh("body")).await.text(), "body");
    readings.iter().for_each(|reading| reading.abort());
    settle().await;
    // nor is anything left when they are gone.
    assert!(hanging.iter().all(|call| call.is_closed()));
    assert_eq!((site.cache.turns_taken(), site.cache.waiting_for_turns()), (0, 0));
    assert_eq!(site.answered(get("/third"), fresh("body")).await.text(), "body");
    assert!(began.elapsed() < secs(1));
    assert_eq!(site.store().stats().abandoned, 551);
}

/// Requests for which the origin is asked, and which it leaves waiting.
async fn hang(site: &Site, requests: impl IntoIterator<Item = Request<Body>>) -> Vec<Reading> {
    let readings: Vec<_> = requests.into_iter().map(|request| site.ask(request)).collect();
    settle().await;
    readings
}

fn from(client: u8, mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().insert(Client(IpAddr::from([10, 0, 0, client])));
    request
}

over_each_shape!(no_path_and_no_client_can_take_every_turn);
async fn no_path_and_no_client_can_take_every_turn(shape: Shape) {
    for method in ["GET", "POST"] {
        let of = |path: &str| request(method, path, &[]);
        // The path has three quarters, whoever asks,
        let site = with_turns(shape, 16);
        let flood = (0..100).map(|number| from(number, of(&format!("/poll?{number}"))));
        let polling = hang(&site, flood).await;
        assert_eq!((site.cache.turns_taken(), site.cache.waiting_for_turns()), (12, 88));
        let _polls: Vec<_> = (0..12).map(|_| site.origin.take()).collect();
        assert_eq!(site.answered(from(1, of("/other")), fresh("body")).await.text(), "body");
        // and the client seven eighths, whatever it asks for.
        drop(polling);
        let site = with_turns(shape, 16);
        let flood = (0..100).map(|number| from(1, of(&format!("/poll/{number}"))));
        hang(&site, flood).await;
        assert_eq!((site.cache.turns_taken(), site.cache.waiting_for_turns()), (14, 86));
        let _polls: Vec<_> = (0..14).map(|_| site.origin.take()).collect();
        assert_eq!(site.answered(from(2, of("/other")), fresh("body")).await.text(), "body");
    }
}

over_each_shape!(a_client_that_has_all_it_may_have_keeps_nobody_waiting_by_asking_first);
async fn a_client_that_has_all_it_may_have_keeps_nobody_waiting_by_asking_first(shape: Shape) {
    let site = with_turns(shape, 16);
    hang(&site, (0..14).map(|number| from(1, get(&format!("/hang/{number}"))))).await;
    let first = site.ask(from(1, get("/a")));
    settle().await;
    assert_eq!((site.cache.turns_taken(), site.cache.waiting_for_turns()), (14, 1));
    // Neither does its asking twice bring it a turn.
    let again = site.ask(from(1, get("/a")));
    settle().await;
    assert_eq!((site.cache.turns_taken(), site.cache.waiting_for_turns()), (14, 1));
    let other = site.ask(from(2, get("/a")));
    settle().await;
    assert_eq!((site.cache.turns_taken(), site.cache.waiting_for_turns()), (15, 0));
    let _hanging: Vec<_> = (0..14).map(|_| site.origin.take()).collect();
    site.origin.answer(fresh("body"));
    for reading in [first, again, other] {
        assert_eq!(read(reading).await.text(), "body");
    }
}

over_each_shape!(who_waits_for_a_turn_has_it_in_time_or_is_told_so);
async fn who_waits_for_a_turn_has_it_in_time_or_is_told_so(shape: Shape) {
    let site = with_turns(shape, 4);
    let readings = hang(&site, (0..5).map(|number| get(&format!("/a?{number}")))).await;
    assert_eq!((site.cache.turns_taken(), site.cache.waiting_for_turns()), (3, 2));
    site.origin.answer(fresh("body"));
    settle().await;
    assert_eq!((site.cache.turns_taken(), site.cache.waiting_for_turns()), (3, 1));
    let began = tokio::time::Instant::now();
    let mut refused = Vec::new();
    for reading in readings {
        tokio::select! {
            answered = reading => refused.extend(answered.unwrap().err()),
            () = tokio::time::sleep(secs(6)) => {}
        }
    }
    let [error] = refused.try_into().unwrap();
    assert!(matches!(error, NoAnswer::NoTurn { waited } if waited == secs(5)));
    assert!(began.elapsed() < secs(30));
    let stats = site.store().stats();
    assert_eq!((stats.turns_awaited, stats.turns_refused), (2, 1));
}

over_each_shape!(all_who_share_a_fetch_that_gets_no_turn_are_told_so_and_something_stale_stands_in);
async fn all_who_share_a_fetch_that_gets_no_turn_are_told_so_and_something_stale_stands_in(
    shape: Shape,
) {
    let site = with_turns(shape, 1);
    let bridging = [("cache-control", "max-age=1, stale-if-error=600")];
    site.fill("/stale", ok(&bridging, "stale")).await;
    site.clock.advance(secs(2));
    let _hanging = hang(&site, [get("/hang")]).await;
    let stale: Vec<_> = (0..3).map(|_| site.ask(get("/stale"))).collect();
    let nothing: Vec<_> = (0..3).map(|_| site.ask(get("/nothing"))).collect();
    for reading in stale {
        assert_eq!(read(reading).await.text(), "stale");
    }
    for reading in nothing {
        assert!(matches!(failed(reading).await, NoAnswer::NoTurn { .. }));
    }
    assert_eq!(site.origin.calls(), 2);
}

over_each_shape!(one_path_cannot_have_the_whole_line);
async fn one_path_cannot_have_the_whole_line(shape: Shape) {
    let site = with_turns(shape, 1);
    // Of 1024 places, a path has 768.
    let flood = (0..1024).map(|number| get(&format!("/hang?{number}")));
    let readings = hang(&site, flood).await;
    assert_eq!(site.cache.waiting_for_turns(), 768);
    let turned_away = readings.into_iter().filter(|reading| reading.is_finished());
    for reading in turned_away {
        assert!(matches!(failed(reading).await, NoAnswer::TooManyFetches));
    }
    let other = site.ask(get("/other"));
    settle().await;
    assert!(!other.is_finished());
}

over_each_shape!(streams_that_stay_open_hold_no_turn);
async fn streams_that_stay_open_hold_no_turn(shape: Shape) {
    let site = with_turns(shape, 16);
    let stream = [("content-type", "text/event-stream"), ("cache-control", "no-store")];
    let mut streams = Vec::new();
    for method in ["GET", "POST"] {
        for _ in 0..50 {
            let (drip, body) = drip();
            let reading = site.ask(request(method, "/events", &[]));
            settle().await;
            site.origin.answer(without_length(200, &stream, body));
            drip.send("data: 1\n\n");
            streams.push((drip, reading.await.unwrap().unwrap()));
        }
    }
    assert_eq!(site.cache.turns_taken(), 0);
    for (_, stream) in &mut streams {
        assert_eq!(chunk(stream).await.unwrap().unwrap(), "data: 1\n\n");
    }
    assert_eq!(site.answered(get("/other"), fresh("body")).await.text(), "body");
    let gone: Vec<_> = streams.into_iter().map(|(drip, _)| drip).collect();
    settle().await;
    assert!(gone.iter().all(Drip::is_given_up));
}

over_each_shape!(
    a_body_that_nobody_reads_any_more_keeps_no_turn_from_those_who_wait_unless_it_comes_fast
);
async fn a_body_that_nobody_reads_any_more_keeps_no_turn_from_those_who_wait_unless_it_comes_fast(
    shape: Shape,
) {
    // How much comes every half second, and whether a reader is left.
    for (bytes, is_read, is_given_up) in [
        (0, false, true),
        (1, false, true),
        (20_000, false, false),
        (0, true, false),
        (1, true, false),
    ] {
        let case = format!("{bytes} B, read: {is_read}");
        let site = with_turns(shape.holding(1_000_000), 1);
        let reading = site.ask(get("/slow"));
        settle().await;
        let (drip, body) = drip();
        let fields = [FRESH[0], ("content-length", "1000000")];
        site.origin.answer(without_length(200, &fields, body));
        drip.send("begins");
        let mut answer = Some(reading.await.unwrap().unwrap());
        let coming = async |answer: &mut Option<Response<Body>>, seconds| {
            for _ in 0..2 * seconds {
                if bytes > 0 {
                    drip.send(vec![b'x'; bytes]);
                }
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                while let Some(answer) = answer
                    && let Some(Some(_)) = chunk(answer).now_or_never()
                {}
            }
        };
        coming(&mut answer, 5).await;
        assert_eq!(site.cache.turns_taken(), 1, "{case}: nobody waits for its turn");
        if !is_read {
            drop(answer.take());
        }
        let waits = site.ask(get("/other"));
        coming(&mut answer, 4).await;
        assert_eq!(drip.is_given_up(), is_given_up, "{case}");
        assert_eq!(site.store().stats().abandoned, u64::from(is_given_up), "{case}");
        if is_given_up {
            site.origin.answer(fresh("body"));
            assert_eq!(read(waits).await.text(), "body", "{case}");
        } else {
            coming(&mut answer, 2).await;
            assert!(matches!(failed(waits).await, NoAnswer::NoTurn { .. }), "{case}");
        }
    }
}

over_each_shape!(a_body_that_drips_goes_into_the_cache_no_longer_than_somebody_reads_it);
async fn a_body_that_drips_goes_into_the_cache_no_longer_than_somebody_reads_it(shape: Shape) {
    let settings = Settings { idle_body_timeout: Some(secs(60)), ..Settings::default() };
    let shape = shape.holding(1_000_000);
    let site = Site::with(shape, Policy::standard(), settings, |builder| builder);
    let reading = site.ask(get("/dripping"));
    settle().await;
    let (drip, body) = drip();
    let fields = [FRESH[0], ("content-length", "1000000")];
    site.origin.answer(without_length(200, &fields, body));
    let mut answer = reading.await.unwrap().unwrap();
    let tick = async || {
        drip.send("tick");
        tokio::time::sleep(secs(10)).await;
    };
    for _ in 0..100 {
        tick().await;
        assert_eq!(chunk(&mut answer).await.unwrap().unwrap(), "tick");
    }
    drop(answer);
    for _ in 0..6 {
        tick().await;
        assert!(!drip.is_given_up(), "it may come to its end");
    }
    tick().await;
    assert!(drip.is_given_up());
    assert_eq!((site.cache.turns_taken(), site.cache.arriving_bytes()), (0, 0));
}

over_each_shape!(a_post_that_waits_for_its_turn_is_given_up_with_its_reader);
async fn a_post_that_waits_for_its_turn_is_given_up_with_its_reader(shape: Shape) {
    let site = with_turns(shape, 1);
    let _first = hang(&site, [request("POST", "/a", &[])]).await;
    let second = hang(&site, [request("POST", "/a", &[])]).await;
    assert_eq!(site.cache.waiting_for_turns(), 1);
    second[0].abort();
    settle().await;
    assert_eq!((site.cache.waiting_for_turns(), site.origin.calls()), (0, 1));
}

over_each_shape!(an_application_has_as_many_posts_at_once_as_without_a_cache);
async fn an_application_has_as_many_posts_at_once_as_without_a_cache(shape: Shape) {
    let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
        builder.max_concurrent_fetches(1)
    });
    let _posting = hang(&site, (0..50).map(|_| request("POST", "/a", &[]))).await;
    assert_eq!(site.origin.waiting(), 50);
}

over_each_shape!(readers_with_other_credentials_do_not_wait_for_each_other);
async fn readers_with_other_credentials_do_not_wait_for_each_other(shape: Shape) {
    for field in ["authorization", "cookie"] {
        let site = Site::guarded(shape);
        let ask = |user: &str| site.ask(get_with("/a", &[(field, user)]));
        let readings = [ask("one"), ask("two"), ask("two"), ask("three")];
        settle().await;
        assert_eq!(site.origin.waiting(), 3, "{field}: the same reader twice asks once");
        readings.iter().for_each(|reading| reading.abort());
        settle().await;
        assert_eq!(site.origin.waiting(), 0);

        // Once their answers have turned out to be for all, they wait for each other, also after a purge.
        let public = || ok(&[("cache-control", "public, max-age=60")], "for all");
        site.answered(get_with("/a", &[(field, "one")]), public()).await;
        site.store().clear();
        let readings = [ask("one"), ask("two"), ask("three")];
        settle().await;
        assert_eq!(site.origin.waiting(), 1, "{field}");
        site.origin.answer(public());
        for reading in readings {
            assert_eq!(read(reading).await.text(), "for all");
        }
    }
}

over_each_shape!(a_crowd_waits_for_each_other_once_where_that_turns_out_to_be_in_vain);
async fn a_crowd_waits_for_each_other_once_where_that_turns_out_to_be_in_vain(shape: Shape) {
    let nothing: &[(&str, &str)] = &[];
    let validated = [("etag", "\"1\"")];
    let no_cache = [("cache-control", "no-cache"), ("etag", "\"1\"")];
    let stale_at_once = [("cache-control", "max-age=0"), ("etag", "\"1\"")];
    let private = [("cache-control", "private, max-age=60")];
    for (fields, [first, later]) in [
        // What may be reused is fetched once, and then not at all.
        (&FRESH[..], [(1, 1), (0, 0)]),
        // All others: each asks for itself, from the second crowd on at once.
        (nothing, [(50, 2), (50, 1)]),
        (&NO_STORE, [(50, 2), (50, 1)]),
        (&private, [(50, 2), (50, 1)]),
        (&validated, [(50, 2), (50, 1)]),
        (&no_cache, [(50, 2), (50, 1)]),
        (&stale_at_once, [(50, 2), (50, 1)]),
    ] {
        let site = Site::guarded(shape);
        let crowd = async || {
            let before = site.origin.calls();
            let readings: Vec<_> = (0..50).map(|_| site.ask(get("/a"))).collect();
            let rounds = rounds(&site.origin, &readings, || ok(fields, "body")).await;
            for reading in readings {
                assert_eq!(read(reading).await.text(), "body");
            }
            (site.origin.calls() - before, rounds)
        };
        assert_eq!(crowd().await, first, "{fields:?}");
        for _ in 0..3 {
            // Each crowd says anew what the one before it has found out.
            site.clock.advance(secs(if later.0 == 0 { 1 } else { 100 }));
            assert_eq!(crowd().await, later, "{fields:?}");
        }
    }
}

over_each_shape!(a_crowd_with_credentials_of_its_own_each_waits_for_nobody);
async fn a_crowd_with_credentials_of_its_own_each_waits_for_nobody(shape: Shape) {
    for field in ["authorization", "cookie"] {
        let site = Site::guarded(shape);
        for _ in 0..2 {
            let ask = |user| site.ask(get_with("/a", &[(field, &format!("user={user}"))]));
            let readings: Vec<_> = (0..50).map(ask).collect();
            assert_eq!(rounds(&site.origin, &readings, || ok(&[], "body")).await, 1, "{field}");
        }
        assert_eq!(site.origin.calls(), 100);
    }
}

over_each_shape!(a_key_whose_answers_become_reusable_is_fetched_once_again);
async fn a_key_whose_answers_become_reusable_is_fetched_once_again(shape: Shape) {
    let site = Site::guarded(shape);
    site.answered(get("/a"), answer(200, &[], "")).await;
    site.answered(get("/a"), fresh("for all")).await;
    site.store().clear();
    let _readings = hang(&site, (0..50).map(|_| get("/a"))).await;
    assert_eq!(site.origin.waiting(), 1);
}
