//! Ranges: from a whole body, from one on its way, from parts, and the rest of a part.

use larder::http::{Body, NoAnswer, Policy, Settings};

use crate::support::{
    Answer, Drip, Reading, Shape, Site, answer, drip, failed, get, get_with, ok, over_each_shape,
    read, secs, settle, without_length,
};

const BODY: &str = "0123456789";

fn tagged() -> http::Response<Body> {
    ok(&[("cache-control", "max-age=60"), ("etag", "\"1\"")], BODY)
}

fn part(range: &str, tag: &str, body: &'static str) -> http::Response<Body> {
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

over_each_shape!(a_rest_that_does_not_come_in_time_is_given_up_as_a_head_is);
async fn a_rest_that_does_not_come_in_time_is_given_up_as_a_head_is(shape: Shape) {
    let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
        builder.hard_timeout(secs(10))
    });
    let (reading, drip) = waiting_for_the_rest(&site).await;
    assert_eq!(site.cache.arriving_bytes(), 3);
    let error = failed(reading).await;
    assert!(matches!(error, NoAnswer::TookTooLong { .. }), "{error}");
    assert!(drip.is_given_up());
    assert_eq!((site.origin.calls(), site.cache.arriving_bytes()), (2, 0));
}

over_each_shape!(a_rest_that_pauses_for_too_long_is_asked_for_as_a_whole);
async fn a_rest_that_pauses_for_too_long_is_asked_for_as_a_whole(shape: Shape) {
    let settings = Settings { idle_body_timeout: Some(secs(5)), ..Settings::default() };
    let site = Site::with(shape, Policy::standard(), settings, |builder| builder);
    let (reading, drip) = waiting_for_the_rest(&site).await;
    tokio::time::sleep(secs(4)).await;
    drip.send("8");
    tokio::time::sleep(secs(4)).await;
    assert!(!drip.is_given_up(), "it drips");
    tokio::time::sleep(secs(2)).await;
    assert!(drip.is_given_up());
    assert_eq!(site.origin.last().field("range"), "");
    site.origin.answer(tagged());
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
    let reading = site.ask(get("/a"));
    settle().await;
    site.origin.answer(part("bytes 5-9/10", "\"1\"", "56789"));
    settle().await;
    assert_eq!(site.origin.last().field("range"), "", "there is no room for it");
    site.origin.answer(tagged());
    let passed = read(reading).await;
    assert_eq!(passed.text(), BODY);
    assert!(passed.said().ends_with("detail=no-room"), "{passed:?}");
    drop(other_drip);
    assert_eq!(read(other).await.body.len(), 96);
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
