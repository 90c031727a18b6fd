//! Methods: what unsafe ones make stale, what POST leaves for GET, and QUERY.

use bytes::Bytes;
use http::{Request, Response};
use larder::http::{Body, NoAnswer, Policy, Settings};
use tokio::time::Instant;

use crate::support::{
    Answer, Shape, Site, answer, drip, failed, fresh, get, key, ok, over_each_shape, read, request,
    secs, settle, without_length,
};

fn with_content(method: &str, path: &str, content: &str) -> Request<Body> {
    let fields = [("content-type", "text/plain")];
    let mut request = request(method, path, &fields);
    *request.body_mut() = Bytes::from(content.to_owned()).into();
    request
}

fn query(content: &str) -> Request<Body> {
    with_content("QUERY", "/a", content)
}

over_each_shape!(an_unsafe_request_that_succeeds_removes_what_it_may_have_changed);
async fn an_unsafe_request_that_succeeds_removes_what_it_may_have_changed(shape: Shape) {
    for (method, status) in
        [("POST", 200), ("PUT", 204), ("DELETE", 202), ("PATCH", 303), ("X-OWN", 200)]
    {
        let site = Site::new(shape);
        for path in ["/a", "/b", "/c", "/d"] {
            site.fill(path, fresh("old")).await;
        }
        let fields = [("location", "/b"), ("content-location", "http://example.org/c")];
        let passed =
            site.answered(with_content(method, "/a", "change"), answer(status, &fields, "")).await;
        assert_eq!(passed.said(), format!("Larder;fwd=method;fwd-status={status};detail=method"));
        assert_eq!(site.origin.last().body, "change");
        for (path, is_there) in [("/a", false), ("/b", false), ("/c", false), ("/d", true)] {
            assert_eq!(site.store().get(key(path)).is_some(), is_there, "{method} {path}");
        }
    }
}

over_each_shape!(one_that_fails_or_is_safe_changes_nothing);
async fn one_that_fails_or_is_safe_changes_nothing(shape: Shape) {
    let harmless =
        [("POST", 400), ("PUT", 500), ("DELETE", 404), ("OPTIONS", 200), ("PROPFIND", 207)];
    for (method, status) in harmless {
        let site = Site::new(shape);
        site.fill("/a", fresh("body")).await;
        site.answered(request(method, "/a", &[]), answer(status, &[], "")).await;
        assert!(site.get("/a").await.is_hit(), "{method} {status}");
    }
}

over_each_shape!(nobody_empties_anothers_cache);
async fn nobody_empties_anothers_cache(shape: Shape) {
    let site = Site::new(shape);
    let mut other = get("/");
    *other.uri_mut() = "http://other.org/b".parse().unwrap();
    site.answered(other, fresh("body")).await;
    let fields = [("location", "http://other.org/b")];
    site.answered(request("POST", "/a", &[]), answer(200, &fields, "")).await;
    assert!(site.store().get("http://other.org/b").is_some());
}

over_each_shape!(groups_are_invalidated_within_their_origin);
async fn groups_are_invalidated_within_their_origin(shape: Shape) {
    let site = Site::new(shape);
    let grouped = |group| ok(&[("cache-control", "max-age=60"), ("cache-groups", group)], "body");
    site.fill("/a", grouped("\"one\", \"two\"")).await;
    site.fill("/b", grouped("\"two\"")).await;
    let fields = [("cache-group-invalidation", "\"one\"")];
    site.answered(request("POST", "/else", &[]), answer(200, &fields, "")).await;
    assert!(site.get("/b").await.is_hit());
    assert_eq!(site.answered(get("/a"), fresh("new")).await.text(), "new");
}

over_each_shape!(a_fetch_under_way_is_not_stored_over_an_invalidation);
async fn a_fetch_under_way_is_not_stored_over_an_invalidation(shape: Shape) {
    let site = Site::new(shape);
    let before = site.ask(get("/a"));
    settle().await;
    let fetch = site.origin.take();
    site.answered(request("POST", "/a", &[]), answer(204, &[], "")).await;
    let after = site.ask(get("/a"));
    settle().await;
    assert_eq!(site.origin.waiting(), 1, "who asks afterwards does not wait for the old one");
    assert!(fetch.send(Ok(fresh("old"))).is_ok());
    assert_eq!(read(before).await.text(), "old");
    site.origin.answer(fresh("new"));
    assert_eq!(read(after).await.text(), "new");
    settle().await;
    assert_eq!(site.get("/a").await.text(), "new");
}

over_each_shape!(a_change_is_noticed_though_its_reader_has_left);
async fn a_change_is_noticed_though_its_reader_has_left(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", fresh("old")).await;
    let reading = site.ask(request("POST", "/a", &[]));
    settle().await;
    reading.abort();
    settle().await;
    site.origin.answer(answer(204, &[], ""));
    settle().await;
    assert!(site.store().get(key("/a")).is_none());
}

over_each_shape!(an_unsafe_request_is_sent_once);
async fn an_unsafe_request_is_sent_once(shape: Shape) {
    let site = Site::new(shape);
    let reading = site.ask(request("POST", "/a", &[]));
    settle().await;
    site.origin.refuse();
    assert!(reading.await.unwrap().is_err());
    assert_eq!((site.origin.calls(), site.origin.waiting()), (1, 0));
}

over_each_shape!(the_answer_to_a_post_that_is_the_current_state_answers_later_gets);
async fn the_answer_to_a_post_that_is_the_current_state_answers_later_gets(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", fresh("old")).await;
    let fields = [("cache-control", "max-age=60"), ("content-location", "/a")];
    let posted = site.answered(with_content("POST", "/a", "new"), ok(&fields, "new")).await;
    assert_eq!(posted.text(), "new");
    let said = "Larder;fwd=method;fwd-status=200;stored;ttl=60;detail=method";
    assert_eq!(posted.said(), said);
    settle().await;
    let hit = site.get("/a").await;
    assert!(hit.is_hit(), "{hit:?}");
    assert_eq!(hit.text(), "new");
}

over_each_shape!(one_that_is_not_does_not);
async fn one_that_is_not_does_not(shape: Shape) {
    let site = Site::new(shape);
    let fields = [("cache-control", "max-age=60"), ("content-location", "/other")];
    site.answered(with_content("POST", "/a", "x"), ok(&fields, "a note")).await;
    assert_eq!(site.store().stats().entries, 0);
}

over_each_shape!(a_query_is_answered_by_what_was_stored_for_the_same_content);
async fn a_query_is_answered_by_what_was_stored_for_the_same_content(shape: Shape) {
    let site = Site::new(shape);
    assert_eq!(site.answered(query("one"), fresh("answer 1")).await.text(), "answer 1");
    assert_eq!(site.origin.last().method, "QUERY");
    assert_eq!(site.origin.last().body, "one", "its content goes on");
    let hit = site.send(query("one")).await;
    assert!(hit.is_hit(), "{hit:?}");
    assert_eq!(hit.text(), "answer 1");
    assert_eq!(site.answered(query("two"), fresh("answer 2")).await.text(), "answer 2");
    assert_eq!(site.answered(get("/a"), fresh("page")).await.text(), "page");
    let typed = with_content("QUERY", "/a", "one");
    let (mut head, body) = typed.into_parts();
    head.headers.insert("content-type", "text/html".parse().unwrap());
    let other_type = Request::from_parts(head, body);
    assert_eq!(site.answered(other_type, fresh("answer 3")).await.text(), "answer 3");
    assert_eq!(site.origin.calls(), 4);
}

over_each_shape!(queries_of_the_same_content_share_a_fetch);
async fn queries_of_the_same_content_share_a_fetch(shape: Shape) {
    let site = Site::new(shape);
    let readings: Vec<_> = (0..20).map(|_| site.ask(query("one"))).collect();
    settle().await;
    assert_eq!(site.origin.calls(), 1);
    site.origin.answer(fresh("answer"));
    for reading in readings {
        assert_eq!(read(reading).await.text(), "answer");
    }
}

over_each_shape!(a_query_with_more_content_than_is_read_passes_with_all_of_it);
async fn a_query_with_more_content_than_is_read_passes_with_all_of_it(shape: Shape) {
    let settings = Settings { max_query_bytes: 10, ..Settings::default() };
    let site = Site::with(shape, Policy::standard(), settings, |builder| builder);
    for content in ["eleven bytes", "0123456789a"] {
        for _ in 0..2 {
            let passed = site.answered(query(content), fresh("answer")).await;
            assert_eq!(passed.said(), "Larder;fwd=bypass;fwd-status=200;detail=bypass-rule");
            assert_eq!(site.origin.last().body, content);
        }
    }
    site.answered(query("0123456789"), fresh("answer")).await;
    assert!(site.send(query("0123456789")).await.is_hit());
    assert_eq!(site.store().stats().entries, 1);
}

over_each_shape!(a_query_of_a_uri_that_no_key_can_be_made_of_passes);
async fn a_query_of_a_uri_that_no_key_can_be_made_of_passes(shape: Shape) {
    let site = Site::new(shape);
    for _ in 0..2 {
        let passed = site.answered(with_content("QUERY", "/a/../b", "one"), fresh("answer")).await;
        assert_eq!(passed.said(), "Larder;fwd=bypass;fwd-status=200;detail=no-key");
        assert_eq!(site.origin.last().body, "one");
    }
    assert_eq!(site.store().stats().entries, 0);
}

over_each_shape!(a_change_of_the_uri_removes_its_queries);
async fn a_change_of_the_uri_removes_its_queries(shape: Shape) {
    let site = Site::new(shape);
    site.answered(query("one"), fresh("old")).await;
    site.answered(with_content("QUERY", "/b", "one"), fresh("kept")).await;
    let before = site.ask(query("two"));
    settle().await;
    let under_way = site.origin.take();
    site.answered(request("POST", "/a", &[]), answer(204, &[], "")).await;
    assert!(under_way.send(Ok(fresh("old"))).is_ok());
    assert_eq!(Answer::read(before.await.unwrap().unwrap()).await.text(), "old");
    settle().await;
    for content in ["one", "two"] {
        let next = site.answered(query(content), fresh("new")).await;
        assert_eq!(next.text(), "new", "{content}");
    }
    assert!(site.send(with_content("QUERY", "/b", "one")).await.is_hit());
}

over_each_shape!(a_stale_query_is_confirmed_with_its_content);
async fn a_stale_query_is_confirmed_with_its_content(shape: Shape) {
    let site = Site::new(shape);
    let tagged = || ok(&[("cache-control", "max-age=10"), ("etag", "\"1\"")], "answer");
    site.answered(query("one"), tagged()).await;
    site.clock.advance(secs(10));
    let not_modified: Response<Body> = answer(304, &[("etag", "\"1\"")], "");
    let confirmed = site.answered(query("one"), not_modified).await;
    assert_eq!((confirmed.status, confirmed.text()), (200, "answer"));
    let seen = site.origin.last();
    assert_eq!((seen.field("if-none-match"), &*seen.body), ("\"1\"", &b"one"[..]));
    assert!(site.send(query("one")).await.is_hit());
}

over_each_shape!(the_answer_to_a_post_is_not_stored_over_a_purge_while_it_arrives);
async fn the_answer_to_a_post_is_not_stored_over_a_purge_while_it_arrives(shape: Shape) {
    let site = Site::new(shape);
    let posting = site.ask(with_content("POST", "/a", "new"));
    settle().await;
    let (drip, body) = drip();
    let fields = [("cache-control", "max-age=60"), ("content-location", "/a")];
    site.origin.answer(without_length(200, &fields, body));
    drip.send("ne");
    settle().await;
    site.store().remove(key("/a"));
    drip.send("w");
    drop(drip);
    assert_eq!(read(posting).await.text(), "new");
    settle().await;
    assert_eq!(site.store().stats().entries, 0);
}

over_each_shape!(the_answer_to_a_post_waits_for_nobodys_fetch);
async fn the_answer_to_a_post_waits_for_nobodys_fetch(shape: Shape) {
    let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
        builder.max_concurrent_fetches(1)
    });
    let fetching = site.ask(get("/b"));
    settle().await;
    let fetch = site.origin.take();
    let fields = [("cache-control", "max-age=60"), ("content-location", "/a")];
    let posted = site.answered(with_content("POST", "/a", "new"), ok(&fields, "new")).await;
    assert_eq!(posted.text(), "new");
    assert!(site.get("/a").await.is_hit());
    assert!(fetch.send(Ok(fresh("body"))).is_ok());
    assert_eq!(read(fetching).await.text(), "body");
}

over_each_shape!(unsafe_requests_that_hang_keep_nobody_from_fetching);
async fn unsafe_requests_that_hang_keep_nobody_from_fetching(shape: Shape) {
    let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
        builder.max_concurrent_fetches(1)
    });
    for method in ["POST", "PUT"] {
        for _ in 0..1024 {
            site.ask(request(method, "/a", &[]));
        }
    }
    settle().await;
    assert_eq!(site.origin.waiting(), 2048);
    let reading = site.ask(get("/a"));
    settle().await;
    assert_eq!(site.origin.waiting(), 2049);
    assert!(!reading.is_finished());
}

over_each_shape!(an_unsafe_request_that_hangs_is_given_up_in_time_and_may_have_changed_something);
async fn an_unsafe_request_that_hangs_is_given_up_in_time_and_may_have_changed_something(
    shape: Shape,
) {
    for leaves in [false, true] {
        let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
            builder.hard_timeout(secs(10))
        });
        site.fill("/a", fresh("old")).await;
        let began = Instant::now();
        let posting = site.ask(with_content("POST", "/a", "change"));
        settle().await;
        if leaves {
            posting.abort();
        } else {
            let error = failed(posting).await;
            assert!(matches!(error, NoAnswer::TookTooLong { .. }), "{error}");
            assert_eq!(began.elapsed().as_secs(), 10);
        }
        tokio::time::sleep(secs(10)).await;
        assert_eq!(site.origin.waiting(), 0, "the origin is told");
        assert!(site.store().get(key("/a")).is_none());
    }
}

over_each_shape!(a_safe_request_that_passes_and_hangs_is_given_up_in_time_and_has_changed_nothing);
async fn a_safe_request_that_passes_and_hangs_is_given_up_in_time_and_has_changed_nothing(
    shape: Shape,
) {
    let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
        builder.hard_timeout(secs(10))
    });
    site.fill("/a", fresh("old")).await;
    for passing in [request("OPTIONS", "/a", &[]), with_content("REPORT", "/a", "what?")] {
        let began = Instant::now();
        let error = failed(site.ask(passing)).await;
        assert!(matches!(error, NoAnswer::TookTooLong { .. }), "{error}");
        assert_eq!((began.elapsed().as_secs(), site.origin.waiting()), (10, 0));
        assert!(site.store().get(key("/a")).is_some());
    }
}

over_each_shape!(a_request_that_passes_may_take_long_to_send);
async fn a_request_that_passes_may_take_long_to_send(shape: Shape) {
    for method in ["PUT", "PROPFIND"] {
        let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
            builder.hard_timeout(secs(10))
        });
        let (drip, body) = drip();
        let mut uploading = request(method, "/a", &[]);
        *uploading.body_mut() = body;
        let uploading = site.ask(uploading);
        for _ in 0..5 {
            tokio::time::sleep(secs(8)).await;
            drip.send("piece ");
        }
        drop(drip);
        tokio::time::sleep(secs(8)).await;
        assert_eq!(site.origin.last().body, "piece piece piece piece piece ");
        site.origin.answer(answer(204, &[], ""));
        assert_eq!(read(uploading).await.status, 204);
    }
}

over_each_shape!(a_head_is_answered_from_a_get_that_is_still_arriving);
async fn a_head_is_answered_from_a_get_that_is_still_arriving(shape: Shape) {
    let site = Site::new(shape);
    let getting = site.ask(get("/a"));
    settle().await;
    let heading = site.ask(request("HEAD", "/a", &[]));
    settle().await;
    let (drip, body) = drip();
    let fields = [("cache-control", "max-age=60"), ("content-length", "4")];
    site.origin.answer(without_length(200, &fields, body));
    let head = read(heading).await;
    assert_eq!((head.status, head.text(), &*head.field("content-length")), (200, "", "4"));
    drip.send("body");
    drop(drip);
    assert_eq!(read(getting).await.text(), "body");
    assert_eq!(site.origin.calls(), 1);
}
