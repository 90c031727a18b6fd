//! A purge is a purge: nothing older than it is served to anybody who asks after it.

use futures_util::FutureExt;
use larder::{
    AnswerSource, Cache, Fetched, Freshness, Lifetime, Mode, Purge, PurgeError, Receipt, Storage,
    Tier, TierState, reason::Reason,
};

use crate::support::{MINUTE, Origin, secs, settle, shapes, shapes_of_memory};

pub(crate) type Form = fn(&Cache<String>);

/// The one way in. Memory is all there is, so nothing is waited for.
fn purge(cache: &Cache<String>, purge: Purge) -> Result<Receipt, PurgeError> {
    cache.purge(purge).now_or_never().expect("memory answers at once")
}

/// Every way to say that what is known about `key` (tagged `tag`) no longer counts.
pub(crate) const HARD: [(&str, Form); 8] = [
    ("remove", |cache| {
        cache.remove("key");
    }),
    ("clear", |cache| {
        cache.clear();
    }),
    ("purge_tag", |cache| cache.purge_tag("tag")),
    ("purge_prefix", |cache| {
        cache.purge_prefix("ke");
    }),
    ("purge key", |cache| drop(purge(cache, Purge::key("key").hard()))),
    ("purge everything", |cache| drop(purge(cache, Purge::everything().hard()))),
    ("purge tag", |cache| drop(purge(cache, Purge::tag("tag").hard()))),
    ("purge prefix", |cache| drop(purge(cache, Purge::prefix("ke").hard()))),
];

/// … and to say that it should be looked after.
pub(crate) const SOFT: [(&str, Form); 8] = [
    ("soft_remove", |cache| {
        cache.soft_remove("key");
    }),
    ("soft_clear", Cache::soft_clear),
    ("soft_purge_tag", |cache| cache.soft_purge_tag("tag")),
    ("soft_purge_prefix", |cache| {
        cache.soft_purge_prefix("ke");
    }),
    ("soft purge key", |cache| drop(purge(cache, Purge::key("key")))),
    ("soft purge everything", |cache| drop(purge(cache, Purge::everything()))),
    ("soft purge tag", |cache| drop(purge(cache, Purge::tag("tag")))),
    ("soft purge prefix", |cache| drop(purge(cache, Purge::prefix("ke")))),
];

fn tagged(value: &str) -> Fetched<String> {
    Fetched::new(value.to_owned()).tags(["other", "tag"])
}

fn insert(cache: &Cache<String>, lifetime: Lifetime) {
    cache.insert_with("key", "old".to_owned(), lifetime, ["tag"]);
    cache.insert_with("elsewhere", "kept".to_owned(), lifetime, ["elsewhere"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_is_gone_and_the_rest_is_not() {
    for (name, purge) in HARD {
        for shape in shapes() {
            let cache = shape.builder.build();
            let windows =
                Lifetime::fresh_for(MINUTE).stale_while_revalidate(MINUTE).stale_if_error(MINUTE);
            insert(&cache, windows);
            purge(&cache);
            assert_eq!(cache.get("key"), None, "{name}, {}", shape.name);
            let is_everything = ["clear", "purge everything"].contains(&name);
            assert_eq!(cache.get("elsewhere").is_some(), !is_everything, "{name}, {}", shape.name);
            assert_eq!(cache.stats().purges, 1, "{name}");
            // No window helps: an origin that fails is an error.
            let origin = Origin::new();
            let reader = origin.ask(&cache, "key");
            settle().await;
            origin.fail("down");
            assert!(reader.await.unwrap().is_err(), "{name}, {}", shape.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_before_a_purge_is_not_stored_after_it() {
    for (name, purge) in HARD {
        for shape in shapes() {
            let (cache, origin) = (shape.builder.build(), Origin::new());
            let reader = origin.ask(&cache, "key");
            settle().await;
            purge(&cache);
            origin.reply(Ok(tagged("old")));
            let answer = reader.await.unwrap().unwrap();
            assert_eq!((&*answer.value, answer.reason()), ("old", Reason::Purged), "{name}");
            assert_eq!(answer.storage, Storage::Not(Reason::Purged), "{name}");
            assert_eq!(cache.get("key"), None, "{name}, {}", shape.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_after_a_purge_is_not_given_what_was_fetched_before_it() {
    for (name, purge) in HARD.into_iter().chain(SOFT) {
        for shape in shapes() {
            let (cache, origin) = (shape.builder.build(), Origin::new());
            let before = [origin.ask(&cache, "key"), origin.ask(&cache, "key")];
            settle().await;
            let old = origin.take();
            purge(&cache);
            let after = origin.ask(&cache, "key");
            settle().await;
            old.send(Ok(tagged("old"))).unwrap();
            settle().await;
            assert!(!after.is_finished(), "{name}, {}", shape.name);
            origin.reply(Ok(tagged("new")));
            assert_eq!(after.await.unwrap().unwrap().value, "new", "{name}, {}", shape.name);
            for reader in before {
                assert_eq!(reader.await.unwrap().unwrap().value, "old", "{name}");
            }
            assert_eq!(cache.get("key").as_deref(), Some("new"), "{name}, {}", shape.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_fetch_that_lands_last_does_not_undo_a_newer_one() {
    for (name, purge) in HARD {
        for shape in shapes() {
            // A tag is known only when a fetch ends, so a purge by tag starts no second flight.
            if ["purge_tag", "purge tag"].contains(&name) {
                continue;
            }
            let (cache, origin) = (shape.builder.build(), Origin::new());
            let before = origin.ask(&cache, "key");
            settle().await;
            let old = origin.take();
            purge(&cache);
            origin.fill(&cache, "key", "new").await;
            old.send(Ok(tagged("old"))).unwrap();
            assert_eq!(before.await.unwrap().unwrap().value, "old", "{name}");
            assert_eq!(cache.get("key").as_deref(), Some("new"), "{name}, {}", shape.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_insert_is_not_undone_by_a_fetch_that_began_before_it() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let reader = origin.ask(&cache, "key");
        settle().await;
        cache.insert("key", "inserted".to_owned());
        origin.answer("fetched");
        assert_eq!(reader.await.unwrap().unwrap().value, "fetched");
        assert_eq!(cache.get("key").as_deref(), Some("inserted"), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_soft_purge_leaves_what_its_windows_allow() {
    for (name, purge) in SOFT {
        for shape in shapes() {
            let (cache, origin) = (shape.builder.build(), Origin::new());
            insert(&cache, Lifetime::fresh_for(MINUTE).stale_while_revalidate(secs(10)));
            shape.clock.advance(secs(5));
            purge(&cache);
            assert_eq!(cache.get("key"), None, "{name}: it is not fresh");
            let stale = origin.ask(&cache, "key").await.unwrap().unwrap();
            let reason = AnswerSource::Stale(Reason::StaleWhileRevalidate);
            assert_eq!((&*stale.value, stale.source), ("old", reason), "{name}, {}", shape.name);
            settle().await;
            origin.reply(Ok(tagged("new")));
            settle().await;
            assert_eq!(cache.get("key").as_deref(), Some("new"), "{name}, {}", shape.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_windows_of_a_soft_purge_begin_with_the_purge() {
    for (name, purge) in SOFT {
        for shape in shapes() {
            let cache = shape.builder.build();
            insert(&cache, Lifetime::fresh_for(MINUTE).stale_if_error(secs(10)));
            purge(&cache);
            shape.clock.advance(secs(9));
            let freshness = || cache.entry("key").map(|entry| entry.freshness);
            assert_eq!(freshness(), Some(Freshness::StaleIfError { stale: secs(9) }), "{name}");
            shape.clock.advance(secs(1));
            assert_eq!(freshness(), Some(Freshness::Expired), "{name}, {}", shape.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_by_tag_reaches_every_key_that_carried_it() {
    for shape in shapes() {
        let cache = shape.builder.build();
        for number in 0..50 {
            let tags = [format!("post:{number}"), format!("parity:{}", number % 2)];
            let lifetime = Lifetime::fresh_for(MINUTE);
            cache.insert_with(format!("key {number}"), "value".to_owned(), lifetime, tags);
        }
        cache.purge_tag("parity:0");
        cache.purge_tag("post:7");
        for number in 0..50 {
            let is_kept = number % 2 == 1 && number != 7;
            let is_there = cache.get(format!("key {number}")).is_some();
            assert_eq!(is_there, is_kept, "key {number}, {}", shape.name);
        }
        assert_eq!(cache.stats().tags, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_with_too_many_tags_is_handed_out_and_not_stored() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let reader = origin.ask(&cache, "key");
        settle().await;
        let tags = (0..257).map(|number| format!("tag {number}"));
        origin.reply(Ok(Fetched::new("value".to_owned()).tags(tags)));
        assert_eq!(reader.await.unwrap().unwrap().reason(), Reason::TooManyTags);
        assert_eq!(cache.get("key"), None, "{}", shape.name);
    }
}

#[test]
fn a_receipt_says_what_was_purged_and_how_far_each_tier_is() {
    for shape in shapes_of_memory() {
        let cache = shape.builder.build();
        let rows = [
            (Purge::key("key"), Some(1)),
            (Purge::prefix("ke"), Some(1)),
            (Purge::tag("tag"), None),
            (Purge::everything(), Some(2)),
            (Purge::key("nothing"), Some(0)),
        ];
        for (asked, entries) in rows {
            for mode in [Mode::Soft, Mode::Hard] {
                insert(&cache, Lifetime::fresh_for(MINUTE).stale_if_error(MINUTE));
                let asked = asked.clone().mode(mode);
                let receipt = purge(&cache, asked.clone()).unwrap();
                assert_eq!((&receipt.scope, receipt.mode), (&asked.scope, mode));
                assert_eq!(receipt.entries, entries, "{receipt}");
                let [memory] = &receipt.tiers[..] else { panic!("{receipt}") };
                assert_eq!(memory.tier, Tier::Memory);
                assert_eq!(memory.state, TierState::Applied { by: 1, of: 1 });
                assert!(receipt.at.elapsed().unwrap() < MINUTE, "{receipt:?}");
            }
        }
    }
}

#[test]
fn every_purge_has_the_next_number_whatever_it_names_and_however_it_is_asked_for() {
    for shape in shapes() {
        let cache = shape.builder.build();
        for (at, (name, form)) in (0..).zip(HARD.into_iter().chain(SOFT)) {
            insert(&cache, Lifetime::fresh_for(MINUTE));
            form(&cache);
            let receipt = purge(&cache, Purge::key("nothing")).unwrap();
            assert_eq!(receipt.number, 2 * at + 2, "{name}");
        }
    }
}

#[test]
fn a_purge_that_would_wait_for_a_tier_that_is_not_there_is_refused_and_purges_nothing() {
    for shape in shapes_of_memory() {
        let cache = shape.builder.build();
        insert(&cache, Lifetime::fresh_for(MINUTE));
        for tier in [Tier::Shared, Tier::Cdn] {
            let refused = purge(&cache, Purge::everything().hard().wait(tier));
            assert_eq!(refused, Err(PurgeError::NoTier { tier }));
        }
        assert_eq!(cache.get("key").as_deref(), Some("old"));
        assert_eq!(purge(&cache, Purge::key("nothing")).unwrap().number, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_of_another_key_changes_nothing_for_a_fetch_that_fails() {
    for shape in shapes() {
        let cache = shape.builder.negative_ttl(MINUTE).build();
        let origin = Origin::new();
        let first = origin.ask(&cache, "key");
        settle().await;
        cache.remove("elsewhere");
        cache.purge_prefix("elsewhere");
        let second = origin.ask(&cache, "key");
        settle().await;
        origin.fail("down");
        for reader in [first, second] {
            assert!(reader.await.unwrap().is_err(), "both have this failure, {}", shape.name);
        }
        assert!(origin.ask(&cache, "key").await.unwrap().is_err(), "it is remembered");
        assert_eq!(cache.stats().fetches, 1, "{}", shape.name);
    }
}
