//! What one request could do to all others: errors it has caused, fields that steer the origin, cookies
//! that are for one, streams that have no end.

use http::HeaderName;
use larder::http::{Policy, Settings, policy::settings::SetCookie};

use crate::support::{
    Shape, Site, answer, drip, fresh, get, get_with, ok, over_each_shape, read, request, secs,
    settle, without_length,
};

fn ruled(shape: Shape, policy: Policy) -> Site {
    Site::with(shape, policy, Settings::default(), |builder| builder)
}

over_each_shape!(an_error_that_one_request_has_caused_is_for_that_one);
async fn an_error_that_one_request_has_caused_is_for_that_one(shape: Shape) {
    let large = "x".repeat(6000);
    let fields = [("cache-control", "public, max-age=60")];
    for policy in [Policy::guarded(), Policy::standard(), Policy::guarded().default_ttl(secs(300))]
    {
        for status in [400, 404, 405, 413, 431, 500, 501] {
            let site = ruled(shape, policy.clone());
            let asks = get_with("/a", &[("x-oversized", &large)]);
            let refused = site.answered(asks, answer(status, &fields, "too large")).await;
            assert_eq!(refused.status, status);
            // Nor does it keep the others from waiting for each other.
            let readers: Vec<_> = (0..10).map(|_| site.ask(get("/a"))).collect();
            settle().await;
            assert_eq!(site.origin.calls(), 2, "{status}");
            site.origin.answer(fresh("the page"));
            for reader in readers {
                assert_eq!(read(reader).await.text(), "the page", "{status}");
            }
        }
    }
}

over_each_shape!(what_steers_the_origin_does_not_reach_it_where_others_would_get_the_answer);
async fn what_steers_the_origin_does_not_reach_it_where_others_would_get_the_answer(shape: Shape) {
    let steering = [
        ("x-http-method-override", "DELETE"),
        ("x-original-url", "/admin"),
        ("x-rewrite-url", "/admin"),
        ("x_http_method", "PUT"),
    ];
    for method in ["GET", "HEAD", "QUERY"] {
        let site = Site::guarded(shape);
        site.answered(request(method, "/a", &steering), fresh("the page")).await;
        let seen = site.origin.last();
        assert!(seen.headers.keys().all(|name| !name.as_str().starts_with('x')), "{seen:?}");
    }
    // Others are not the cache's business.
    let site = Site::guarded(shape);
    for asks in [request("POST", "/a", &steering), request("PURGE", "/a", &steering)] {
        site.answered(asks, answer(204, &[], "")).await;
        assert_eq!(site.origin.last().field("x-http-method-override"), "DELETE");
    }
    let site = Site::new(shape);
    site.answered(get_with("/a", &steering), fresh("deleted")).await;
    assert_eq!(site.origin.last().field("x-http-method-override"), "DELETE");
}

over_each_shape!(a_refresh_is_not_steered_by_who_caused_it);
async fn a_refresh_is_not_steered_by_who_caused_it(shape: Shape) {
    let site = Site::guarded(shape);
    let windows = [("cache-control", "max-age=10, stale-while-revalidate=60")];
    site.fill("/a", ok(&windows, "the page")).await;
    site.clock.advance(secs(11));
    site.send(get_with("/a", &[("x-original-url", "/admin"), ("if-match", "*")])).await;
    settle().await;
    let seen = site.origin.last();
    assert_eq!((seen.field("x-original-url"), seen.field("if-match")), ("", ""));
}

over_each_shape!(a_field_that_is_part_of_the_key_reaches_the_origin_and_tells_answers_apart);
async fn a_field_that_is_part_of_the_key_reaches_the_origin_and_tells_answers_apart(shape: Shape) {
    let keyed = vec![HeaderName::from_static("x-original-url")];
    let site = ruled(shape, Policy::guarded().key_fields(keyed));
    let admin = || get_with("/a", &[("x-original-url", "/admin")]);
    site.answered(admin(), fresh("admin")).await;
    assert_eq!(site.origin.last().field("x-original-url"), "/admin");
    site.answered(get("/a"), fresh("the page")).await;
    assert_eq!(site.send(admin()).await.text(), "admin");
    assert_eq!(site.get("/a").await.text(), "the page");
    assert_eq!(site.origin.calls(), 2);
    // Nor do they wait for each other.
    let site =
        ruled(shape, Policy::guarded().key_fields(vec![HeaderName::from_static("x-original-url")]));
    let (one, other) = (site.ask(admin()), site.ask(get("/a")));
    settle().await;
    assert_eq!(site.origin.waiting(), 2);
    site.origin.answer(fresh("admin"));
    site.origin.answer(fresh("the page"));
    assert_eq!((read(one).await.text(), read(other).await.text()), ("admin", "the page"));
}

over_each_shape!(what_was_answered_for_another_host_is_not_what_all_others_get);
async fn what_was_answered_for_another_host_is_not_what_all_others_get(shape: Shape) {
    let site = Site::guarded(shape);
    let evil = || get_with("/a", &[("x-forwarded-host", "evil")]);
    let (bad, good) = (site.ask(evil()), site.ask(get("/a")));
    settle().await;
    site.origin.answer(fresh("go to evil"));
    settle().await;
    assert_eq!(site.origin.waiting(), 1, "the other asks for itself");
    assert_eq!(site.origin.last().field("x-forwarded-host"), "");
    site.origin.answer(fresh("the page"));
    assert_eq!((read(bad).await.text(), read(good).await.text()), ("go to evil", "the page"));
    settle().await;
    assert_eq!(site.get("/a").await.text(), "the page");
    assert_eq!(site.origin.calls(), 2);
}

over_each_shape!(a_cookie_that_is_left_out_of_what_is_stored_is_for_who_was_asked_for);
async fn a_cookie_that_is_left_out_of_what_is_stored_is_for_who_was_asked_for(shape: Shape) {
    let fields = [("cache-control", "public, max-age=60"), ("set-cookie", "id=1")];
    let site = ruled(shape, Policy::guarded().set_cookie(SetCookie::StoreWithout));
    let (leader, follower) = (site.ask(get("/a")), site.ask(get("/a")));
    settle().await;
    site.origin.answer(ok(&fields, "the page"));
    let (leader, follower) = (read(leader).await, read(follower).await);
    assert_eq!(
        (leader.field("set-cookie"), follower.field("set-cookie")),
        ("id=1".into(), "".into())
    );
    let hit = site.get("/a").await;
    assert!(hit.is_hit() && hit.field("set-cookie").is_empty(), "{hit:?}");

    let site = Site::guarded(shape);
    for id in ["id=1", "id=2"] {
        let fields = [("cache-control", "public, s-maxage=60"), ("set-cookie", id)];
        let miss = site.answered(get("/a"), ok(&fields, "the page")).await;
        assert_eq!(miss.field("set-cookie"), id);
        assert!(miss.said().ends_with("detail=set-cookie"), "{miss:?}");
    }
}

over_each_shape!(a_stream_without_end_is_never_replayed);
async fn a_stream_without_end_is_never_replayed(shape: Shape) {
    let policies = [
        Policy::standard(),
        Policy::guarded().default_ttl(secs(300)),
        Policy::guarded().ttl_override(secs(300)),
    ];
    for policy in policies {
        for media_type in ["text/event-stream", "multipart/x-mixed-replace;boundary=a"] {
            let site = ruled(shape, policy.clone());
            let fields = [("content-type", media_type), ("cache-control", "public, max-age=60")];
            let mut open = Vec::new();
            for number in 1..4 {
                let reading = site.ask(get("/events"));
                settle().await;
                assert_eq!(site.origin.waiting(), 1, "it does not wait for another's");
                let (drip, body) = drip();
                site.origin.answer(without_length(200, &fields, body));
                drip.send(format!("event {number}"));
                let answer = reading.await.unwrap().unwrap();
                let said = answer.headers()["cache-status"].to_str().unwrap().to_owned();
                assert!(said.ends_with("detail=endless"), "{said}");
                open.push((drip, answer));
            }
            for (drip, answer) in open {
                drop(drip);
                assert_eq!(crate::support::Answer::read(answer).await.body.len(), "event 1".len());
            }
            assert_eq!(site.store().stats().entries, 0);
        }
    }
}

over_each_shape!(readers_of_private_answers_keep_their_conditions_and_the_origin_judges_them);
async fn readers_of_private_answers_keep_their_conditions_and_the_origin_judges_them(shape: Shape) {
    for fields in [&[][..], &[("cookie", "id=1")], &[("authorization", "Basic eDp5")]] {
        let site = Site::guarded(shape);
        let private = [("cache-control", "private, max-age=0"), ("etag", "\"v1\"")];
        let asks = |more: &[(&'static str, &'static str)]| get_with("/a", &[fields, more].concat());
        site.answered(asks(&[]), ok(&private, "for one")).await;
        for _ in 0..3 {
            let asks = asks(&[("if-none-match", "\"v1\"")]);
            let held = site.answered(asks, answer(304, &private, "")).await;
            assert_eq!(site.origin.last().field("if-none-match"), "\"v1\"");
            assert_eq!((held.status, held.field("etag")), (304, "\"v1\"".into()), "{fields:?}");
            site.clock.advance(secs(900));
        }
        // Who asks without conditions finds out when it has become an answer for all.
        site.answered(get("/a"), fresh("for all")).await;
        assert!(site.get("/a").await.is_hit());
    }
}

over_each_shape!(a_rest_that_is_not_there_any_more_is_asked_for_as_a_whole);
async fn a_rest_that_is_not_there_any_more_is_asked_for_as_a_whole(shape: Shape) {
    let site = Site::new(shape);
    let part = [("cache-control", "max-age=60"), ("content-range", "bytes 0-4/10")];
    site.answered(get_with("/a", &[("range", "bytes=0-4")]), answer(206, &part, "01234")).await;
    let reading = site.ask(get("/a"));
    settle().await;
    assert_eq!(site.origin.last().field("range"), "bytes=5-");
    site.origin.answer(answer(416, &[("content-range", "bytes */3")], ""));
    settle().await;
    assert_eq!(site.origin.last().field("range"), "");
    site.origin.answer(fresh("new"));
    assert_eq!(read(reading).await.text(), "new");
}
