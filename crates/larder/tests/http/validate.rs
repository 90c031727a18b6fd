//! Validation: ours with the origin, and the readers' with us.

use larder::http::Body;

use crate::support::{
    Answer, Shape, Site, answer, get, get_with, ok, over_each_shape, read, request, secs, settle,
    without_length,
};

fn tagged(tag: &str, body: &'static str) -> http::Response<larder::http::Body> {
    ok(&[("cache-control", "max-age=10"), ("etag", tag)], body)
}

over_each_shape!(a_stale_answer_that_the_origin_confirms_is_served_with_its_new_fields);
async fn a_stale_answer_that_the_origin_confirms_is_served_with_its_new_fields(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", tagged("\"1\"", "body")).await;
    site.clock.advance(secs(10));
    let update = [("cache-control", "max-age=50"), ("etag", "\"1\""), ("x-new", "1")];
    let confirmed = site.answered(get("/a"), answer(304, &update, "")).await;
    assert_eq!(site.origin.last().field("if-none-match"), "\"1\"");
    assert_eq!((confirmed.status, confirmed.text()), (200, "body"));
    assert_eq!(confirmed.field("x-new"), "1");
    assert_eq!(confirmed.said(), "Larder;fwd=stale;fwd-status=304;stored;ttl=50;detail=expired");
    let hit = site.get("/a").await;
    assert_eq!((hit.text(), &*hit.field("age")), ("body", "0"));
    assert_eq!((&*hit.field("x-new"), &*hit.field("content-length")), ("1", "4"));
}

over_each_shape!(a_new_answer_on_revalidation_replaces_the_old_one);
async fn a_new_answer_on_revalidation_replaces_the_old_one(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", tagged("\"1\"", "old")).await;
    site.clock.advance(secs(10));
    assert_eq!(site.answered(get("/a"), tagged("\"2\"", "new")).await.text(), "new");
    assert_eq!(site.get("/a").await.text(), "new");
    assert_eq!(site.store().stats().entries, 1);
}

over_each_shape!(a_304_about_something_else_makes_us_ask_for_all_of_it);
async fn a_304_about_something_else_makes_us_ask_for_all_of_it(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", tagged("\"1\"", "old")).await;
    site.clock.advance(secs(10));
    let reading = site.ask(get("/a"));
    settle().await;
    site.origin.answer(answer(304, &[("etag", "\"other\"")], ""));
    settle().await;
    assert_eq!(site.origin.last().field("if-none-match"), "");
    site.origin.answer(tagged("\"2\"", "new"));
    assert_eq!(read(reading).await.text(), "new");
    assert_eq!(site.origin.calls(), 3);
}

over_each_shape!(an_update_that_forbids_to_keep_it_drops_it_and_its_reader_is_answered);
async fn an_update_that_forbids_to_keep_it_drops_it_and_its_reader_is_answered(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", tagged("\"1\"", "body")).await;
    site.clock.advance(secs(10));
    let update = [("cache-control", "no-store"), ("etag", "\"1\"")];
    let last = site.answered(get("/a"), answer(304, &update, "")).await;
    assert_eq!((last.status, last.text()), (200, "body"));
    assert_eq!(last.said(), "Larder;fwd=stale;fwd-status=304;detail=no-store");
    assert_eq!(site.store().stats().entries, 0);
}

over_each_shape!(a_variant_that_is_confirmed_for_another_request_answers_both);
async fn a_variant_that_is_confirmed_for_another_request_answers_both(shape: Shape) {
    let site = Site::new(shape);
    let fields = |tag| [("cache-control", "max-age=100"), ("vary", "x-lang"), ("etag", tag)];
    for (lang, tag, body) in [("de", "\"d\"", "deutsch"), ("fr", "\"f\"", "français")] {
        let asks = get_with("/a", &[("x-lang", lang)]);
        site.answered(asks, ok(&fields(tag), body)).await;
    }
    let asks = || get_with("/a", &[("x-lang", "at")]);
    let reading = site.ask(asks());
    settle().await;
    let offered = site.origin.last().field("if-none-match").to_owned();
    assert!(offered.contains("\"d\"") && offered.contains("\"f\""), "{offered}");
    site.origin.answer(answer(304, &fields("\"d\""), ""));
    assert_eq!(read(reading).await.text(), "deutsch");
    for (lang, body) in [("at", "deutsch"), ("de", "deutsch"), ("fr", "français")] {
        let hit = site.send(get_with("/a", &[("x-lang", lang)])).await;
        assert!(hit.is_hit(), "{lang}: {hit:?}");
        assert_eq!(hit.text(), body);
    }
    assert_eq!(site.origin.calls(), 3);
}

over_each_shape!(a_304_that_does_not_name_one_of_several_variants_is_no_answer);
async fn a_304_that_does_not_name_one_of_several_variants_is_no_answer(shape: Shape) {
    let date = "Mon, 01 Jan 2024 00:00:00 GMT";
    let fields = |tag| {
        let made = ("date", "Mon, 01 Jan 2024 00:01:00 GMT");
        let fresh = ("cache-control", "max-age=1000000000");
        [fresh, made, ("vary", "x-lang"), ("etag", tag), ("last-modified", date)]
    };
    let tagged_alike = [("vary", "x-lang"), ("etag", "\"d\""), ("content-encoding", "gzip")];
    for not_modified in [&[("last-modified", date)][..], &[("etag", "\"d\"")]] {
        let site = Site::new(shape);
        let asks = |lang| get_with("/a", &[("x-lang", lang)]);
        site.answered(asks("de"), ok(&fields("\"d\""), "deutsch")).await;
        site.answered(asks("fr"), ok(&fields("\"f\""), "français")).await;
        let zipped = [&tagged_alike[..], &[("cache-control", "max-age=100")]].concat();
        site.answered(asks("zip"), ok(&zipped, "zipped")).await;
        let reading = site.ask(asks("at"));
        settle().await;
        assert!(site.origin.last().field("if-none-match").contains("\"f\""));
        site.origin.answer(answer(304, not_modified, ""));
        settle().await;
        assert_eq!(site.origin.last().field("if-none-match"), "", "{not_modified:?}");
        site.origin.answer(ok(&fields("\"a\""), "schwyzerdütsch"));
        assert_eq!(read(reading).await.text(), "schwyzerdütsch");
    }
}

over_each_shape!(a_head_of_one_reader_says_nothing_of_what_is_stored_for_others);
async fn a_head_of_one_reader_says_nothing_of_what_is_stored_for_others(shape: Shape) {
    let personal = [("authorization", "x"), ("cache-control", "no-cache")];
    for (fields, tag, is_kept) in [
        (&personal[..], "\"1\"", true),
        (&[("cache-control", "no-store, no-cache")], "\"1\"", true),
        (&[("cache-control", "no-cache")], "\"2\"", false),
    ] {
        let site = Site::new(shape);
        site.fill("/a", tagged("\"1\"", "body")).await;
        let head = [("cache-control", "max-age=10"), ("etag", tag)];
        let answer = without_length(200, &head, Body::empty());
        site.answered(request("HEAD", "/a", fields), answer).await;
        assert_eq!(site.origin.calls(), 2);
        assert_eq!(site.store().stats().entries == 1, is_kept, "{fields:?}");
    }
}

over_each_shape!(a_slow_confirmation_brings_nothing_older_back);
async fn a_slow_confirmation_brings_nothing_older_back(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", tagged("\"1\"", "old")).await;
    site.clock.advance(secs(10));
    let first = site.ask(get("/a"));
    settle().await;
    let slow = site.origin.take();
    // One that goes alone overtakes it.
    let alone = get_with("/a", &[("if-match", "\"x\"")]);
    site.answered(alone, tagged("\"2\"", "new")).await;
    assert!(slow.send(Ok(answer(304, &[("etag", "\"1\"")], ""))).is_ok());
    assert_eq!(Answer::read(first.await.unwrap().unwrap()).await.text(), "old");
    settle().await;
    assert_eq!(site.get("/a").await.text(), "new");
}

over_each_shape!(what_is_purged_before_a_reader_leads_is_not_confirmed);
async fn what_is_purged_before_a_reader_leads_is_not_confirmed(shape: Shape) {
    let site = Site::new(shape);
    site.fill(
        "/a",
        ok(&[("cache-control", "max-age=10"), ("etag", "\"1\""), ("xkey", "t")], "old"),
    )
    .await;
    site.clock.advance(secs(10));
    // It waits for another's fetch, which is then purged under it.
    let first = site.ask(get("/a"));
    settle().await;
    let second = site.ask(get("/a"));
    settle().await;
    site.store().purge_tag("t");
    site.origin.refuse();
    settle().await;
    assert!(first.await.unwrap().is_err(), "what could have stood in is purged");
    assert!(second.await.unwrap().is_err());
    let third = site.ask(get("/a"));
    settle().await;
    assert_eq!(site.origin.last().field("if-none-match"), "");
    site.origin.answer(tagged("\"1\"", "new"));
    assert_eq!(read(third).await.text(), "new");
}

over_each_shape!(a_readers_conditions_are_answered_from_what_is_stored);
async fn a_readers_conditions_are_answered_from_what_is_stored(shape: Shape) {
    let site = Site::new(shape);
    let date = "Mon, 01 Jan 2024 00:00:00 GMT";
    let fields = [("cache-control", "max-age=60"), ("etag", "\"1\""), ("last-modified", date)];
    site.fill("/a", ok(&fields, "body")).await;
    let asks = |field: (&str, &str)| site.send(get_with("/a", &[field]));
    let not_modified = asks(("if-none-match", "W/\"1\", \"x\"")).await;
    assert_eq!((not_modified.status, not_modified.text()), (304, ""));
    assert_eq!(not_modified.field("etag"), "\"1\"");
    assert!(not_modified.is_hit());
    assert_eq!(asks(("if-none-match", "\"2\"")).await.status, 200);
    assert_eq!(asks(("if-none-match", "*")).await.status, 304);
    assert_eq!(asks(("if-modified-since", date)).await.status, 304);
    assert_eq!(asks(("if-modified-since", "Sun, 31 Dec 2023 00:00:00 GMT")).await.status, 200);
    assert_eq!(site.origin.calls(), 1);
}

over_each_shape!(a_conditional_miss_fetches_all_and_is_answered_by_its_condition);
async fn a_conditional_miss_fetches_all_and_is_answered_by_its_condition(shape: Shape) {
    let site = Site::new(shape);
    let asks = get_with("/a", &[("if-none-match", "\"1\"")]);
    let miss = site.answered(asks, tagged("\"1\"", "body")).await;
    assert_eq!(site.origin.last().field("if-none-match"), "");
    assert_eq!((miss.status, miss.text()), (304, ""));
    settle().await;
    assert_eq!(site.get("/a").await.text(), "body");
}

over_each_shape!(conditions_that_only_the_origin_can_judge_go_there);
async fn conditions_that_only_the_origin_can_judge_go_there(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", tagged("\"1\"", "body")).await;
    site.clock.advance(secs(10));
    let failed =
        site.answered(get_with("/a", &[("if-match", "\"2\"")]), answer(412, &[], "")).await;
    assert_eq!(failed.status, 412);
    assert_eq!(site.origin.last().field("if-match"), "\"2\"");
}
