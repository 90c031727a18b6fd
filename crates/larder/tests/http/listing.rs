//! Listing: stored responses are told with their fields, variants and tags, judged by the rules of now.

use std::sync::Arc;

use larder::{
    GoneCause, GoneLimits, Scope,
    http::{Policy, Settings},
    listing::{Freshness, HeldState, ListQuery, Order},
};

use crate::support::{Shape, Site, fresh, get, get_with, key, ok, over_each_shape, secs};

over_each_shape!(a_response_is_told_with_its_fields_and_none_of_its_secrets);
async fn a_response_is_told_with_its_fields_and_none_of_its_secrets(shape: Shape) {
    let policy = Policy::standard();
    let site = Site::with(shape.holding(4096), policy, Settings::default(), |builder| builder);
    let fields = [
        ("cache-control", "max-age=60, stale-while-revalidate=30, stale-if-error=300"),
        ("set-cookie", "session=4711"),
        ("vary", "accept-encoding, x-tenant"),
        ("surrogate-key", "post:1 posts"),
        ("x-api-key", "secret"),
    ];
    let request = get_with("/a", &[("accept-encoding", "br"), ("x-tenant", "acme")]);
    site.answered(request, ok(&fields, "brotli")).await;
    site.answered(get("/a"), ok(&fields, "plain text")).await;
    site.clock.advance(secs(70));
    let held = site.cache.held("HTTP://Example.org:80/a", None).unwrap();
    assert_eq!((held.held.key.as_str(), held.held.variants), (key("/a").as_str(), 2));
    assert_eq!(held.held.tags, ["post:1", "posts"]);
    assert_eq!(held.held.state, HeldState::StaleUsable);
    assert_eq!(held.held.freshness, Freshness::OverFor(secs(10)));
    assert_eq!(held.held.stale_while_revalidate, secs(30));
    assert_eq!(held.held.stale_if_error, secs(300));
    let told = format!("{:?}", held.variants);
    assert!(!told.contains("4711") && !told.contains("secret"), "{told}");
    assert!(!told.contains("acme"), "a field that may tell who asks: {told}");
    let plain = held.variants.iter().position(|variant| variant.body_bytes == 10).unwrap();
    let brotli = &held.variants[1 - plain];
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert!(brotli.fields.contains(&pair("set-cookie", "(hidden)")), "{:?}", brotli.fields);
    assert_eq!(brotli.differs_by, [pair("accept-encoding", "br"), pair("x-tenant", "(hidden)")]);
    let absent = ["accept-encoding", "x-tenant"].map(|name| pair(name, "(absent)"));
    assert_eq!(held.variants[plain].differs_by, absent);
    let body = |variant, most| {
        let beginning = site.cache.beginning_of_body(&key("/a"), variant, most);
        beginning.map(|beginning| beginning.bytes)
    };
    assert_eq!(body(plain, 5).as_deref(), Some(&b"plain"[..]));
    assert_eq!(body(plain, 1 << 20).as_deref(), Some(&b"plain text"[..]));
    assert_eq!((body(2, 5), body(plain, 0)), (None, Some(Vec::new())));
    assert!(site.cache.held("/a", None).is_none());
}

over_each_shape!(states_follow_the_rules_of_the_key_and_purges);
async fn states_follow_the_rules_of_the_key_and_purges(shape: Shape) {
    let site = Site::new(shape);
    let fields = [("cache-control", "max-age=60, stale-if-error=100"), ("surrogate-key", "t")];
    site.fill("/a", ok(&fields, "a")).await;
    let state = || site.cache.held(&key("/a"), None).map(|held| held.held.state);
    assert_eq!(state(), Some(HeldState::Fresh));
    let short = Arc::new(Policy::standard().max_ttl(secs(1)));
    let rules = |_: &str| Some(Arc::clone(&short));
    site.clock.advance(secs(10));
    let judged = site.cache.held(&key("/a"), Some(&rules)).unwrap().held;
    assert_eq!(judged.freshness, Freshness::OverFor(secs(9)));
    site.store().soft_purge_tag("t");
    site.clock.advance(secs(3));
    assert_eq!(state(), Some(HeldState::Rescue));
    let held = site.cache.held(&key("/a"), None).unwrap().held;
    assert_eq!(held.freshness, Freshness::OverFor(secs(3)));
    site.store().purge_tag("t");
    let held = site.cache.held(&key("/a"), None).unwrap();
    assert_eq!((held.held.state, held.variants[0].state), (HeldState::Purged, HeldState::Purged));
}

over_each_shape!(responses_are_listed_by_when_their_freshness_ends);
async fn responses_are_listed_by_when_their_freshness_ends(shape: Shape) {
    let site = Site::new(shape.holding(4096));
    for (path, seconds) in [("/b", 60), ("/a", 600), ("/c", 5)] {
        let control = format!("max-age={seconds}");
        site.fill(path, ok(&[("cache-control", &control)], "x")).await;
    }
    let listed = |query: &ListQuery| {
        let listed = site.cache.list(query, None, None);
        listed.rows.into_iter().map(|row| row.key).collect::<Vec<_>>()
    };
    let query = ListQuery::new(Order::Expires, 10);
    assert_eq!(listed(&query), [key("/c"), key("/b"), key("/a")]);
    let mut query = ListQuery::new(Order::Key, 10);
    query.scopes = vec![Scope::Prefix("HTTP://EXAMPLE.org:80/b".to_owned())];
    assert_eq!(listed(&query), [key("/b")]);
    let query = ListQuery::new(Order::Key, 10);
    let wanted = site.cache.list(&query, None, Some(&|key: &str| !key.ends_with('b')));
    assert_eq!((wanted.total, wanted.rows.len()), (2, 2));
}

over_each_shape!(tags_are_called_as_the_responses_call_them);
async fn tags_are_called_as_the_responses_call_them(shape: Shape) {
    let site = Site::new(shape.holding(4096));
    for path in ["/a", "/b"] {
        let fields = [
            ("cache-control", "max-age=60"),
            ("surrogate-key", &path[1..]),
            ("cache-groups", "\"shop\""),
        ];
        site.fill(path, ok(&fields, "x")).await;
    }
    let listed = site.cache.list_tags(10).tags;
    let mut tags: Vec<_> = listed.iter().map(|tag| (tag.tag.as_str(), tag.entries)).collect();
    tags.sort_unstable();
    assert_eq!(tags, [("a", 1), ("b", 1), ("group http://example.org shop", 2)]);
    let would = site.cache.would_touch(&[Scope::Key("HTTP://example.org:80/a".to_owned())]);
    assert_eq!(would.entries, 1);
}

over_each_shape!(what_went_is_found_by_its_uri_in_any_spelling);
async fn what_went_is_found_by_its_uri_in_any_spelling(shape: Shape) {
    let site = Site::new(shape);
    site.store().remember_gone(GoneLimits::default());
    site.fill("/a", fresh("a")).await;
    assert!(site.cache.remove("HTTP://example.org:80/a"));
    let gone = site.cache.gone("http://EXAMPLE.org/%61").unwrap();
    assert_eq!((gone.cause, gone.key.as_str()), (GoneCause::Purged, key("/a").as_str()));
    assert_eq!(gone.purge.unwrap().what, "key HTTP://example.org:80/a");
}
