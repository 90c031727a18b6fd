//! A purge is a purge: nothing older than it is served to anybody who asks after it.

use larder::{AnswerSource, Cache, Fetched, Freshness, Lifetime, Storage, reason::Reason};

use crate::support::{MINUTE, Origin, secs, settle, shapes};

type Purge = fn(&Cache<String>);

/// Every way to say that what is known about `key` (tagged `tag`) no longer counts.
const HARD: [(&str, Purge); 4] = [
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
];

/// … and to say that it should be looked after.
const SOFT: [(&str, Purge); 4] = [
    ("soft_remove", |cache| {
        cache.soft_remove("key");
    }),
    ("soft_clear", Cache::soft_clear),
    ("soft_purge_tag", |cache| cache.soft_purge_tag("tag")),
    ("soft_purge_prefix", |cache| {
        cache.soft_purge_prefix("ke");
    }),
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
            assert_eq!(cache.get("elsewhere").is_some(), name != "clear", "{name}, {}", shape.name);
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
            if name == "purge_tag" {
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
