//! Ranges: from a whole body, from one on its way, from parts, and the rest of a part.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use larder::http::{Body, Policy, Settings};

use crate::support::{
    Answer, Drip, Reading, Shape, Site, answer, chunk, drip, get, get_with, ok, over_each_shape,
    read, secs, settle, without_length,
};

const BODY: &str = "0123456789";

fn tagged() -> http::Response<Body> {
    ok(&[("cache-control", "max-age=60"), ("etag", "\"1\"")], BODY)
}

fn part(range: &str, tag: &str, body: impl Into<Bytes>) -> http::Response<Body> {
    let fields = [("cache-control", "max-age=60"), ("etag", tag), ("content-range", range)];
    answer(206, &fields, body)
}

fn range(range: &str) -> http::Request<Body> {
    get_with("/a", &[("range", range)])
}

over_each_shape!(a_stored_body_is_served_in_parts);
async fn a_stored_body_is_served_in_parts(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", tagged()).await;
    let parts = [
        ("bytes=0-3", "bytes 0-3/10", "0123"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-2", "bytes 8-9/10", "89"),
        ("bytes=5-999", "bytes 5-9/10", "56789"),
    ];
    for (asked, content_range, body) in parts {
        let part = site.send(range(asked)).await;
        assert_eq!((part.status, part.text()), (206, body), "{asked}");
        assert_eq!(part.field("content-range"), content_range);
        assert_eq!(part.field("content-length"), body.len().to_string());
        assert!(part.is_hit());
    }
    let head = crate::support::request("HEAD", "/a", &[("range", "bytes=0-3")]);
    assert_eq!(site.send(head).await.status, 200, "ranges are for GET");
    assert_eq!(site.origin.calls(), 1);
}

over_each_shape!(several_ranges_come_as_one_multipart_answer);
async fn several_ranges_come_as_one_multipart_answer(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", tagged()).await;
    let parts = site.send(range("bytes=0-1,4-5,-1")).await;
    assert_eq!(parts.status, 206);
    let kind = parts.field("content-type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap().trim_matches('"');
    let text = parts.text();
    assert_eq!(parts.field("content-length"), text.len().to_string());
    let bodies: Vec<_> = text
        .split(&format!("--{boundary}"))
        .filter_map(|part| part.split_once("\r\n\r\n"))
        .map(|(head, body)| (head.contains("content-range: bytes "), body.trim_end()))
        .collect();
    assert_eq!(bodies.iter().map(|(_, body)| *body).collect::<Vec<_>>(), ["01", "45", "9"]);
    assert!(text.to_ascii_lowercase().contains("content-range: bytes 4-5/10"));
    assert!(text.ends_with(&format!("--{boundary}--\r\n")), "{text}");
}

over_each_shape!(a_range_beyond_the_end_is_refused_with_the_length);
async fn a_range_beyond_the_end_is_refused_with_the_length(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", tagged()).await;
    let refused = site.send(range("bytes=10-")).await;
    assert_eq!((refused.status, refused.text()), (416, ""));
    assert_eq!(refused.field("content-range"), "bytes */10");
}

over_each_shape!(if_range_decides_between_part_and_whole);
async fn if_range_decides_between_part_and_whole(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", tagged()).await;
    let asks = |tag| get_with("/a", &[("range", "bytes=0-1"), ("if-range", tag)]);
    assert_eq!(site.send(asks("\"1\"")).await.text(), "01");
    let whole = site.send(asks("\"2\"")).await;
    assert_eq!((whole.status, whole.text()), (200, BODY));
}

over_each_shape!(a_body_that_is_still_arriving_is_served_in_parts);
async fn a_body_that_is_still_arriving_is_served_in_parts(shape: Shape) {
    let site = Site::new(shape);
    let (drip, body) = drip();
    let leader = site.ask(get("/a"));
    settle().await;
    let fields = [("cache-control", "max-age=60"), ("content-length", "10")];
    site.origin.answer(without_length(200, &fields, body));
    drip.send("01234");
    settle().await;
    let here = read(site.ask(range("bytes=1-3"))).await;
    assert_eq!((here.status, here.text()), (206, "123"));
    assert_eq!(here.field("content-range"), "bytes 1-3/10");
    assert!(here.said().contains(";collapsed;"), "{here:?}");
    let later = site.ask(range("bytes=4-6"));
    settle().await;
    let unsatisfiable = read(site.ask(range("bytes=10-"))).await;
    assert_eq!(unsatisfiable.status, 416);
    drip.send("56789");
    assert_eq!(read(later).await.text(), "456");
    drop(drip);
    assert_eq!(read(leader).await.text(), BODY);
    assert_eq!(site.origin.calls(), 1);
}

over_each_shape!(several_ranges_of_a_body_are_served_as_soon_as_they_are_here);
async fn several_ranges_of_a_body_are_served_as_soon_as_they_are_here(shape: Shape) {
    let site = Site::new(shape);
    let (drip, body) = drip();
    let leader = site.ask(get("/a"));
    settle().await;
    let fields = [("cache-control", "max-age=60"), ("content-length", "10")];
    site.origin.answer(without_length(200, &fields, body));
    drip.send("0123");
    drip.send("456");
    settle().await;
    let several = read(site.ask(range("bytes=1-4,6-6"))).await;
    assert_eq!(several.status, 206);
    for piece in ["Content-Range: bytes 1-4/10\r\n\r\n1234\r\n", "bytes 6-6/10\r\n\r\n6\r\n"] {
        assert!(several.text().contains(piece), "{}", several.text());
    }
    // It would have to be waited for: a range is a wish, not an order.
    let early = site.ask(range("bytes=1-2,8-9"));
    settle().await;
    drip.send("789");
    drop(drip);
    let early = read(early).await;
    assert_eq!((early.status, early.text()), (200, BODY));
    assert_eq!(read(leader).await.text(), BODY);
    assert_eq!(site.origin.calls(), 1);
}

over_each_shape!(while_nobody_knows_its_length_a_range_gets_all_of_it);
async fn while_nobody_knows_its_length_a_range_gets_all_of_it(shape: Shape) {
    let site = Site::new(shape);
    let (drip, body) = drip();
    let leader = site.ask(get("/a"));
    settle().await;
    site.origin.answer(without_length(200, &[("cache-control", "max-age=60")], body));
    drip.send("01234");
    settle().await;
    let reading = site.ask(range("bytes=1-3"));
    settle().await;
    drip.send("56789");
    drop(drip);
    let whole = read(reading).await;
    assert_eq!((whole.status, whole.text()), (200, BODY));
    assert_eq!(read(leader).await.text(), BODY);
    settle().await;
    assert_eq!(site.send(range("bytes=1-3")).await.text(), "123");
}

over_each_shape!(a_range_that_misses_goes_on_and_its_part_is_stored);
async fn a_range_that_misses_goes_on_and_its_part_is_stored(shape: Shape) {
    let site = Site::new(shape);
    let miss = site.answered(range("bytes=2-5"), part("bytes 2-5/10", "\"1\"", "2345")).await;
    assert_eq!(site.origin.last().field("range"), "bytes=2-5");
    assert_eq!((miss.status, miss.text()), (206, "2345"));
    let hit = site.send(range("bytes=3-4")).await;
    assert!(hit.is_hit(), "{hit:?}");
    assert_eq!((hit.text(), &*hit.field("content-range")), ("34", "bytes 3-4/10"));
}

over_each_shape!(two_parts_of_the_same_bytes_are_joined_and_others_are_not);
async fn two_parts_of_the_same_bytes_are_joined_and_others_are_not(shape: Shape) {
    let site = Site::new(shape);
    site.answered(range("bytes=0-4"), part("bytes 0-4/10", "\"1\"", "01234")).await;
    site.answered(range("bytes=5-9"), part("bytes 5-9/10", "\"1\"", "56789")).await;
    let whole = site.get("/a").await;
    assert!(whole.is_hit(), "{whole:?}");
    assert_eq!((whole.status, whole.text()), (200, BODY));
    assert_eq!(whole.field("content-length"), "10");

    let site = Site::new(shape);
    site.answered(range("bytes=0-4"), part("bytes 0-4/10", "\"1\"", "01234")).await;
    site.answered(range("bytes=5-9"), part("bytes 5-9/10", "\"2\"", "abcde")).await;
    let whole = site.answered(get("/a"), tagged()).await;
    assert_eq!(whole.text(), BODY);
    assert_eq!(site.origin.calls(), 3);
}

over_each_shape!(the_missing_rest_of_a_part_is_asked_for_and_joined);
async fn the_missing_rest_of_a_part_is_asked_for_and_joined(shape: Shape) {
    let site = Site::new(shape);
    site.answered(range("bytes=0-4"), part("bytes 0-4/10", "\"1\"", "01234")).await;
    let whole = site.answered(get("/a"), part("bytes 5-9/10", "\"1\"", "56789")).await;
    assert_eq!(site.origin.last().field("range"), "bytes=5-");
    assert_eq!(site.origin.last().field("if-range"), "\"1\"");
    assert_eq!((whole.status, whole.text()), (200, BODY));
    assert!(whole.said().starts_with("Larder;fwd=partial;fwd-status=206;stored;"), "{whole:?}");
    assert!(site.get("/a").await.is_hit());
}

over_each_shape!(a_rest_that_does_not_fit_is_asked_for_as_a_whole);
async fn a_rest_that_does_not_fit_is_asked_for_as_a_whole(shape: Shape) {
    let misfits = [
        ("bytes 5-9/10", "\"2\"", "abcde"),
        ("bytes 6-9/10", "\"1\"", "6789"),
        ("bytes 5-9/10", "\"1\"", "567"),
    ];
    for (range_sent, tag, body) in misfits {
        let site = Site::new(shape);
        site.answered(range("bytes=0-4"), part("bytes 0-4/10", "\"1\"", "01234")).await;
        let reading = site.ask(get("/a"));
        settle().await;
        site.origin.answer(part(range_sent, tag, body));
        settle().await;
        assert_eq!(site.origin.last().field("range"), "");
        site.origin.answer(ok(&[("cache-control", "max-age=60")], "all of the new"));
        assert_eq!(read(reading).await.text(), "all of the new");
        settle().await;
        assert_eq!(site.get("/a").await.text(), "all of the new");
    }
}

/// A site that has the first half, and a reader of the whole who waits for the other.
async fn waiting_for_the_rest(site: &Site) -> (Reading, Drip) {
    site.answered(range("bytes=0-4"), part("bytes 0-4/10", "\"1\"", "01234")).await;
    let reading = site.ask(get("/a"));
    settle().await;
    let (drip, body) = drip();
    let mut rest = part("bytes 5-9/10", "\"1\"", "56789");
    *rest.body_mut() = body;
    site.origin.answer(rest);
    drip.send("567");
    settle().await;
    (reading, drip)
}

over_each_shape!(what_is_here_of_a_body_is_sent_at_once_and_the_rest_as_it_comes);
async fn what_is_here_of_a_body_is_sent_at_once_and_the_rest_as_it_comes(shape: Shape) {
    let site = Site::new(shape);
    let (reading, drip) = waiting_for_the_rest(&site).await;
    let mut answer = reading.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-length"], "10");
    assert!(!answer.headers().contains_key("content-range"));
    let mut here = Vec::new();
    while here.len() < 8 {
        here.extend_from_slice(&chunk(&mut answer).await.unwrap().unwrap());
    }
    assert_eq!(here, b"01234567");
    // Whoever comes meanwhile shares it.
    let follower = site.ask(get("/a"));
    let ranged = read(site.ask(range("bytes=3-6"))).await;
    assert_eq!((ranged.status, ranged.text()), (206, "3456"));
    drip.send("89");
    drop(drip);
    assert_eq!(chunk(&mut answer).await.unwrap().unwrap(), "89");
    assert!(chunk(&mut answer).await.is_none());
    assert_eq!(read(follower).await.text(), BODY);
    settle().await;
    let whole = site.get("/a").await;
    assert!(whole.is_hit() && whole.text() == BODY);
    assert_eq!(site.origin.calls(), 2);
}

over_each_shape!(a_rest_may_be_the_beginning_and_may_be_more_than_was_asked_for);
async fn a_rest_may_be_the_beginning_and_may_be_more_than_was_asked_for(shape: Shape) {
    for (here, asks, comes) in [
        ("bytes 6-9/10", "bytes=0-5", "bytes 0-5/10"),
        ("bytes 6-9/10", "bytes=0-5", "bytes 0-7/10"),
        ("bytes 0-5/10", "bytes=6-", "bytes 3-9/10"),
        ("bytes 0-5/10", "bytes=6-", "bytes 0-9/10"),
    ] {
        let bytes = |range: &str| {
            let (first, last) = (range.as_bytes()[6] - b'0', range.as_bytes()[8] - b'0');
            BODY[first.into()..=last.into()].to_owned()
        };
        let site = Site::new(shape);
        site.answered(range("bytes=6-9"), part(here, "\"1\"", bytes(here))).await;
        let whole = site.answered(get("/a"), part(comes, "\"1\"", bytes(comes))).await;
        assert_eq!(site.origin.last().field("range"), asks, "{here}, {comes}");
        assert_eq!((whole.status, whole.text()), (200, BODY), "{here}, {comes}");
        let again = site.get("/a").await;
        assert!(again.is_hit() && again.text() == BODY, "{here}, {comes}");
    }
}

over_each_shape!(a_rest_that_breaks_off_is_an_error_and_the_part_stays);
async fn a_rest_that_breaks_off_is_an_error_and_the_part_stays(shape: Shape) {
    let site = Site::new(shape);
    let (reading, drip) = waiting_for_the_rest(&site).await;
    drip.break_off();
    let broken = read(reading).await;
    assert_eq!((broken.is_whole, &broken.body[..]), (false, &b"01234567"[..]));
    settle().await;
    let part = site.send(range("bytes=1-3")).await;
    assert_eq!((part.text(), part.is_hit()), ("123", true));
    let whole = site.answered(get("/a"), part_of_body("bytes 5-9/10")).await;
    assert_eq!((whole.text(), site.origin.last().field("range")), (BODY, "bytes=5-"));
}

fn part_of_body(range: &str) -> Response<Body> {
    part(range, "\"1\"", "56789")
}

over_each_shape!(a_rest_that_pauses_for_too_long_is_for_its_readers_only);
async fn a_rest_that_pauses_for_too_long_is_for_its_readers_only(shape: Shape) {
    let settings = Settings { idle_body_timeout: Some(secs(5)), ..Settings::default() };
    let site = Site::with(shape, Policy::standard(), settings, |builder| builder);
    let (reading, drip) = waiting_for_the_rest(&site).await;
    tokio::time::sleep(secs(6)).await;
    let later = site.ask(get("/a"));
    settle().await;
    assert_eq!(site.origin.last().field("range"), "bytes=5-", "nobody waits for that one");
    site.origin.answer(part_of_body("bytes 5-9/10"));
    assert_eq!(read(later).await.text(), BODY);
    drip.send("89");
    drop(drip);
    assert_eq!(read(reading).await.text(), BODY);
}

over_each_shape!(a_rest_is_counted_among_the_bodies_on_their_way);
async fn a_rest_is_counted_among_the_bodies_on_their_way(shape: Shape) {
    let settings = Settings { max_arriving_bytes: 100, ..Settings::default() };
    let site = Site::with(shape, Policy::standard(), settings, |builder| builder);
    site.answered(range("bytes=0-4"), part("bytes 0-4/10", "\"1\"", "01234")).await;
    let other = site.ask(get("/other"));
    settle().await;
    let (other_drip, body) = drip();
    site.origin.answer(without_length(200, &[("cache-control", "max-age=60")], body));
    other_drip.send(vec![1; 96]);
    let passed = site.answered(get("/a"), part("bytes 5-9/10", "\"1\"", "56789")).await;
    assert_eq!((passed.status, passed.text()), (200, BODY), "one request does");
    assert!(passed.said().ends_with("detail=no-room"), "{passed:?}");
    drop(other_drip);
    assert_eq!(read(other).await.body.len(), 96);
}

over_each_shape!(a_part_that_is_all_of_it_answers_as_the_whole);
async fn a_part_that_is_all_of_it_answers_as_the_whole(shape: Shape) {
    for names_length in [true, false] {
        let site = Site::new(shape);
        let mut all = part("bytes 0-9/10", "\"1\"", BODY);
        if !names_length {
            all.headers_mut().remove("content-length");
        }
        let first = site.answered(range("bytes=0-"), all).await;
        assert_eq!((first.status, first.text()), (206, BODY));
        assert_eq!(first.field("content-range"), "bytes 0-9/10");
        let whole = site.get("/a").await;
        assert_eq!((whole.status, whole.text(), whole.is_hit()), (200, BODY, true));
        assert_eq!(whole.field("content-range"), "");
        assert_eq!(whole.field("content-length"), "10");
        let part = site.send(range("bytes=3-4")).await;
        assert_eq!((part.status, part.text(), part.is_hit()), (206, "34", true));
    }
    // One that is shorter than it says is none.
    let site = Site::new(shape);
    let mut short = part("bytes 0-9/10", "\"1\"", "012345678");
    short.headers_mut().remove("content-length");
    assert!(!site.answered(range("bytes=0-"), short).await.is_whole);
    let reading = site.ask(get("/a"));
    settle().await;
    assert_eq!(site.origin.waiting(), 1);
    site.origin.answer(tagged());
    assert_eq!(read(reading).await.text(), BODY);
}

over_each_shape!(a_reader_of_the_whole_shares_a_part_on_its_way_that_is_all_of_it);
async fn a_reader_of_the_whole_shares_a_part_on_its_way_that_is_all_of_it(shape: Shape) {
    let site = Site::new(shape);
    let seeker = site.ask(range("bytes=0-"));
    settle().await;
    site.origin.answer(part("bytes 0-9/10", "\"1\"", BODY));
    assert_eq!(read(seeker).await.status, 206);
    settle().await;
    assert!(site.get("/a").await.is_hit());
    assert_eq!(site.origin.calls(), 1);
}

/// A reader of all of a body of 100 kB that comes at 1 kB a second, and whose origin took `asking` to answer.
async fn slowly_arriving(site: &Site, asking: Duration) -> (Reading, tokio::task::JoinHandle<()>) {
    let reading = site.ask(get("/a"));
    settle().await;
    site.clock.advance(asking);
    let (drip, body) = drip();
    let fields = [("cache-control", "max-age=60"), ("etag", "\"1\""), ("content-length", "100000")];
    site.origin.answer(without_length(200, &fields, body));
    let dripping = tokio::spawn(async move {
        for number in 0..100_u8 {
            drip.send(vec![number; 1000]);
            tokio::time::sleep(secs(1)).await;
        }
    });
    tokio::time::sleep(secs(5)).await;
    (reading, dripping)
}

over_each_shape!(a_range_far_ahead_of_what_has_arrived_is_asked_for_directly);
async fn a_range_far_ahead_of_what_has_arrived_is_asked_for_directly(shape: Shape) {
    let site = Site::new(shape.holding(120_000));
    let (reading, dripping) = slowly_arriving(&site, Duration::ZERO).await;
    let far = site.ask(range("bytes=90000-90009"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(site.origin.last().field("range"), "bytes=90000-90009");
    site.origin.answer(part("bytes 90000-90009/100000", "\"1\"", ".........."));
    let far = read(far).await;
    assert_eq!((far.status, far.text()), (206, ".........."));
    // What is here, or nearly, is not.
    let (here, near) = (site.ask(range("bytes=10-19")), site.ask(range("bytes=5000-5009")));
    assert_eq!(read(here).await.body, vec![0; 10]);
    assert_eq!(read(near).await.body, vec![5; 10]);
    assert_eq!(site.origin.calls(), 2);
    dripping.await.unwrap();
    assert_eq!(read(reading).await.body.len(), 100_000);
    settle().await;
    assert!(site.get("/a").await.is_hit(), "the part on its way did not hinder the whole");
}

over_each_shape!(a_range_is_waited_for_where_the_origin_takes_longer_than_the_body);
async fn a_range_is_waited_for_where_the_origin_takes_longer_than_the_body(shape: Shape) {
    let site = Site::new(shape.holding(120_000));
    let (reading, dripping) = slowly_arriving(&site, secs(20)).await;
    let ahead = read(site.ask(range("bytes=30000-30009"))).await;
    assert_eq!((ahead.status, &ahead.body[..]), (206, &[30; 10][..]));
    assert_eq!(site.origin.calls(), 1);
    dripping.await.unwrap();
    read(reading).await;
}

over_each_shape!(a_changed_whole_instead_of_the_rest_is_the_answer);
async fn a_changed_whole_instead_of_the_rest_is_the_answer(shape: Shape) {
    let site = Site::new(shape);
    site.answered(range("bytes=0-4"), part("bytes 0-4/10", "\"1\"", "01234")).await;
    let changed = ok(&[("cache-control", "max-age=60"), ("etag", "\"2\"")], "changed");
    assert_eq!(site.answered(get("/a"), changed).await.text(), "changed");
    settle().await;
    assert_eq!(site.get("/a").await.text(), "changed");
}

over_each_shape!(a_part_that_is_shorter_than_it_says_answers_nobody_else);
async fn a_part_that_is_shorter_than_it_says_answers_nobody_else(shape: Shape) {
    let site = Site::new(shape);
    let (drip, body) = drip();
    let reading = site.ask(range("bytes=0-4"));
    settle().await;
    let fields = [
        ("cache-control", "max-age=60"),
        ("content-range", "bytes 0-4/10"),
        ("content-length", "5"),
    ];
    site.origin.answer(without_length(206, &fields, body));
    drip.send("012");
    drop(drip);
    let broken = Answer::read(reading.await.unwrap().unwrap()).await;
    assert!(!broken.is_whole);
    settle().await;
    assert_eq!(site.store().stats().entries, 0);
}

over_each_shape!(a_stored_part_answers_as_the_whole_would);
async fn a_stored_part_answers_as_the_whole_would(shape: Shape) {
    let site = Site::new(shape);
    site.answered(range("bytes=0-6"), part("bytes 0-6/10", "\"1\"", "0123456")).await;
    let beyond = site.send(range("bytes=10-")).await;
    assert_eq!((beyond.status, &*beyond.field("content-range")), (416, "bytes */10"));
    let several = site.send(range("bytes=1-2,4-5")).await;
    assert_eq!(several.status, 206);
    assert!(several.field("content-type").starts_with("multipart/byteranges"), "{several:?}");
    for piece in ["Content-Range: bytes 1-2/10\r\n\r\n12\r\n", "bytes 4-5/10\r\n\r\n45\r\n"] {
        assert!(several.text().contains(piece), "{}", several.text());
    }
    assert_eq!(site.origin.calls(), 1);
}

over_each_shape!(joined_parts_are_as_old_as_the_newer_one_was);
async fn joined_parts_are_as_old_as_the_newer_one_was(shape: Shape) {
    let site = Site::new(shape);
    let aged = |range: &str, body: &'static str| {
        let fields = [
            ("cache-control", "max-age=7200"),
            ("etag", "\"1\""),
            ("age", "3600"),
            ("content-range", range),
        ];
        answer(206, &fields, body)
    };
    site.answered(range("bytes=0-4"), aged("bytes 0-4/10", "01234")).await;
    site.answered(range("bytes=5-9"), aged("bytes 5-9/10", "56789")).await;
    let whole = site.get("/a").await;
    assert_eq!((whole.text(), &*whole.field("age")), (BODY, "3600"));
}

over_each_shape!(a_rest_of_another_length_than_it_says_shifts_nothing);
async fn a_rest_of_another_length_than_it_says_shifts_nothing(shape: Shape) {
    for comes in ["01234567", "0123"] {
        let site = Site::new(shape);
        site.answered(range("bytes=6-9"), part("bytes 6-9/10", "\"1\"", "6789")).await;
        let reading = site.ask(get("/a"));
        settle().await;
        assert_eq!(site.origin.last().field("range"), "bytes=0-5");
        let mut rest = part("bytes 0-5/10", "\"1\"", comes);
        rest.headers_mut().remove("content-length");
        site.origin.answer(rest);
        let answer = read(reading).await;
        assert!(!answer.is_whole, "{comes}: {answer:?}");
        assert!(BODY.as_bytes().starts_with(&answer.body), "{comes}: {answer:?}");
    }
}

over_each_shape!(who_waits_for_a_range_of_a_body_that_breaks_off_asks_anew);
async fn who_waits_for_a_range_of_a_body_that_breaks_off_asks_anew(shape: Shape) {
    let site = Site::new(shape.holding(120_000));
    let (reading, dripping) = slowly_arriving(&site, secs(20)).await;
    let ahead = site.ask(range("bytes=30000-30009"));
    tokio::time::sleep(secs(2)).await;
    dripping.abort();
    tokio::time::sleep(secs(2)).await;
    assert!(!read(reading).await.is_whole);
    assert_eq!(site.origin.waiting(), 1);
    site.origin.answer(part("bytes 30000-30009/100000", "\"1\"", ".........."));
    assert_eq!(read(ahead).await.text(), "..........");
}
