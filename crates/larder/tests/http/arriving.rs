//! Bodies on their way: broken off, too long, too short, too large, without room.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body::Frame;
use http_body_util::StreamBody;
use larder::http::{Body, BoxError, Policy, Settings};

use crate::support::{
    Answer, Shape, Site, answer, chunk, drip, fresh, get, ok, over_each_shape, read, secs, settle,
    without_length,
};

const FRESH: [(&str, &str); 1] = [("cache-control", "max-age=60")];

over_each_shape!(a_body_that_breaks_off_is_an_error_for_all_and_not_stored);
async fn a_body_that_breaks_off_is_an_error_for_all_and_not_stored(shape: Shape) {
    let site = Site::new(shape);
    let readings: Vec<_> = (0..10).map(|_| site.ask(get("/a"))).collect();
    settle().await;
    let (drip, body) = drip();
    site.origin.answer(without_length(200, &FRESH, body));
    drip.send("half of");
    drip.break_off();
    for reading in readings {
        let broken = read(reading).await;
        assert_eq!((&*broken.body, broken.is_whole), (&b"half of"[..], false));
    }
    assert_eq!(site.store().stats().entries, 0);
    assert_eq!(site.arriving(), 0);
    assert_eq!(site.answered(get("/a"), fresh("all of it")).await.text(), "all of it");
}

over_each_shape!(a_body_shorter_than_it_said_is_an_error_and_not_stored);
async fn a_body_shorter_than_it_said_is_an_error_and_not_stored(shape: Shape) {
    let site = Site::new(shape);
    let readings: Vec<_> = (0..3).map(|_| site.ask(get("/a"))).collect();
    settle().await;
    let fields = [FRESH[0], ("content-length", "10")];
    site.origin.answer(without_length(200, &fields, Bytes::from("12345").into()));
    for reading in readings {
        assert!(!read(reading).await.is_whole);
    }
    assert_eq!(site.store().stats().entries, 0);
}

over_each_shape!(a_body_longer_than_it_said_is_cut_there_and_not_stored);
async fn a_body_longer_than_it_said_is_cut_there_and_not_stored(shape: Shape) {
    let site = Site::new(shape);
    let readings: Vec<_> = (0..3).map(|_| site.ask(get("/a"))).collect();
    settle().await;
    let fields = [FRESH[0], ("content-length", "5")];
    let (drip, body) = drip();
    site.origin.answer(without_length(200, &fields, body));
    drip.send("123");
    drip.send("45678");
    for reading in readings {
        assert_eq!(read(reading).await.text(), "12345");
    }
    settle().await;
    assert!(drip.is_given_up(), "nobody reads on");
    assert_eq!(site.store().stats().entries, 0);
}

fn small(shape: Shape, max_body_bytes: usize) -> Site {
    let settings = Settings { max_body_bytes, ..Settings::default() };
    Site::with(shape, Policy::standard(), settings, |builder| builder)
}

over_each_shape!(a_body_that_says_it_is_too_large_passes_to_each_reader_alone);
async fn a_body_that_says_it_is_too_large_passes_to_each_reader_alone(shape: Shape) {
    let site = small(shape, 1000);
    let readings: Vec<_> = (0..3).map(|_| site.ask(get("/a"))).collect();
    settle().await;
    let large = || ok(&FRESH, vec![b'x'; 1001]);
    site.origin.answer(large());
    settle().await;
    assert_eq!(site.origin.waiting(), 2);
    site.origin.answer(large());
    site.origin.answer(large());
    for reading in readings {
        let answer = read(reading).await;
        assert_eq!(answer.body.len(), 1001);
        assert!(answer.said().ends_with("detail=too-large"), "{answer:?}");
    }
    assert_eq!((site.store().stats().entries, site.store().stats().too_large), (0, 3));
    site.fill("/b", ok(&FRESH, vec![b'x'; 1000])).await;
    assert!(site.get("/b").await.is_hit());
}

over_each_shape!(a_body_that_turns_out_too_large_reaches_its_readers_in_bounded_memory);
async fn a_body_that_turns_out_too_large_reaches_its_readers_in_bounded_memory(shape: Shape) {
    const PIECE: usize = 64 << 10;
    const PIECES: usize = 200;
    let site = small(shape, 10 * PIECE);
    let readings: Vec<_> = (0..3).map(|_| site.ask(get("/a"))).collect();
    settle().await;
    let (drip, body) = drip();
    site.origin.answer(without_length(200, &FRESH, body));
    let mut answers = Vec::new();
    for reading in readings {
        answers.push(reading.await.unwrap().unwrap());
    }
    for piece in 0..PIECES {
        drip.send(vec![piece as u8; PIECE]);
    }
    drop(drip);
    let mut most = 0;
    for piece in 0..PIECES {
        for answer in &mut answers {
            let came = chunk(answer).await.unwrap().unwrap();
            assert!(came.len() == PIECE && came.iter().all(|byte| *byte == piece as u8));
            most = most.max(site.arriving());
        }
    }
    for answer in &mut answers {
        assert!(chunk(answer).await.is_none());
    }
    settle().await;
    assert!(most <= 16 * PIECE, "{most} bytes were held");
    assert_eq!((site.arriving(), site.store().stats().entries), (0, 0));
    assert_eq!(site.origin.calls(), 1);
    assert_eq!(site.store().stats().too_large, 1);
    // It is known now, so nobody waits for another's.
    let later: Vec<_> = (0..2).map(|_| site.ask(get("/a"))).collect();
    settle().await;
    assert_eq!(site.origin.waiting(), 2);
    later.iter().for_each(|reading| reading.abort());
}

over_each_shape!(an_origin_faster_than_its_first_reader_loses_nothing);
async fn an_origin_faster_than_its_first_reader_loses_nothing(shape: Shape) {
    // All of it is there before the reader's task runs again.
    let site = small(shape, 10);
    let pieces = (0..100).map(|piece| Bytes::from(vec![piece; 5]));
    let chunks = futures_util::stream::iter(
        pieces.map(|piece| Ok::<_, larder::http::BoxError>(http_body::Frame::data(piece))),
    );
    let body = Body::passing(http_body_util::StreamBody::new(chunks));
    let answer = site.answered(get("/a"), without_length(200, &FRESH, body)).await;
    assert!(answer.is_whole);
    assert_eq!(answer.body.len(), 500);
}

over_each_shape!(a_large_body_that_nobody_reads_any_more_is_given_up);
async fn a_large_body_that_nobody_reads_any_more_is_given_up(shape: Shape) {
    let site = small(shape, 10);
    let reading = site.ask(get("/a"));
    settle().await;
    let (drip, body) = drip();
    site.origin.answer(without_length(200, &FRESH, body));
    let answer = reading.await.unwrap().unwrap();
    drip.send("more than ten bytes");
    settle().await;
    assert!(!drip.is_given_up());
    drop(answer);
    drip.send("more");
    settle().await;
    assert!(drip.is_given_up());
}

over_each_shape!(a_large_body_does_not_keep_others_from_their_turn);
async fn a_large_body_does_not_keep_others_from_their_turn(shape: Shape) {
    let settings = Settings { max_body_bytes: 10, ..Settings::default() };
    let site = Site::with(shape, Policy::standard(), settings, |builder| {
        builder.max_concurrent_fetches(1)
    });
    let reading = site.ask(get("/large"));
    settle().await;
    let (drip, body) = drip();
    site.origin.answer(without_length(200, &FRESH, body));
    drip.send("more than ten bytes");
    let slow = reading.await.unwrap().unwrap();
    assert_eq!(site.answered(get("/small"), fresh("body")).await.text(), "body");
    drop(drip);
    assert_eq!(Answer::read(slow).await.text(), "more than ten bytes");
}

over_each_shape!(bodies_on_their_way_are_counted_and_bounded_together);
async fn bodies_on_their_way_are_counted_and_bounded_together(shape: Shape) {
    let settings = Settings { max_arriving_bytes: 100, ..Settings::default() };
    let site = Site::with(shape, Policy::standard(), settings, |builder| builder);
    let first = site.ask(get("/1"));
    settle().await;
    let (first_drip, body) = drip();
    site.origin.answer(without_length(200, &FRESH, body));
    first_drip.send(vec![1; 60]);
    settle().await;
    assert_eq!(site.arriving(), 60);

    // One that says it has no room passes; one that finds out later is kept no longer.
    let passed = site.answered(get("/2"), ok(&FRESH, vec![2; 41])).await;
    assert!(passed.said().ends_with("detail=no-room"), "{passed:?}");
    assert_eq!(passed.body.len(), 41);
    let third = site.ask(get("/3"));
    settle().await;
    let (third_drip, body) = drip();
    site.origin.answer(without_length(200, &FRESH, body));
    let third = third.await.unwrap().unwrap();
    third_drip.send(vec![3; 41]);
    settle().await;
    assert_eq!(site.cache.crowded_out(), 2);
    drop(third_drip);
    assert_eq!(Answer::read(third).await.body.len(), 41);

    drop(first_drip);
    assert_eq!(read(first).await.body.len(), 60);
    settle().await;
    assert_eq!(site.arriving(), 0);
    assert_eq!(site.store().stats().entries, 1);
    // Where there is room again, all is as before.
    site.fill("/2", ok(&FRESH, vec![2; 41])).await;
    assert!(site.get("/2").await.is_hit());
}

over_each_shape!(a_slow_reader_of_what_is_stored_holds_nothing_of_its_own);
async fn a_slow_reader_of_what_is_stored_holds_nothing_of_its_own(shape: Shape) {
    let site = Site::new(shape);
    let slow = site.ask(get("/a"));
    settle().await;
    site.origin.answer(fresh(vec![7; 1 << 20]));
    let slow = slow.await.unwrap().unwrap();
    settle().await;
    assert_eq!(site.arriving(), 0);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(Answer::read(slow).await.body.len(), 1 << 20);
}

fn impatient(shape: Shape) -> Site {
    let settings = Settings { idle_body_timeout: Some(secs(5)), ..Settings::default() };
    Site::with(shape, Policy::standard(), settings, |builder| builder.max_concurrent_fetches(1))
}

over_each_shape!(a_body_that_pauses_for_too_long_is_for_those_who_have_begun_it_and_is_not_stored);
async fn a_body_that_pauses_for_too_long_is_for_those_who_have_begun_it_and_is_not_stored(
    shape: Shape,
) {
    let site = impatient(shape);
    let first = site.ask(get("/a"));
    settle().await;
    let (drip, body) = drip();
    site.origin.answer(without_length(200, &FRESH, body));
    let first = first.await.unwrap().unwrap();
    for piece in ["it ", "drips, ", "but comes, "] {
        drip.send(piece);
        tokio::time::sleep(secs(4)).await;
    }
    let follower = site.ask(get("/a")).await.unwrap().unwrap();
    assert_eq!(site.origin.calls(), 1);
    tokio::time::sleep(secs(2)).await;
    // It keeps nobody from the origin any more, neither from its key nor from a turn.
    let later = site.answered(get("/a"), fresh("another")).await;
    assert_eq!((later.text(), site.origin.calls()), ("another", 2));
    tokio::time::sleep(secs(3600)).await;
    drip.send("and ends");
    drop(drip);
    for answer in [first, follower] {
        assert_eq!(Answer::read(answer).await.text(), "it drips, but comes, and ends");
    }
    settle().await;
    assert_eq!((site.get("/a").await.text(), site.arriving()), ("another", 0));
}

over_each_shape!(a_body_that_pauses_goes_with_the_last_who_reads_it);
async fn a_body_that_pauses_goes_with_the_last_who_reads_it(shape: Shape) {
    let site = impatient(shape);
    let reading = site.ask(get("/a"));
    settle().await;
    let (drip, body) = drip();
    site.origin.answer(without_length(200, &FRESH, body));
    drip.send("half of");
    let answer = reading.await.unwrap().unwrap();
    tokio::time::sleep(secs(6)).await;
    assert!(!drip.is_given_up(), "somebody reads it");
    drop(answer);
    settle().await;
    assert!(drip.is_given_up());
    assert_eq!(site.arriving(), 0);

    let reading = site.ask(get("/b"));
    settle().await;
    let (drip, body) = crate::support::drip();
    site.origin.answer(without_length(200, &FRESH, body));
    drop(reading.await.unwrap().unwrap());
    tokio::time::sleep(secs(4)).await;
    assert!(!drip.is_given_up(), "it may still be stored");
    tokio::time::sleep(secs(2)).await;
    assert!(drip.is_given_up());
}

over_each_shape!(a_body_that_one_reader_has_for_itself_may_pause);
async fn a_body_that_one_reader_has_for_itself_may_pause(shape: Shape) {
    let site = impatient(shape);
    let reading = site.ask(get("/a"));
    settle().await;
    let (drip, body) = drip();
    site.origin.answer(without_length(200, &[("cache-control", "no-store")], body));
    let answer = reading.await.unwrap().unwrap();
    drip.send("a word, ");
    tokio::time::sleep(secs(3600)).await;
    drip.send("and another");
    drop(drip);
    assert_eq!(Answer::read(answer).await.text(), "a word, and another");
}

impl Site {
    fn arriving(&self) -> usize {
        self.cache.arriving_bytes()
    }
}

over_each_shape!(a_body_that_goes_on_and_on_is_for_those_who_have_begun_it_and_is_not_stored);
async fn a_body_that_goes_on_and_on_is_for_those_who_have_begun_it_and_is_not_stored(shape: Shape) {
    // It pauses for less than any limit, or not at all before its time is over.
    for pause in [10, 61] {
        let settings = Settings { idle_body_timeout: None, ..Settings::default() };
        let site = Site::with(shape, Policy::standard(), settings, |builder| builder);
        let (drip, body) = drip();
        let first = site.ask(get("/a"));
        settle().await;
        site.origin.answer(without_length(200, &FRESH, body));
        let mut ticks = 0;
        while ticks * pause < 65 {
            drip.send("tick ");
            tokio::time::sleep(secs(pause)).await;
            ticks += 1;
        }
        let later = site.ask(get("/a"));
        settle().await;
        assert_eq!(site.origin.calls(), 2, "it has not been given what was said before it came");
        site.origin.answer(fresh("now"));
        assert_eq!(read(later).await.text(), "now");
        drip.send("end");
        drop(drip);
        let first = read(first).await;
        let ticks = usize::try_from(ticks).unwrap();
        assert_eq!(first.text(), format!("{}end", "tick ".repeat(ticks)));
        settle().await;
        assert_eq!(site.get("/a").await.text(), "now");
    }
}

over_each_shape!(a_body_that_has_said_how_long_it_is_may_take_its_time);
async fn a_body_that_has_said_how_long_it_is_may_take_its_time(shape: Shape) {
    let site = Site::new(shape);
    let (drip, body) = drip();
    let reading = site.ask(get("/a"));
    settle().await;
    let fields = [FRESH[0], ("content-length", "50")];
    site.origin.answer(without_length(200, &fields, body));
    for _ in 0..10 {
        drip.send("tick ");
        tokio::time::sleep(secs(30)).await;
    }
    drop(drip);
    read(reading).await;
    settle().await;
    assert!(site.get("/a").await.is_hit());
}

const LENGTH: usize = 8 << 20;

fn pattern() -> Bytes {
    (0..LENGTH).map(|place| (place / 251 + place) as u8).collect()
}

/// A site whose bodies on their way have room for a part of one, before an origin that sends 8 MiB at once, and answers
/// a range as `ranged` says, which is given the first byte of it.
fn crowded(shape: Shape, ranged: impl Fn(usize) -> Response<Body> + Send + Sync + 'static) -> Site {
    let settings = Settings { max_arriving_bytes: 2 << 20, ..Settings::default() };
    let site = Site::with(shape, Policy::standard(), settings, |builder| builder);
    let body = pattern();
    site.origin.answers(move |seen| {
        let first = seen
            .field("range")
            .strip_prefix("bytes=")
            .and_then(|range| range.strip_suffix('-').map(|first| first.parse::<usize>().unwrap()));
        Ok(match first {
            Some(first) => ranged(first),
            None => {
                let chunks: Vec<_> = body.chunks(64 << 10).map(Bytes::copy_from_slice).collect();
                let chunks = chunks.into_iter().map(|chunk| Ok::<_, BoxError>(Frame::data(chunk)));
                let body = Body::passing(StreamBody::new(stream::iter(chunks)));
                without_length(200, &[("cache-control", "max-age=60"), ("etag", "\"1\"")], body)
            }
        })
    });
    site
}

fn rest(first: usize, tag: &str) -> Response<Body> {
    let range = format!("bytes {first}-{}/{LENGTH}", LENGTH - 1);
    let fields = [("etag", tag), ("content-range", &*range), ("cache-control", "max-age=60")];
    answer(206, &fields, pattern().slice(first..))
}

/// A fast reader has all of it while a slow one has read a little. Then the slow one reads on.
async fn fast_beside_slow(site: &Site) -> (Answer, Vec<u8>, Option<BoxError>) {
    let (fast, slow) = (site.ask(get("/a")), site.ask(get("/a")));
    let mut slow = slow.await.unwrap().unwrap();
    let mut had = chunk(&mut slow).await.unwrap().unwrap().to_vec();
    let began = tokio::time::Instant::now();
    let fast = read(fast).await;
    assert!(began.elapsed() < secs(1), "it has waited for the slow one: {:?}", began.elapsed());
    let mut error = None;
    while let Some(next) = chunk(&mut slow).await {
        match next {
            Ok(bytes) => had.extend_from_slice(&bytes),
            Err(broken) => {
                error = Some(broken);
                break;
            }
        }
    }
    (fast, had, error)
}

over_each_shape!(a_reader_that_is_left_behind_goes_on_by_a_request_of_its_own);
async fn a_reader_that_is_left_behind_goes_on_by_a_request_of_its_own(shape: Shape) {
    let site = crowded(shape, |first| rest(first, "\"1\""));
    let (fast, slow, error) = fast_beside_slow(&site).await;
    assert!(fast.body == pattern() && fast.is_whole);
    assert!(error.is_none(), "{error:?}");
    assert!(slow == pattern());
    assert_eq!(site.origin.calls(), 2);
    assert_eq!(site.origin.last().field("if-range"), "\"1\"");
    assert_eq!(site.store().stats().readers_cut, 0);
    settle().await;
    assert_eq!(site.cache.arriving_bytes(), 0);
}

over_each_shape!(a_reader_that_is_left_behind_is_given_no_byte_of_another_body);
async fn a_reader_that_is_left_behind_is_given_no_byte_of_another_body(shape: Shape) {
    type Ranged = fn(usize) -> Response<Body>;
    let others: [(&str, Ranged); 5] = [
        ("all of another", |_| ok(&[("etag", "\"2\"")], pattern())),
        ("a part of another", |first| rest(first, "\"2\"")),
        ("another part", |first| rest(first + 1, "\"1\"")),
        ("a part without an end", |first| {
            let range = format!("bytes {first}-{}/*", LENGTH - 1);
            answer(206, &[("etag", "\"1\""), ("content-range", &*range)], pattern().slice(first..))
        }),
        ("an error", |_| answer(503, &[], "")),
    ];
    for (what, ranged) in others {
        let site = crowded(shape, ranged);
        let (fast, slow, error) = fast_beside_slow(&site).await;
        assert!(fast.body == pattern(), "{what}");
        assert!(error.is_some() && slow.len() < LENGTH && pattern().starts_with(&slow), "{what}");
        assert_eq!(site.store().stats().readers_cut, 1, "{what}");
    }
}

over_each_shape!(a_reader_that_is_left_behind_waits_no_longer_for_the_origin_than_a_fetch_may_take);
async fn a_reader_that_is_left_behind_waits_no_longer_for_the_origin_than_a_fetch_may_take(
    shape: Shape,
) {
    let settings = Settings { max_arriving_bytes: 2 << 20, ..Settings::default() };
    let site =
        Site::with(shape, Policy::standard(), settings, |builder| builder.hard_timeout(secs(10)));
    let (fast, slow) = (site.ask(get("/a")), site.ask(get("/a")));
    settle().await;
    let chunks: Vec<_> = pattern().chunks(64 << 10).map(Bytes::copy_from_slice).collect();
    let chunks = chunks.into_iter().map(|chunk| Ok::<_, BoxError>(Frame::data(chunk)));
    let body = Body::passing(StreamBody::new(stream::iter(chunks)));
    let fields = [("cache-control", "max-age=60"), ("etag", "\"1\"")];
    site.origin.answer(without_length(200, &fields, body));
    let mut slow = slow.await.unwrap().unwrap();
    chunk(&mut slow).await.unwrap().unwrap();
    assert!(read(fast).await.is_whole);
    let began = tokio::time::Instant::now();
    let last = loop {
        match chunk(&mut slow).await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(began.elapsed().as_secs(), 10, "{last}");
    assert_eq!((site.origin.calls(), site.origin.waiting()), (2, 0), "the call was given up");
    assert_eq!((site.cache.turns_taken(), site.store().stats().readers_cut), (0, 1));
}
