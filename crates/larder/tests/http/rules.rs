//! Rules: requests bring their own, and share one cache.

use std::sync::Arc;

use http::{Method, Request};
use larder::http::{
    Body, BorrowedRequest, Bypass, Policy, Rules,
    policy::{
        fields::{FieldLine, Fields},
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
