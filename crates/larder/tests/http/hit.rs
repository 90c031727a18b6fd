//! Misses and hits, and what each says of itself.

use larder::{
    Purge,
    http::{Body, Policy, Settings, ShowKey},
};

use crate::support::{
    Answer, Shape, Site, answer, fresh, get, get_with, ok, over_each_shape, read, request, secs,
    settle, without_length,
};

over_each_shape!(a_miss_asks_the_origin_and_a_hit_does_not);
async fn a_miss_asks_the_origin_and_a_hit_does_not(shape: Shape) {
    let site = Site::new(shape);
    let miss = site.answered(get("/a"), fresh("body")).await;
    assert_eq!((miss.status, miss.text()), (200, "body"));
    assert_eq!(miss.said(), "Larder;fwd=uri-miss;fwd-status=200;stored;ttl=60;detail=uri-miss");
    assert_eq!(miss.field("age"), "", "it comes from the origin");
    assert!(miss.field("server-timing").starts_with("origin;dur="));

    site.clock.advance(secs(7));
    let hit = site.get("/a").await;
    assert_eq!((hit.status, hit.text()), (200, "body"));
    assert_eq!(hit.said(), "Larder;hit;ttl=53;detail=hit");
    assert_eq!(hit.field("age"), "7");
    assert!(hit.field("server-timing").starts_with("cache;desc=hit;dur=0."), "{hit:?}");
    assert_eq!(hit.field("content-length"), "4");
    assert_eq!(site.origin.calls(), 1);

    let stats = site.store().stats();
    assert_eq!((stats.hits, stats.misses, stats.fetches, stats.entries), (1, 1, 1, 1));
}

over_each_shape!(the_origin_sees_the_request_as_it_came);
async fn the_origin_sees_the_request_as_it_came(shape: Shape) {
    let site = Site::new(shape);
    let asked = get_with("/a?b=%7e", &[("accept", "text/html"), ("x-own", "1")]);
    site.answered(asked, fresh("body")).await;
    let seen = site.origin.last();
    assert_eq!(seen.uri, "http://example.org/a?b=%7e");
    assert_eq!((seen.field("accept"), seen.field("x-own")), ("text/html", "1"));
}

over_each_shape!(uris_that_are_equivalent_share_an_entry);
async fn uris_that_are_equivalent_share_an_entry(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a?b=~", fresh("body")).await;
    assert!(site.get("/a?b=%7e").await.is_hit());
    let mut shouted = get("/a?b=~");
    *shouted.uri_mut() = "http://EXAMPLE.org:80/a?b=~".parse().unwrap();
    assert!(site.send(shouted).await.is_hit());
}

over_each_shape!(what_caches_before_us_said_stays_in_front);
async fn what_caches_before_us_said_stays_in_front(shape: Shape) {
    let site = Site::new(shape);
    let fields = [("cache-control", "max-age=60"), ("cache-status", "Inner;hit"), ("age", "9")];
    let miss = site.answered(get("/a"), ok(&fields, "body")).await;
    assert!(miss.said().starts_with("Inner;hit, Larder;fwd=uri-miss;"), "{miss:?}");
    assert_eq!(miss.field("age"), "9");
    let hit = site.get("/a").await;
    assert_eq!(hit.said(), "Inner;hit, Larder;hit;ttl=51;detail=hit");
}

over_each_shape!(the_key_is_shown_to_those_who_may_see_it);
async fn the_key_is_shown_to_those_who_may_see_it(shape: Shape) {
    let site = Site::new(shape);
    let show = |path| {
        let mut request = get(path);
        request.extensions_mut().insert(ShowKey);
        request
    };
    let miss = site.answered(show("/a"), fresh("body")).await;
    assert!(miss.said().contains(";key=\"http://example.org/a\""), "{miss:?}");
    assert!(site.send(show("/a")).await.said().contains(";key=\"http://example.org/a\""));
    assert!(!site.get("/a").await.said().contains("key="));
    let mut post = show("/a");
    *post.method_mut() = "POST".parse().unwrap();
    let post = site.answered(post, ok(&[], "")).await;
    assert_eq!(
        post.said(),
        "Larder;fwd=method;fwd-status=200;key=\"http://example.org/a\";detail=method"
    );
}

over_each_shape!(an_answer_that_may_not_be_stored_says_why);
async fn an_answer_that_may_not_be_stored_says_why(shape: Shape) {
    let why = [
        ("no-store", "no-store"),
        ("private, max-age=60", "private"),
        ("max-age=0", "no-freshness"),
    ];
    for (number, (directives, reason)) in why.into_iter().enumerate() {
        let site = Site::new(shape);
        let path = format!("/{number}");
        for _ in 0..2 {
            let answer = ok(&[("cache-control", directives)], "body");
            let miss = site.answered(get(&path), answer).await;
            assert_eq!(
                miss.said(),
                format!("Larder;fwd=uri-miss;fwd-status=200;detail={reason}"),
                "{directives}"
            );
        }
        assert_eq!(site.origin.calls(), 2);
    }
}

over_each_shape!(only_if_cached_is_answered_from_the_cache_or_refused);
async fn only_if_cached_is_answered_from_the_cache_or_refused(shape: Shape) {
    let site = Site::new(shape);
    let asks = || get_with("/a", &[("cache-control", "only-if-cached")]);
    let refused = site.send(asks()).await;
    assert_eq!(refused.status, 504);
    assert_eq!(refused.field("content-type"), "application/problem+json");
    assert_eq!(refused.said(), "Larder;detail=only-if-cached");
    site.fill("/a", fresh("body")).await;
    assert_eq!(site.send(asks()).await.text(), "body");
    site.clock.advance(secs(60));
    assert_eq!(site.send(asks()).await.status, 504);
    assert_eq!(site.origin.calls(), 1);
}

over_each_shape!(a_head_is_answered_from_a_stored_get);
async fn a_head_is_answered_from_a_stored_get(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", fresh("body")).await;
    let head = site.send(request("HEAD", "/a", &[])).await;
    assert!(head.is_hit());
    assert_eq!((head.status, head.text(), &*head.field("content-length")), (200, "", "4"));
}

over_each_shape!(a_head_that_misses_goes_to_the_origin_and_stores_nothing);
async fn a_head_that_misses_goes_to_the_origin_and_stores_nothing(shape: Shape) {
    let site = Site::new(shape);
    let head = request("HEAD", "/a", &[]);
    let miss = site.answered(head, answer(200, &[("cache-control", "max-age=60")], "")).await;
    assert_eq!(miss.said(), "Larder;fwd=uri-miss;fwd-status=200;detail=method");
    assert_eq!(site.store().stats().entries, 0);
}

over_each_shape!(what_forgot_to_say_vary_hides_nothing_that_was_chosen_for_others);
async fn what_forgot_to_say_vary_hides_nothing_that_was_chosen_for_others(shape: Shape) {
    let site = Site::new(shape);
    let from = |origin| get_with("/a", &[("origin", origin)]);
    for (request, fields, text) in [
        (from("http://one"), &[("vary", "origin")][..], "one"),
        (from("http://two"), &[("vary", "origin")], "two"),
        (get("/a"), &[], "nobody"),
    ] {
        let fields = [&[("cache-control", "max-age=60")], fields].concat();
        assert!(!site.answered(request, ok(&fields, text)).await.is_hit(), "{text}");
        site.clock.advance(secs(1));
    }
    for (request, text) in [
        (from("http://one"), "one"),
        (from("http://two"), "two"),
        // Nothing says that it is not for these.
        (from("http://three"), "nobody"),
        (get("/a"), "nobody"),
    ] {
        let hit = site.send(request).await;
        assert_eq!((hit.is_hit(), hit.text()), (true, text));
    }
}

over_each_shape!(no_head_makes_what_was_purged_fresh_again_unless_it_proves_that_it_is);
async fn no_head_makes_what_was_purged_fresh_again_unless_it_proves_that_it_is(shape: Shape) {
    let cached = ("cache-control", "max-age=60");
    for (policy, is_purged, tag, is_hit) in [
        (Policy::standard(), true, None, false),
        (Policy::standard(), true, Some("\"1\""), true),
        // To the letter: nothing speaks against it.
        (Policy::standard(), false, None, true),
        (Policy::guarded(), true, None, false),
        (Policy::guarded(), false, None, false),
        (Policy::guarded(), true, Some("\"1\""), true),
        (Policy::guarded(), false, Some("\"1\""), true),
    ] {
        let site = Site::with(shape, policy, Settings::default(), |builder| builder);
        let fields = |tag: Option<&'static str>| {
            [cached].into_iter().chain(tag.map(|tag| ("etag", tag))).collect::<Vec<_>>()
        };
        site.fill("/a", ok(&fields(tag), "old!")).await;
        match is_purged {
            true => drop(site.store().purge(Purge::everything()).await.unwrap()),
            false => site.clock.advance(secs(61)),
        }
        let mut head = answer(200, &fields(tag), "");
        head.headers_mut().insert("content-length", 4.into());
        site.answered(request("HEAD", "/a", &[]), head).await;
        let then = site.ask(get("/a"));
        settle().await;
        if !is_hit {
            site.origin.answer(fresh("new!"));
        }
        let then = read(then).await;
        let text = if is_hit { "old!" } else { "new!" };
        assert_eq!((then.is_hit(), then.text()), (is_hit, text), "{is_purged} {tag:?}");
    }
}

over_each_shape!(the_answer_to_a_head_updates_what_is_stored_for_get);
async fn the_answer_to_a_head_updates_what_is_stored_for_get(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", ok(&[("cache-control", "max-age=60"), ("etag", "\"1\"")], "body")).await;
    site.clock.advance(secs(60));
    let fields = [("cache-control", "max-age=100"), ("etag", "\"1\""), ("x-new", "1")];
    let head = request("HEAD", "/a", &[]);
    let mut with = answer(200, &fields, "");
    with.headers_mut().insert("content-length", 4.into());
    site.answered(head, with).await;
    let hit = site.get("/a").await;
    assert!(hit.is_hit(), "{hit:?}");
    assert_eq!((hit.text(), &*hit.field("x-new"), &*hit.field("age")), ("body", "1", "0"));
}

over_each_shape!(a_head_whose_validator_differs_drops_what_is_stored);
async fn a_head_whose_validator_differs_drops_what_is_stored(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a", ok(&[("cache-control", "max-age=60"), ("etag", "\"1\"")], "old")).await;
    let head = request("HEAD", "/a", &[("cache-control", "no-cache")]);
    site.answered(head, answer(200, &[("etag", "\"2\"")], "")).await;
    let next = site.answered(get("/a"), fresh("new")).await;
    assert_eq!(next.text(), "new");
}

over_each_shape!(the_answer_to_a_slow_head_brings_nothing_older_back);
async fn the_answer_to_a_slow_head_brings_nothing_older_back(shape: Shape) {
    for is_head_asked_first in [false, true] {
        let site = Site::new(shape);
        site.fill("/a", fresh("old")).await;
        let head = || site.ask(request("HEAD", "/a", &[("cache-control", "no-cache")]));
        let alone = || {
            let fields = [("cache-control", "no-cache"), ("if-match", "\"x\"")];
            site.ask(get_with("/a", &fields))
        };
        let first = if is_head_asked_first { head() } else { alone() };
        settle().await;
        site.clock.advance(secs(1));
        let second = if is_head_asked_first { alone() } else { head() };
        settle().await;
        let (of_first, of_second) = (site.origin.take(), site.origin.take());
        let (of_head, of_get) =
            if is_head_asked_first { (of_first, of_second) } else { (of_second, of_first) };
        assert!(of_get.send(Ok(fresh("new"))).is_ok());
        settle().await;
        // It names nothing by which the two could be told apart.
        let bare = without_length(200, &[("cache-control", "max-age=99")], Body::empty());
        assert!(of_head.send(Ok(bare)).is_ok());
        for reading in [first, second] {
            Answer::read(reading.await.unwrap().unwrap()).await;
        }
        settle().await;
        assert_eq!(site.get("/a").await.text(), "new");
    }
}

over_each_shape!(of_two_answers_the_one_asked_for_later_stays);
async fn of_two_answers_the_one_asked_for_later_stays(shape: Shape) {
    // Each goes alone, so that their ways cross.
    let site = Site::new(shape);
    let asks = || get_with("/a", &[("if-match", "\"x\"")]);
    let first = site.ask(asks());
    settle().await;
    let slow = site.origin.take();
    site.clock.advance(secs(1));
    site.answered(asks(), fresh("newer")).await;
    assert!(slow.send(Ok(fresh("older"))).is_ok());
    assert_eq!(Answer::read(first.await.unwrap().unwrap()).await.text(), "older");
    settle().await;
    assert_eq!(site.get("/a").await.text(), "newer");
}

over_each_shape!(a_get_with_content_passes_and_leaves_nothing_behind);
async fn a_get_with_content_passes_and_leaves_nothing_behind(shape: Shape) {
    let site = Site::new(shape);
    let mut asked = get("/a");
    *asked.body_mut() = bytes::Bytes::from("content").into();
    let passed = site.answered(asked, fresh("for this content")).await;
    assert_eq!(passed.said(), "Larder;fwd=bypass;fwd-status=200;detail=bypass-rule");
    assert_eq!(site.origin.last().body, "content");
    assert_eq!(site.store().stats().entries, 0);
}

over_each_shape!(a_uri_that_no_key_can_be_made_of_passes);
async fn a_uri_that_no_key_can_be_made_of_passes(shape: Shape) {
    let site = Site::new(shape);
    let long = format!("/{}", "a".repeat(9000));
    // A service may read all of these but the first as "/b", and a purge of that would miss their copies.
    let paths = [&long[..], "/a/../b", "/./b", "/a/%2e%2E/b", "/a/%2E./b", "/b/.", "/b/.."];
    for (calls, path) in paths.iter().flat_map(|path| [path, path]).enumerate() {
        let passed = site.answered(get(path), fresh("body")).await;
        assert_eq!(passed.said(), "Larder;fwd=bypass;fwd-status=200;detail=no-key", "{path}");
        assert_eq!(site.origin.calls(), calls + 1);
    }
    assert_eq!(site.store().stats().entries, 0);
    // These only look like it.
    for path in ["/.well-known/a", "/a..", "/...", "/b?x=/../c", "/a.b/c"] {
        site.answered(get(path), fresh("body")).await;
        assert!(site.get(path).await.said().contains(";hit;"), "{path}");
    }
}

over_each_shape!(an_answer_with_256_tags_is_stored_and_one_with_more_is_not);
async fn an_answer_with_256_tags_is_stored_and_one_with_more_is_not(shape: Shape) {
    for (count, reason) in [(256, None), (257, Some("too-many-tags"))] {
        let site = Site::new(shape.holding(8 << 10));
        let tags = (0..count).map(|tag| format!("t{tag}")).collect::<Vec<_>>().join(" ");
        let fields = [("cache-control", "max-age=60"), ("surrogate-key", &*tags)];
        let miss = site.answered(get("/a"), ok(&fields, "body")).await;
        assert_eq!(miss.text(), "body");
        match reason {
            None => assert!(miss.said().contains(";stored;")),
            Some(reason) => assert!(miss.said().ends_with(&format!("detail={reason}"))),
        }
        assert_eq!(site.store().stats().entries, u64::from(reason.is_none()));
    }
}

over_each_shape!(a_field_that_may_not_be_kept_reaches_the_one_who_asked);
async fn a_field_that_may_not_be_kept_reaches_the_one_who_asked(shape: Shape) {
    let site = Site::new(shape);
    let fields = [("cache-control", "max-age=60, private=\"x-own\""), ("x-own", "secret")];
    let miss = site.answered(get("/a"), ok(&fields, "body")).await;
    assert_eq!(miss.field("x-own"), "secret");
    assert_eq!(site.get("/a").await.field("x-own"), "");
}

over_each_shape!(an_answer_without_content_is_stored_whatever_length_it_names);
async fn an_answer_without_content_is_stored_whatever_length_it_names(shape: Shape) {
    let site = Site::new(shape);
    let mut with = answer(204, &[("cache-control", "max-age=60")], "");
    with.headers_mut().insert("content-length", 5.into());
    let miss = site.answered(get("/a"), with).await;
    assert_eq!((miss.status, miss.text()), (204, ""));
    assert!(site.get("/a").await.is_hit());
}

over_each_shape!(guarded_keeps_what_looks_personal_from_others);
async fn guarded_keeps_what_looks_personal_from_others(shape: Shape) {
    let site = Site::guarded(shape);
    let fields = [("cache-control", "max-age=60"), ("set-cookie", "id=1")];
    let miss = site.answered(get("/a"), ok(&fields, "for one")).await;
    assert!(miss.said().ends_with("detail=set-cookie"), "{miss:?}");
    assert_eq!(miss.field("set-cookie"), "id=1");
    let with_cookie = || get_with("/b", &[("cookie", "id=1")]);
    let miss = site.answered(with_cookie(), fresh("for one")).await;
    assert!(miss.said().ends_with("detail=cookie"), "{miss:?}");
    site.fill("/b", fresh("for all")).await;
    assert!(site.get("/b").await.is_hit());
    let miss = site.answered(with_cookie(), fresh("for one")).await;
    assert_eq!(miss.text(), "for one");
    let public = ok(&[("cache-control", "public, max-age=60")], "for all");
    site.answered(get_with("/c", &[("cookie", "id=1")]), public).await;
    assert!(site.send(get_with("/c", &[("cookie", "id=2")])).await.is_hit());
}

over_each_shape!(the_origin_is_asked_in_time_or_given_up);
async fn the_origin_is_asked_in_time_or_given_up(shape: Shape) {
    let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
        builder.hard_timeout(secs(5))
    });
    let reading = site.ask(get("/a"));
    let error = reading.await.unwrap().unwrap_err();
    assert!(matches!(error, larder::http::NoAnswer::TookTooLong { limit } if limit == secs(5)));
    assert_eq!(site.origin.waiting(), 0, "its call was dropped");
    // The next one starts anew.
    assert_eq!(site.answered(get("/a"), fresh("body")).await.text(), "body");
}
