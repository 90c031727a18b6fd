//! A purge is a purge: nothing older than it is served to anybody who asks after it.

use bytes::Bytes;
use larder::{
    Cache, Clock, Scope, Tier, TierState,
    codec::{Codec, CodecError},
    http::{Body, HttpCache, Policy, Variants},
    lower::{InProcess, LowerTier},
};

use crate::support::{
    Answer, Shape, Site, drip, fresh, get, key, ok, over_each_shape, read, request, secs, settle,
    without_length,
};

type Counting = fn(&HttpCache) -> usize;

over_each_shape!(keys_and_prefixes_are_found_however_they_are_spelt);
async fn keys_and_prefixes_are_found_however_they_are_spelt(shape: Shape) {
    let purges: [(&str, Counting); 6] = [
        ("remove", |cache| cache.remove("HTTP://Example.org:80/%61").into()),
        ("soft_remove", |cache| cache.soft_remove("http://EXAMPLE.org:/a").into()),
        ("purge_prefix", |cache| cache.purge_prefix("HTTP://Example.org:80/%6")),
        ("soft_purge_prefix", |cache| cache.soft_purge_prefix("HTTP://Example.org:80/")),
        ("purge_prefix without an end", |cache| cache.purge_prefix("http://Example.org:8")),
        ("purge_prefix as it is stored", |cache| cache.purge_prefix("http://example.org/a")),
    ];
    for (name, purge) in purges {
        let site = Site::new(shape);
        site.fill("/a", ok(&[("cache-control", "max-age=60")], "old")).await;
        assert_eq!(purge(&site.cache), 1, "{name}");
        let next = site.answered(get("/a"), ok(&[("cache-control", "max-age=60")], "new")).await;
        assert_eq!(next.text(), "new", "{name}");
    }
}

type Purge = fn(&Cache<Variants>);

const HARD: [(&str, Purge); 7] = [
    ("remove", |cache| {
        cache.remove("http://example.org/a");
    }),
    ("clear", |cache| {
        cache.clear();
    }),
    ("purge_prefix", |cache| {
        cache.purge_prefix("http://example.org/");
    }),
    ("purge_tag of Surrogate-Key", |cache| cache.purge_tag("one")),
    ("purge_tag of Cache-Tag", |cache| cache.purge_tag("three four")),
    ("purge_tag of xkey", |cache| cache.purge_tag("five")),
    ("purge_tag of a group", |cache| cache.purge_tag("group http://example.org six")),
];

const SOFT: [(&str, Purge); 4] = [
    ("soft_remove", |cache| {
        cache.soft_remove("http://example.org/a");
    }),
    ("soft_clear", Cache::soft_clear),
    ("soft_purge_prefix", |cache| {
        cache.soft_purge_prefix("http://example.org/");
    }),
    ("soft_purge_tag", |cache| cache.soft_purge_tag("two")),
];

const FIELDS: [(&str, &str); 6] = [
    ("cache-control", "max-age=60, stale-while-revalidate=60, stale-if-error=60"),
    ("etag", "\"1\""),
    ("surrogate-key", "one two"),
    ("cache-tag", "three four"),
    ("xkey", "five"),
    ("cache-groups", "\"six\""),
];

over_each_shape!(what_is_purged_hard_is_gone);
async fn what_is_purged_hard_is_gone(shape: Shape) {
    for (name, purge) in HARD {
        let site = Site::new(shape);
        site.fill("/a", ok(&FIELDS, "old")).await;
        purge(site.store());
        let reading = site.ask(get("/a"));
        settle().await;
        assert_eq!(site.origin.last().field("if-none-match"), "", "{name}");
        site.origin.answer(ok(&FIELDS, "new"));
        let miss = read(reading).await;
        assert_eq!(miss.text(), "new", "{name}");
        assert!(miss.said().contains("fwd=uri-miss"), "{name}: {miss:?}");
        settle().await;
        assert_eq!(site.get("/a").await.text(), "new", "{name}");
    }
}

over_each_shape!(what_is_purged_softly_is_refreshed_behind_its_readers);
async fn what_is_purged_softly_is_refreshed_behind_its_readers(shape: Shape) {
    for (name, purge) in SOFT {
        let site = Site::new(shape);
        site.fill("/a", ok(&FIELDS, "old")).await;
        purge(site.store());
        let stale = site.get("/a").await;
        assert_eq!(stale.text(), "old", "{name}");
        assert!(stale.said().ends_with("detail=stale-while-revalidate"), "{name}: {stale:?}");
        settle().await;
        assert_eq!(site.origin.last().field("if-none-match"), "\"1\"", "{name}");
        site.origin.answer(ok(&FIELDS, "new"));
        settle().await;
        let hit = site.get("/a").await;
        assert_eq!((hit.text(), hit.is_hit()), ("new", true), "{name}");
        assert!(hit.said().ends_with("detail=hit"), "{name}");
    }
}

over_each_shape!(the_window_of_a_soft_purge_closes_at_its_end);
async fn the_window_of_a_soft_purge_closes_at_its_end(shape: Shape) {
    for (name, purge) in SOFT {
        let site = Site::new(shape);
        site.fill("/a", ok(&FIELDS, "old")).await;
        purge(site.store());
        site.clock.advance(secs(60));
        let asks = request("GET", "/a", &[("cache-control", "only-if-cached")]);
        assert_eq!(site.send(asks).await.status, 504, "{name}");
    }
}

over_each_shape!(a_purge_while_it_is_fetched_is_not_undone);
async fn a_purge_while_it_is_fetched_is_not_undone(shape: Shape) {
    // What a soft purge of a tag means for an answer under way is told in a test of its own.
    let soft = SOFT.into_iter().filter(|(name, _)| *name != "soft_purge_tag");
    for (name, purge) in HARD.into_iter().chain(soft) {
        let site = Site::new(shape);
        let before = site.ask(get("/a"));
        settle().await;
        let old = site.origin.take();
        purge(site.store());
        let after = site.ask(get("/a"));
        settle().await;
        assert!(old.send(Ok(ok(&FIELDS, "old"))).is_ok());
        settle().await;
        // Some purges are met only once the answer says what its tags are.
        assert_eq!(site.origin.waiting(), 1, "{name}");
        assert_eq!(Answer::read(before.await.unwrap().unwrap()).await.text(), "old", "{name}");
        site.origin.answer(ok(&FIELDS, "new"));
        assert_eq!(read(after).await.text(), "new", "{name}");
        settle().await;
        assert_eq!(site.get("/a").await.text(), "new", "{name}");
        assert_eq!(site.origin.calls(), 2, "{name}");
    }
}

over_each_shape!(an_answer_that_a_purge_overtook_is_not_said_to_be_stored);
async fn an_answer_that_a_purge_overtook_is_not_said_to_be_stored(shape: Shape) {
    // Tags are looked at when it is stored, and an answer with a body has been told by then.
    let purges = HARD.into_iter().chain(SOFT).filter(|(name, _)| !name.contains("tag"));
    for (name, purge) in purges {
        for (kind, answer) in [
            ("a new one", ok(&FIELDS, "old")),
            ("a confirmed one", without_length(304, &FIELDS, Body::empty())),
        ] {
            let site = Site::new(shape);
            if kind == "a confirmed one" {
                site.fill("/a", ok(&[("etag", "\"1\""), ("cache-control", "max-age=0")], "old"))
                    .await;
            }
            let reading = site.ask(get("/a"));
            settle().await;
            purge(site.store());
            site.origin.answer(answer);
            let said = read(reading).await.said();
            assert!(!said.contains(";stored"), "{name}, {kind}: {said}");
            assert!(said.ends_with("detail=purged"), "{name}, {kind}: {said}");
        }
    }
}

over_each_shape!(what_was_on_its_way_at_a_soft_purge_of_its_tag_is_stored_as_stale_and_refreshed);
async fn what_was_on_its_way_at_a_soft_purge_of_its_tag_is_stored_as_stale_and_refreshed(
    shape: Shape,
) {
    let site = Site::new(shape);
    let before = site.ask(get("/a"));
    settle().await;
    let old = site.origin.take();
    site.store().soft_purge_tag("one");
    let after = site.ask(get("/a"));
    settle().await;
    assert!(old.send(Ok(ok(&FIELDS, "old"))).is_ok());
    assert_eq!(Answer::read(before.await.unwrap().unwrap()).await.text(), "old");
    let after = read(after).await;
    assert!(after.said().ends_with("detail=stale-while-revalidate"), "{after:?}");
    settle().await;
    site.origin.answer(ok(&FIELDS, "new"));
    settle().await;
    assert_eq!(site.get("/a").await.text(), "new");
}

over_each_shape!(a_purge_while_the_body_arrives_is_not_undone);
async fn a_purge_while_the_body_arrives_is_not_undone(shape: Shape) {
    for (name, purge) in HARD.into_iter().chain(SOFT) {
        let site = Site::new(shape);
        let before = site.ask(get("/a"));
        settle().await;
        let (drip, body) = drip();
        site.origin.answer(without_length(200, &FIELDS, body));
        drip.send("ol");
        settle().await;
        purge(site.store());
        let after: Vec<_> = (0..3).map(|_| site.ask(get("/a"))).collect();
        settle().await;
        assert_eq!(site.origin.waiting(), 1, "{name}: they fly together, and not with the old one");
        drip.send("d");
        drop(drip);
        assert_eq!(read(before).await.text(), "old", "{name}");
        settle().await;
        site.origin.answer(ok(&FIELDS, "new"));
        for after in after {
            assert_eq!(read(after).await.text(), "new", "{name}");
        }
        settle().await;
        assert_eq!(site.get("/a").await.text(), "new", "{name}");
        assert_eq!(site.origin.calls(), 2, "{name}");
    }
}

over_each_shape!(a_purge_of_a_variant_that_was_overtaken_finds_what_came_after_it);
async fn a_purge_of_a_variant_that_was_overtaken_finds_what_came_after_it(shape: Shape) {
    // A soft purge lets a reader overtake the flight under way; a hard one then has to find the new
    // flight, not the old.
    let site = Site::new(shape);
    let first = site.ask(get("/a"));
    settle().await;
    let (drip, body) = drip();
    site.origin.answer(without_length(200, &FIELDS, body));
    drip.send("1");
    settle().await;
    site.store().soft_purge_tag("one");
    let second = site.ask(get("/a"));
    settle().await;
    let of_second = site.origin.take();
    site.store().purge_tag("one");
    let third = site.ask(get("/a"));
    settle().await;
    assert!(of_second.send(Ok(ok(&FIELDS, "2"))).is_ok());
    settle().await;
    site.origin.answer(ok(&FIELDS, "3"));
    drop(drip);
    assert_eq!(read(first).await.text(), "1");
    assert_eq!(read(second).await.text(), "2");
    assert_eq!(read(third).await.text(), "3");
    settle().await;
    assert_eq!(site.get("/a").await.text(), "3");
}

over_each_shape!(a_purge_of_one_variant_takes_its_key_along);
async fn a_purge_of_one_variant_takes_its_key_along(shape: Shape) {
    let site = Site::new(shape);
    for (lang, tag) in [("de", "one"), ("fr", "two")] {
        let fields = [("cache-control", "max-age=60"), ("vary", "x-lang"), ("xkey", tag)];
        site.answered(request("GET", "/a", &[("x-lang", lang)]), ok(&fields, lang)).await;
    }
    site.store().purge_tag("two");
    let reading = site.ask(request("GET", "/a", &[("x-lang", "fr")]));
    settle().await;
    assert_eq!(site.origin.waiting(), 1);
    reading.abort();
}

over_each_shape!(what_is_inserted_by_hand_is_not_undone_by_a_fetch_that_began_before_it);
async fn what_is_inserted_by_hand_is_not_undone_by_a_fetch_that_began_before_it(shape: Shape) {
    let site = Site::new(shape);
    let reading = site.ask(get("/a"));
    settle().await;
    site.store().insert(key("/a"), Variants::default());
    site.origin.answer(fresh("older than the insert"));
    read(reading).await;
    settle().await;
    let anew = site.answered(get("/a"), fresh("newer")).await;
    assert_eq!(anew.text(), "newer");
}

#[tokio::test(start_paused = true)]
async fn a_purge_of_uris_reaches_the_tier_below_and_its_receipt_says_so() {
    let below = InProcess::new(Clock::system());
    let store = Cache::<Variants>::builder().lower(below.clone(), NoVariants).build();
    let cache = HttpCache::new(store, Policy::standard());
    let purge = larder::Purge::key("HTTP://example.org:80/a").hard().wait(Tier::Shared);
    let receipt = cache.purge(purge).await.unwrap();
    let told: Vec<_> = receipt.tiers.iter().map(|line| (line.tier, line.state.clone())).collect();
    let applied = || TierState::Applied { by: 1, of: 1 };
    assert_eq!(told, [(Tier::Memory, applied()), (Tier::Shared, applied())]);
    let tail = below.tail(None).await.unwrap();
    let named: Vec<_> = tail.purges.iter().flat_map(|logged| &logged.purge.scopes).collect();
    assert!(named.contains(&&Scope::Key("http://example.org/a".to_owned())), "{named:?}");
}

/// Responses are not written below yet.
struct NoVariants;

impl Codec<Variants> for NoVariants {
    fn format(&self) -> &str {
        "none"
    }

    fn encode(&self, _: &Variants) -> Result<Bytes, CodecError> {
        Err("responses are not written below".into())
    }

    fn decode(&self, _: Bytes) -> Result<Variants, CodecError> {
        Err("responses are not read from below".into())
    }
}
