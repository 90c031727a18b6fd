//! Listing: what is held is told in order, page by page, and so is what went.

use std::{collections::BTreeSet, time::Instant};

use larder::{
    Cache, GoneCause, GoneLimits, Lifetime, Mode, Purge, Scope,
    listing::{Freshness, Heat, HeldState, ListQuery, Order},
};

use crate::support::{MINUTE, Origin, Shape, secs, shapes, shapes_of_memory};

fn insert(cache: &Cache<String>, key: &str, bytes: usize, lifetime: Lifetime, tags: &[&str]) {
    cache.insert_with(key, "x".repeat(bytes), lifetime, tags.iter().copied());
}

fn keys(cache: &Cache<String>, order: Order) -> Vec<String> {
    cache.list(&ListQuery::new(order, 100)).rows.into_iter().map(|row| row.key).collect()
}

#[tokio::test(start_paused = true)]
async fn each_order_puts_first_what_it_says() {
    for Shape { name, clock, builder } in shapes() {
        let cache = builder.build();
        Origin::new().fill(&cache, "b", "dear").await;
        clock.advance(secs(1));
        insert(&cache, "a", 500, Lifetime::fresh_for(secs(10)), &[]);
        clock.advance(secs(1));
        insert(&cache, "c", 100, Lifetime::fresh_for(secs(300)), &[]);
        assert_eq!(keys(&cache, Order::Key), ["a", "b", "c"], "{name}");
        assert_eq!(keys(&cache, Order::Bytes), ["a", "c", "b"], "{name}");
        assert_eq!(keys(&cache, Order::Age), ["b", "a", "c"], "{name}");
        assert_eq!(keys(&cache, Order::Expires), ["a", "b", "c"], "{name}");
    }
    for Shape { name, builder, .. } in shapes_of_memory().take(2) {
        let cache = builder.build();
        ["a", "b", "c"]
            .iter()
            .for_each(|key| insert(&cache, key, 1, Lifetime::fresh_for(MINUTE), &[]));
        (0..5).for_each(|_| _ = cache.get("c"));
        cache.get("b");
        assert_eq!(keys(&cache, Order::Heat), ["c", "b", "a"], "{name}");
        let heat = ["a", "b", "c"].map(|key| cache.held(key).unwrap().heat);
        assert_eq!(heat, [Heat::Cold, Heat::Warm, Heat::Hot], "{name}");
    }
}

#[test]
fn pages_one_after_the_other_tell_everything_once() {
    for Shape { name, builder, .. } in shapes_of_memory() {
        let cache = builder.build();
        for number in 0..100 {
            insert(&cache, &format!("{number}"), number % 3, Lifetime::fresh_for(MINUTE), &[]);
        }
        for order in
            [Order::Key, Order::Bytes, Order::Age, Order::Heat, Order::Cost, Order::Expires]
        {
            for most in [1, 7, 99, 100, 1000] {
                let (mut seen, mut query) = (Vec::new(), ListQuery::new(order, most));
                loop {
                    let listed = cache.list(&query);
                    assert_eq!((listed.total, listed.is_complete), (100, true));
                    assert!(listed.rows.len() <= most);
                    seen.extend(listed.rows.iter().map(|row| row.key.clone()));
                    assert_eq!(listed.beyond as usize, 100 - seen.len(), "{name} {order:?} {most}");
                    match listed.rows.last() {
                        Some(last) if listed.beyond > 0 => query.after = Some(last.clone()),
                        _ => break,
                    }
                }
                let different: BTreeSet<_> = seen.iter().collect();
                assert_eq!((seen.len(), different.len()), (100, 100), "{name} {order:?} {most}");
            }
        }
    }
}

#[test]
fn a_list_holds_no_more_than_was_asked_for_and_ends_when_its_time_is_over() {
    for Shape { builder, .. } in shapes_of_memory() {
        let cache = builder.build();
        (0..50).for_each(|number| {
            insert(&cache, &format!("{number:0100}"), 1, Lifetime::fresh_for(MINUTE), &[])
        });
        let mut query = ListQuery::new(Order::Key, 0);
        let none = cache.list(&query);
        assert_eq!((none.rows.len(), none.total, none.beyond), (0, 50, 50));
        (query.most, query.most_bytes) = (50, 250);
        let few = cache.list(&query);
        assert_eq!((few.rows.len(), few.beyond), (2, 48));
        query.most_bytes = 1;
        assert_eq!(cache.list(&query).rows.len(), 1, "there is one in any case");
        query.until = Some(Instant::now());
        assert!(!cache.list(&query).is_complete);
    }
}

#[test]
fn only_what_is_named_is_listed() {
    for Shape { name, builder, .. } in shapes_of_memory() {
        let cache = builder.build();
        insert(&cache, "/a/1", 1, Lifetime::fresh_for(MINUTE), &["odd", "all"]);
        insert(&cache, "/a/2", 1, Lifetime::fresh_for(MINUTE), &["all"]);
        insert(&cache, "/b/1", 1, Lifetime::fresh_for(MINUTE), &["odd"]);
        let listed = |scopes: &[Scope]| {
            let mut query = ListQuery::new(Order::Key, 10);
            query.scopes = scopes.to_vec();
            cache.list(&query).rows.into_iter().map(|row| row.key).collect::<Vec<_>>()
        };
        let (prefix, tag) =
            (|text: &str| Scope::Prefix(text.to_owned()), |text: &str| Scope::Tag(text.to_owned()));
        assert_eq!(listed(&[prefix("/a/")]), ["/a/1", "/a/2"], "{name}");
        assert_eq!(listed(&[tag("odd")]), ["/a/1", "/b/1"], "{name}");
        assert_eq!(listed(&[tag("odd"), prefix("/a")]), ["/a/1"], "{name}");
        assert_eq!(listed(&[tag("none")]), [""; 0], "{name}");
        let wanted = cache.list_where(&ListQuery::new(Order::Key, 10), |key| key.ends_with('1'));
        assert_eq!((wanted.total, wanted.rows.len()), (2, 2), "{name}");
    }
}

#[test]
fn an_entry_is_told_as_it_stands() {
    for Shape { name, clock, builder } in shapes_of_memory() {
        let cache = builder.build();
        let lifetime =
            Lifetime::fresh_for(secs(10)).stale_while_revalidate(secs(5)).stale_if_error(secs(20));
        insert(&cache, "a", 1, lifetime, &["t"]);
        let state = || cache.held("a").map(|held| (held.state, held.freshness));
        clock.advance(secs(4));
        assert_eq!(state(), Some((HeldState::Fresh, Freshness::Left(secs(6)))), "{name}");
        clock.advance(secs(8));
        assert_eq!(state(), Some((HeldState::StaleUsable, Freshness::OverFor(secs(2)))), "{name}");
        clock.advance(secs(8));
        assert_eq!(state(), Some((HeldState::Rescue, Freshness::OverFor(secs(10)))), "{name}");
        clock.advance(secs(80));
        assert_eq!(state(), Some((HeldState::Over, Freshness::OverFor(secs(90)))), "{name}");
        insert(&cache, "a", 1, lifetime, &["t"]);
        clock.advance(secs(1));
        cache.soft_purge_tag("t");
        clock.advance(secs(2));
        assert_eq!(state(), Some((HeldState::StaleUsable, Freshness::OverFor(secs(2)))), "{name}");
        cache.purge_tag("t");
        assert_eq!(state().map(|(state, _)| state), Some(HeldState::Purged), "{name}");
        assert_eq!(cache.list(&ListQuery::new(Order::Key, 1)).total, 1, "it lies there yet");
        let held = cache.held("a").unwrap();
        assert!(held.tags[0].starts_with('#'), "nobody has remembered its name: {:?}", held.tags);
        assert_eq!(cache.stats().hits, 0, "nothing was counted");
        assert!(cache.held("b").is_none());
    }
}

#[test]
fn tags_are_told_with_what_carries_them_and_their_last_purge() {
    for Shape { name, builder, .. } in shapes_of_memory() {
        let cache = builder.build();
        cache.remember_tag_names();
        cache.remember_gone(GoneLimits::default());
        insert(&cache, "1", 2000, Lifetime::fresh_for(MINUTE), &["large", "all"]);
        (0..5).for_each(|number| {
            insert(&cache, &format!("s{number}"), 1, Lifetime::fresh_for(MINUTE), &["small", "all"])
        });
        cache.soft_purge_tag("small");
        let listed = cache.list_tags(10);
        let told: Vec<_> = listed.tags.iter().map(|tag| (tag.tag.as_str(), tag.entries)).collect();
        assert_eq!(told, [("all", 6), ("large", 1), ("small", 5)], "{name}");
        assert_eq!((listed.total, listed.left_out), (3, 0), "{name}");
        let purge = listed.tags[2].last_purge.unwrap();
        assert_eq!((purge.mode, purge.at.is_some()), (Mode::Soft, true), "{name}");
        assert_eq!(listed.tags[0].last_purge, None, "{name}");
        let bytes = |key: &str| cache.held(key).unwrap().bytes;
        assert_eq!(listed.tags[1].bytes, bytes("1"), "{name}");
        assert_eq!(listed.tags[2].bytes, 5 * bytes("s0"), "{name}");
        assert_eq!(cache.held("s1").unwrap().tags, ["all", "small"], "{name}");
        // The one on most entries, and the one that weighs most.
        let few = cache.list_tags(1).tags;
        assert_eq!(few.len(), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_purge_would_touch_is_what_it_then_touches() {
    for Shape { name, clock, builder } in shapes_of_memory() {
        let cache = builder.build();
        for number in 0..30 {
            let tags = [if number % 2 == 0 { "even" } else { "odd" }];
            let lifetime = Lifetime::fresh_for(secs(if number < 10 { 1 } else { 100 }));
            insert(&cache, &format!("/{}/{number}", number % 3), 10, lifetime, &tags);
        }
        clock.advance(secs(2));
        let glob = larder::Glob::new("/*/1*").unwrap();
        let scopes = [
            Scope::Key("/1/10".to_owned()),
            Scope::Key("/0/0".to_owned()),
            Scope::Prefix("/1/".to_owned()),
            Scope::Glob(glob),
            Scope::Everything,
        ];
        for scope in scopes {
            let would = cache.would_touch(std::slice::from_ref(&scope));
            assert_eq!(cache.stats().purges, 0, "nothing was changed");
            let odd = cache.would_touch(&[Scope::Tag("odd".to_owned())]);
            assert_eq!(odd.entries, 10, "{name}");
            assert!(would.entries <= 20, "{name} {scope:?} {would:?}");
        }
        let both = [Scope::Key("/1/10".to_owned()), Scope::Key("/2/11".to_owned())];
        assert_eq!(cache.would_touch(&both).entries, 2, "{name}");
        let would = cache.would_touch(&[Scope::Prefix("/1/".to_owned())]);
        let purged = cache.purge(Purge::prefix("/1/").hard()).await.unwrap().entries;
        assert_eq!(purged, Some(would.entries as usize), "{name}");
        let (would, bytes) = (cache.would_touch(&[Scope::Everything]), cache.stats().bytes);
        cache.sweep();
        assert_eq!(
            (cache.stats().entries, cache.stats().bytes),
            (would.entries, would.bytes),
            "{name}"
        );
        assert!(bytes >= would.bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn what_went_is_remembered_with_its_cause() {
    for Shape { name, clock, builder } in shapes_of_memory() {
        let cache = builder.max_entries(3).build();
        insert(&cache, "before", 1, Lifetime::fresh_for(MINUTE), &[]);
        cache.remove("before");
        assert!(cache.gone("before").is_none(), "nobody wanted to know");
        cache.remember_gone(GoneLimits::default());
        cache.remember_gone(GoneLimits { keys: 0, bytes: 0 });
        let cause = |key: &str| cache.gone(key).map(|gone| gone.cause);
        let what = |key: &str| cache.gone(key)?.purge.map(|purge| purge.what);
        for key in ["a", "b", "c"] {
            insert(&cache, key, 1, Lifetime::fresh_for(secs(10)), &["t"]);
        }
        insert(&cache, "a", 1, Lifetime::fresh_for(secs(10)), &["t"]);
        assert_eq!(cause("a"), None, "something newer is in its place");
        cache.remove("a");
        assert_eq!(
            (cause("a"), what("a").as_deref()),
            (Some(GoneCause::Purged), Some("key a")),
            "{name}"
        );
        cache.purge_tag("t");
        assert_eq!(cause("b"), None, "nobody has taken it out yet");
        cache.sweep();
        assert_eq!(
            (cause("b"), what("b").as_deref()),
            (Some(GoneCause::Purged), Some("tag t")),
            "{name}"
        );
        insert(&cache, "d", 1, Lifetime::fresh_for(secs(10)), &[]);
        clock.advance(secs(11));
        cache.sweep();
        assert_eq!((cause("d"), what("d")), (Some(GoneCause::Expired), None), "{name}");
        for number in 0..4 {
            insert(&cache, &format!("e{number}"), 1, Lifetime::fresh_for(secs(10)), &[]);
        }
        let evicted =
            (0..4).filter(|number| cause(&format!("e{number}")) == Some(GoneCause::Evicted));
        assert_eq!(evicted.count(), 1, "{name}");
        cache.clear();
        assert_eq!(what("e3").as_deref(), Some("everything"), "{name}");
        let newest = cache.gone_keys("e", 2);
        assert_eq!(newest.len(), 2, "{name}");
        assert!(newest.iter().all(|gone| gone.cause == GoneCause::Purged), "{name}");
        assert_eq!(cache.gone_left_out(), 0, "{name}");
    }
}
