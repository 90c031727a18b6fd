//! What the cache says it did, in the words of RFC 9211: one row for each way an answer comes about.

use http::Request;
use larder::http::{Body, Policy, Settings};

use crate::support::{
    Answer, Shape, Site, answer, fresh, get, get_with, key, ok, over_each_shape, read, request,
    secs, settle,
};

const TAGGED: [(&str, &str); 2] = [("cache-control", "max-age=60"), ("etag", "\"1\"")];

fn guarded(shape: Shape) -> Site {
    Site::with(shape, Policy::guarded(), Settings::default(), |builder| builder)
}

/// What is said of a request whose origin answers with this.
async fn asked(site: &Site, request: Request<Body>, with: http::Response<Body>) -> String {
    site.answered(request, with).await.said()
}

over_each_shape!(a_miss_is_told_by_what_was_looked_for);
async fn a_miss_is_told_by_what_was_looked_for(shape: Shape) {
    let site = Site::new(shape);
    let varies = || ok(&[("cache-control", "max-age=60"), ("vary", "accept")], "body");
    let said = asked(&site, get_with("/a", &[("accept", "x")]), varies()).await;
    assert_eq!(said, "Larder;fwd=uri-miss;fwd-status=200;stored;ttl=60;detail=uri-miss");
    let said = asked(&site, get_with("/a", &[("accept", "y")]), varies()).await;
    assert_eq!(said, "Larder;fwd=vary-miss;fwd-status=200;stored;ttl=60;detail=vary-miss");
    site.store().remove(key("/a"));
    let said = asked(&site, get_with("/a", &[("accept", "x")]), varies()).await;
    assert_eq!(said, "Larder;fwd=uri-miss;fwd-status=200;stored;ttl=60;detail=uri-miss");
}

over_each_shape!(what_is_not_stored_says_why_not);
async fn what_is_not_stored_says_why_not(shape: Shape) {
    let site = Site::new(shape);
    for (fields, detail) in [
        ([("cache-control", "no-store")], "no-store"),
        ([("cache-control", "private")], "private"),
        ([("date", "Tue, 03 Mar 2026 12:00:00 GMT")], "no-freshness"),
    ] {
        let said = asked(&site, get("/a"), ok(&fields, "body")).await;
        assert_eq!(said, format!("Larder;fwd=uri-miss;fwd-status=200;detail={detail}"));
    }
    let said = asked(&site, get("/a"), answer(503, &[], "broken")).await;
    assert_eq!(said, "Larder;fwd=uri-miss;fwd-status=503;detail=status");
}

over_each_shape!(what_comes_from_the_cache_says_how_long_it_is_fresh_or_has_been_stale);
async fn what_comes_from_the_cache_says_how_long_it_is_fresh_or_has_been_stale(shape: Shape) {
    let site = Site::new(shape);
    let swr = ok(&[("cache-control", "max-age=60, stale-while-revalidate=60")], "body");
    site.fill("/a", swr).await;
    site.clock.advance(secs(20));
    assert_eq!(site.get("/a").await.said(), "Larder;hit;ttl=40;detail=hit");
    site.clock.advance(secs(60));
    let max_stale = site.send(get_with("/a", &[("cache-control", "max-stale=30")])).await;
    assert_eq!(max_stale.said(), "Larder;hit;ttl=-20;detail=max-stale");
    let stale = site.get("/a").await.said();
    assert_eq!(stale, "Larder;hit;ttl=-20;detail=stale-while-revalidate");
}

over_each_shape!(what_is_stale_and_what_may_not_be_used_unasked_is_stale);
async fn what_is_stale_and_what_may_not_be_used_unasked_is_stale(shape: Shape) {
    for (control, age, detail) in
        [("max-age=60", 60, "expired"), ("max-age=60, no-cache", 0, "no-cache")]
    {
        let fields = [("cache-control", control), ("etag", "\"1\"")];
        let site = Site::new(shape);
        site.fill("/a", ok(&fields, "body")).await;
        site.clock.advance(secs(age));
        let said = asked(&site, get("/a"), answer(304, &fields, "")).await;
        let ttl = "stored;ttl=60";
        assert_eq!(said, format!("Larder;fwd=stale;fwd-status=304;{ttl};detail={detail}"));
    }
    let site = Site::new(shape);
    site.fill("/a", ok(&TAGGED, "body")).await;
    site.store().soft_remove(key("/a"));
    let said = asked(&site, get("/a"), fresh("new")).await;
    assert_eq!(said, "Larder;fwd=stale;fwd-status=200;stored;ttl=60;detail=expired");
}

over_each_shape!(what_a_soft_purge_has_made_stale_is_stale_since_then);
async fn what_a_soft_purge_has_made_stale_is_stale_since_then(shape: Shape) {
    let fields = [("cache-control", "max-age=60, stale-while-revalidate=60"), ("etag", "\"1\"")];
    let site = Site::new(shape);
    site.fill("/a", ok(&fields, "body")).await;
    site.clock.advance(secs(10));
    site.store().soft_remove(key("/a"));
    site.clock.advance(secs(5));
    let said = site.get("/a").await.said();
    assert_eq!(said, "Larder;hit;ttl=-5;detail=stale-while-revalidate");
}

over_each_shape!(a_fresh_answer_that_the_request_forbids_to_use_is_told_by_the_request);
async fn a_fresh_answer_that_the_request_forbids_to_use_is_told_by_the_request(shape: Shape) {
    for (field, detail) in [
        (("cache-control", "no-cache"), "request-no-cache"),
        (("cache-control", "max-age=1"), "request-max-age"),
        (("cache-control", "min-fresh=59"), "request-min-fresh"),
        (("if-match", "\"2\""), "precondition"),
    ] {
        let site = Site::new(shape);
        site.fill("/a", ok(&TAGGED, "body")).await;
        site.clock.advance(secs(2));
        let said = asked(&site, get_with("/a", &[field]), fresh("new")).await;
        let ttl = "stored;ttl=60";
        assert_eq!(said, format!("Larder;fwd=request;fwd-status=200;{ttl};detail={detail}"));
    }
}

over_each_shape!(so_is_one_that_a_personal_request_does_not_get_and_a_stale_one_is_stale);
async fn so_is_one_that_a_personal_request_does_not_get_and_a_stale_one_is_stale(shape: Shape) {
    for (name, detail) in [("cookie", "cookie"), ("authorization", "authorization")] {
        let site = guarded(shape);
        site.fill("/a", ok(&TAGGED, "body")).await;
        let personal = || get_with("/a", &[(name, "a=b")]);
        let said = asked(&site, personal(), fresh("own")).await;
        assert_eq!(said, format!("Larder;fwd=request;fwd-status=200;detail={detail}"));
        site.clock.advance(secs(60));
        let said = asked(&site, personal(), fresh("own")).await;
        assert_eq!(said, format!("Larder;fwd=stale;fwd-status=200;detail={detail}"));
    }
    let site = Site::new(shape);
    site.fill("/a", ok(&TAGGED, "body")).await;
    site.clock.advance(secs(60));
    let said = asked(&site, get_with("/a", &[("if-match", "\"2\"")]), fresh("new")).await;
    assert_eq!(said, "Larder;fwd=stale;fwd-status=200;stored;ttl=60;detail=expired");
}

over_each_shape!(a_part_that_is_not_the_one_asked_for_is_partial);
async fn a_part_that_is_not_the_one_asked_for_is_partial(shape: Shape) {
    let site = Site::new(shape);
    let fields = [TAGGED[0], TAGGED[1], ("content-range", "bytes 0-1/4")];
    site.answered(get_with("/a", &[("range", "bytes=0-1")]), answer(206, &fields, "bo")).await;
    let fields = [TAGGED[0], TAGGED[1], ("content-range", "bytes 2-3/4")];
    let said = asked(&site, get("/a"), answer(206, &fields, "dy")).await;
    assert_eq!(said, "Larder;fwd=partial;fwd-status=206;stored;ttl=60;detail=partial-miss");
}

over_each_shape!(a_follower_was_collapsed_and_has_the_reason_it_would_have_gone_for);
async fn a_follower_was_collapsed_and_has_the_reason_it_would_have_gone_for(shape: Shape) {
    for (is_stale, word) in [(false, "uri-miss"), (true, "stale")] {
        let site = Site::new(shape);
        if is_stale {
            site.fill("/a", fresh("old")).await;
            site.clock.advance(secs(60));
        }
        let (leader, follower) = (site.ask(get("/a")), site.ask(get("/a")));
        settle().await;
        site.origin.answer(fresh("body"));
        let said = [read(leader).await.said(), read(follower).await.said()];
        let detail = if is_stale { "expired" } else { "uri-miss" };
        let rest = "fwd-status=200;stored;ttl=60";
        let [leaders, followers] = [
            format!("Larder;fwd={word};{rest};detail={detail}"),
            format!("Larder;fwd={word};fwd-status=200;stored;collapsed;ttl=60;detail=collapsed"),
        ];
        assert_eq!(said, [leaders, followers]);
    }
}

over_each_shape!(what_the_cache_keeps_out_of_says_so);
async fn what_the_cache_keeps_out_of_says_so(shape: Shape) {
    let site = Site::new(shape);
    let mut with_content = get("/a");
    *with_content.body_mut() = bytes::Bytes::from("content").into();
    let said = asked(&site, with_content, fresh("body")).await;
    assert_eq!(said, "Larder;fwd=bypass;fwd-status=200;detail=bypass-rule");
    let said = asked(&site, request("DELETE", "/a", &[]), answer(204, &[], "")).await;
    assert_eq!(said, "Larder;fwd=method;fwd-status=204;detail=method");
    // Its answer is stored where it says what it is of.
    let fields = [TAGGED[0], ("content-location", "/a")];
    let said = asked(&site, request("POST", "/a", &[]), ok(&fields, "body")).await;
    assert_eq!(said, "Larder;fwd=method;fwd-status=200;stored;ttl=60;detail=method");
}

over_each_shape!(what_stands_in_is_a_hit_only_where_the_origin_gave_no_answer);
async fn what_stands_in_is_a_hit_only_where_the_origin_gave_no_answer(shape: Shape) {
    let windows = || ok(&[("cache-control", "max-age=10, stale-if-error=60")], "old");
    let site = Site::new(shape);
    site.fill("/a", windows()).await;
    site.clock.advance(secs(40));

    let readings = [site.ask(get("/a")), site.ask(get("/a"))];
    settle().await;
    site.origin.answer(answer(503, &[], "broken"));
    for reading in readings {
        let stale: Answer = read(reading).await;
        let said = "Larder;fwd=stale;fwd-status=503;ttl=-30;detail=stale-if-error";
        assert_eq!((stale.text(), &*stale.said()), ("old", said));
    }

    let reading = site.ask(get("/a"));
    settle().await;
    site.origin.refuse();
    assert_eq!(read(reading).await.said(), "Larder;hit;ttl=-30;detail=stale-if-error");
}

over_each_shape!(a_request_that_wants_no_origin_is_neither_a_hit_nor_forwarded);
async fn a_request_that_wants_no_origin_is_neither_a_hit_nor_forwarded(shape: Shape) {
    let site = Site::new(shape);
    let refused = site.send(get_with("/a", &[("cache-control", "only-if-cached")])).await;
    assert_eq!((refused.status, &*refused.said()), (504, "Larder;detail=only-if-cached"));
}

over_each_shape!(an_origin_that_fails_leaves_nothing_to_say);
async fn an_origin_that_fails_leaves_nothing_to_say(shape: Shape) {
    let site = Site::new(shape);
    let reading = site.ask(get("/a"));
    settle().await;
    site.origin.refuse();
    assert!(reading.await.unwrap().is_err(), "whoever asked tells it, in Proxy-Status");
}
