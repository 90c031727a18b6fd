//! Rules: requests bring their own, and share one cache.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use larder::http::{
    Body, BorrowedRequest, Bypass, Policy, Rules, Settings,
    policy::{
        answer_fields::AnswerFields,
        fields::{FieldLine, Fields},
        path::PathPattern,
        path_tags::PathTags,
        query::QueryRecipe,
        scheme::Scheme,
        settings::SetCookie,
    },
};

use crate::support::{
    Shape, Site, answer, get, get_with, ok, over_each_shape, request, secs, settle,
};

fn by(policy: &Arc<Policy>, mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().insert(Rules(Arc::clone(policy)));
    request
}

over_each_shape!(requests_with_other_rules_than_the_cache_share_its_room);
async fn requests_with_other_rules_than_the_cache_share_its_room(shape: Shape) {
    let site = Site::guarded(shape);
    let kept = Arc::new(Policy::guarded().default_ttl(secs(60)));
    site.answered(by(&kept, get("/kept")), ok(&[], "kept")).await;
    site.answered(get("/passed"), ok(&[], "passed")).await;
    assert!(site.send(by(&kept, get("/kept"))).await.is_hit());
    let again = site.answered(get("/passed"), ok(&[], "passed again")).await;
    assert_eq!(again.text(), "passed again");
    assert_eq!(site.store().stats().entries, 1);
    assert!(site.cache.remove("http://example.org/kept"));
    let anew = site.answered(by(&kept, get("/kept")), ok(&[], "anew")).await;
    assert_eq!(anew.text(), "anew", "a purge is one for all rules");
}

over_each_shape!(what_is_stored_is_answered_by_the_rules_of_who_asks);
async fn what_is_stored_is_answered_by_the_rules_of_who_asks(shape: Shape) {
    let site = Site::guarded(shape);
    site.fill("/a", ok(&[("cache-control", "max-age=60")], "stored")).await;
    let deaf = Arc::new(Policy::guarded().obeys_readers(false));
    let reload = || get_with("/a", &[("cache-control", "no-cache")]);
    assert!(site.send(by(&deaf, reload())).await.is_hit());
    let anew = site.answered(reload(), ok(&[("cache-control", "max-age=60")], "anew")).await;
    assert_eq!(anew.text(), "anew");
}

over_each_shape!(a_refresh_goes_by_the_rules_of_the_request_that_asked_for_it);
async fn a_refresh_goes_by_the_rules_of_the_request_that_asked_for_it(shape: Shape) {
    let site = Site::guarded(shape);
    let policy = Policy::guarded().default_ttl(secs(10)).default_stale_while_revalidate(secs(60));
    let kept = Arc::new(policy);
    site.answered(by(&kept, get("/a")), ok(&[], "old")).await;
    site.clock.advance(secs(20));
    let stale = site.send(by(&kept, get("/a"))).await;
    assert_eq!(stale.said(), "Larder;hit;ttl=-10;detail=stale-while-revalidate");
    settle().await;
    site.origin.answer(ok(&[], "new"));
    settle().await;
    let fresh = site.send(by(&kept, get("/a"))).await;
    assert_eq!((fresh.text(), fresh.is_hit()), ("new", true));
}

over_each_shape!(who_waits_together_is_answered_by_its_own_rules);
async fn who_waits_together_is_answered_by_its_own_rules(shape: Shape) {
    let site = Site::guarded(shape);
    let kept = Arc::new(Policy::guarded().default_ttl(secs(60)));
    let (leads, follows) = (site.ask(by(&kept, get("/a"))), site.ask(by(&kept, get("/a"))));
    settle().await;
    assert_eq!(site.origin.waiting(), 1);
    site.origin.answer(ok(&[], "for all"));
    for reading in [leads, follows] {
        assert_eq!(crate::support::read(reading).await.text(), "for all");
    }
    assert_eq!(site.origin.calls(), 1);
}

over_each_shape!(what_passes_is_learnt_from_by_the_rules_of_its_request);
async fn what_passes_is_learnt_from_by_the_rules_of_its_request(shape: Shape) {
    let site = Site::guarded(shape);
    let fields =
        [("cache-control", "max-age=60"), ("content-location", "/a"), ("set-cookie", "a=1")];
    let stores = Arc::new(Policy::guarded().set_cookie(SetCookie::StoreWithout));
    let post = || request("POST", "/a", &[]);
    site.answered(post(), answer(200, &fields, "refused")).await;
    assert_eq!(site.store().stats().entries, 0);
    site.answered(by(&stores, post()), answer(200, &fields, "posted")).await;
    let hit = site.send(by(&stores, get("/a"))).await;
    assert_eq!((hit.text(), hit.is_hit()), ("posted", true));
}

over_each_shape!(what_bypasses_the_cache_is_neither_stored_nor_answered_from_what_is);
async fn what_bypasses_the_cache_is_neither_stored_nor_answered_from_what_is(shape: Shape) {
    let site = Site::guarded(shape);
    let past = |mut request: Request<Body>| {
        request.extensions_mut().insert(Bypass);
        request
    };
    let fields = [("cache-control", "max-age=60"), ("content-location", "/a")];
    for request in [get("/a"), request("POST", "/a", &[]), request("QUERY", "/a", &[])] {
        let passed = site.answered(past(request), ok(&fields, "passed")).await;
        assert_eq!(passed.said(), "Larder;fwd=bypass;fwd-status=200;detail=bypass-rule");
    }
    assert_eq!(site.store().stats().entries, 0);
    site.fill("/a", ok(&fields, "stored")).await;
    let passed = site.answered(past(get("/a")), ok(&fields, "passed")).await;
    assert_eq!(passed.text(), "passed");
    let passed = site.answered(past(request("POST", "/a", &[])), ok(&fields, "passed")).await;
    assert_eq!(passed.text(), "passed");
    assert!(site.send(get("/a")).await.is_hit(), "nothing of it was let go");
}

over_each_shape!(a_fast_hit_goes_by_the_rules_it_is_given);
async fn a_fast_hit_goes_by_the_rules_it_is_given(shape: Shape) {
    let site = Site::guarded(shape);
    site.fill("/a", ok(&[("cache-control", "max-age=60")], "stored")).await;
    let lines = [FieldLine { name: b"cache-control", value: b"no-cache" }];
    let fast_hit = |policy| {
        let asked = BorrowedRequest {
            method: &Method::GET,
            scheme: Scheme::Http,
            host: b"example.org",
            target: b"/a",
            fields: Fields::of_lines(&lines),
            shows_key: false,
            policy,
        };
        site.cache.fast_hit(asked, &mut Vec::new()).is_some()
    };
    let deaf = Policy::guarded().obeys_readers(false);
    assert_eq!([None, Some(&deaf)].map(fast_hit), [false, true]);
}

over_each_shape!(what_is_stored_is_as_fresh_as_the_rules_of_who_asks_have_it);
async fn what_is_stored_is_as_fresh_as_the_rules_of_who_asks_have_it(shape: Shape) {
    let site = Site::guarded(shape);
    site.fill("/a", ok(&[("cache-control", "max-age=60")], "stored")).await;
    site.clock.advance(secs(10));
    let with = |policy: Policy| by(&Arc::new(policy), get("/a"));
    let longer = site.send(with(Policy::guarded().ttl_override(secs(100)))).await;
    assert_eq!(longer.said(), "Larder;hit;ttl=90;detail=hit");
    assert_eq!(site.send(get("/a")).await.said(), "Larder;hit;ttl=50;detail=hit");
    let shorter = site.answered(with(Policy::guarded().max_ttl(secs(5))), ok(&[], "anew")).await;
    assert!(!shorter.is_hit());
}

over_each_shape!(a_parameter_that_does_not_matter_reaches_neither_the_key_nor_the_origin);
async fn a_parameter_that_does_not_matter_reaches_neither_the_key_nor_the_origin(shape: Shape) {
    let recipe = QueryRecipe::default().without(&["utm_*"]).unwrap().sorted(true);
    let policy = Policy::guarded().default_ttl(secs(60)).query(recipe);
    let site = Site::with(shape, policy, Settings::default(), |builder| builder);
    let reading = site.ask(get("/a?utm_source=x&b=2&a=1"));
    settle().await;
    assert_eq!(site.origin.last().uri.path_and_query().unwrap(), "/a?a=1&b=2");
    site.origin.answer(ok(&[], "one for all"));
    assert_eq!(crate::support::read(reading).await.text(), "one for all");
    for path in ["/a?a=1&b=2", "/a?b=2&utm_medium=y&a=1", "/a?b=2&a=1&utm%5Fid=3"] {
        assert!(site.send(get(path)).await.is_hit(), "{path}");
    }
    // What changes it may name what does not matter as well.
    site.answered(request("POST", "/a?b=2&a=1&utm_source=z", &[]), ok(&[], "done")).await;
    let anew = site.answered(get("/a?a=1&b=2"), ok(&[], "anew")).await;
    assert_eq!(anew.text(), "anew");
    // And so may a purge of the URL that readers ask for.
    assert!(site.cache.remove("http://example.org/a?utm_source=z&b=2&a=1"));
    let purged = site.answered(get("/a?a=1&b=2"), ok(&[], "purged")).await;
    assert_eq!(purged.text(), "purged");
    // By whichever rules the last who told it says.
    site.cache.stored_by(|_| vec![Arc::new(Policy::guarded())]);
    assert!(!site.cache.remove("http://example.org/a?b=2&a=1"));
    assert!(site.cache.remove("http://example.org/a?a=1&b=2"));
}

over_each_shape!(fields_are_changed_on_all_answers_and_not_in_what_is_stored);
async fn fields_are_changed_on_all_answers_and_not_in_what_is_stored(shape: Shape) {
    let site = Site::guarded(shape);
    let frames = (HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY"));
    let fields = AnswerFields::new(vec![frames], vec![HeaderName::from_static("server")]).unwrap();
    let policy = Arc::new(Policy::guarded().answer_fields(fields));
    let said = [("cache-control", "max-age=60"), ("server", "old"), ("x-frame-options", "ALLOW")];
    let check = |headers: &HeaderMap| {
        assert_eq!(headers.get_all("x-frame-options").iter().collect::<Vec<_>>(), ["DENY"]);
        assert!(!headers.contains_key("server"));
    };
    check(&site.answered(by(&policy, get("/a")), ok(&said, "stored")).await.headers);
    let hit = site.send(by(&policy, get("/a"))).await;
    check(&hit.headers);
    assert!(hit.is_hit());
    check(&site.answered(by(&policy, request("POST", "/b", &[])), ok(&said, "")).await.headers);
    let as_it_came = site.send(get("/a")).await;
    assert_eq!(
        (&as_it_came.headers["server"], as_it_came.is_hit()),
        (&"old".parse().unwrap(), true)
    );
    let asked = BorrowedRequest {
        method: &Method::GET,
        scheme: Scheme::Http,
        host: b"example.org",
        target: b"/a",
        fields: Fields::of_lines(&[]),
        shows_key: false,
        policy: Some(&policy),
    };
    let mut head = Vec::new();
    site.cache.fast_hit(asked, &mut head).unwrap();
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains("\r\nx-frame-options: DENY\r\n"), "{head}");
    assert!(!head.contains("ALLOW") && !head.contains("server: "), "{head}");
}

over_each_shape!(a_tag_that_a_rule_gives_is_one_to_purge_by);
async fn a_tag_that_a_rule_gives_is_one_to_purge_by(shape: Shape) {
    let path = PathPattern::parse("/posts/{id}").unwrap();
    let tags = PathTags::new(Some(path), &["post:{id}"]).unwrap();
    let policy = Policy::guarded().default_ttl(secs(60)).tags(tags);
    let site = Site::with(shape, policy, Settings::default(), |builder| builder);
    site.answered(get("/posts/1"), ok(&[], "one")).await;
    site.answered(get("/posts/2"), ok(&[], "two")).await;
    site.store().purge_tag("post:1");
    assert!(site.send(get("/posts/2")).await.is_hit());
    let anew = site.answered(get("/posts/1"), ok(&[], "anew")).await;
    assert_eq!(anew.text(), "anew");
}

over_each_shape!(answers_of_two_partitions_are_never_taken_for_each_other);
async fn answers_of_two_partitions_are_never_taken_for_each_other(shape: Shape) {
    let site = Site::guarded(shape);
    let policy = |name: &str| {
        let policy = Policy::guarded().default_ttl(secs(60));
        Arc::new(policy.partition(Some(name.to_owned())))
    };
    let (beta, old) = (policy("beta"), policy("old"));
    site.answered(by(&beta, get("/a")), ok(&[], "beta")).await;
    let other = site.answered(by(&old, get("/a")), ok(&[], "old")).await;
    assert_eq!(other.text(), "old");
    let none = site.answered(get("/a"), ok(&[("cache-control", "max-age=60")], "none")).await;
    assert_eq!(none.text(), "none");
    for (request, text) in
        [(by(&beta, get("/a")), "beta"), (by(&old, get("/a")), "old"), (get("/a"), "none")]
    {
        let hit = site.send(request).await;
        assert_eq!((hit.text(), hit.is_hit()), (text, true));
    }
    // Together they wait for nobody else's.
    let both = [site.ask(by(&beta, get("/b"))), site.ask(by(&old, get("/b")))];
    settle().await;
    assert_eq!(site.origin.waiting(), 2);
    for reading in both {
        site.origin.answer(ok(&[], "own"));
        assert_eq!(crate::support::read(reading).await.text(), "own");
    }
    assert!(site.cache.remove("http://example.org/a"), "a purge is one for all");
}
