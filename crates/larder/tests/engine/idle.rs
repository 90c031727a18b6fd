//! Sliding expiry: what nobody reads is over, and a lifetime can be given anew.

use std::time::Duration;

use larder::{
    AnswerSource, BuildError, Cache, Fetched, Freshness, Lifetime, ManualClock, codec::Text,
    lower::InProcess,
};

use crate::support::{MINUTE, Origin, Shape, secs, settle, shapes};

fn text(text: &str) -> String {
    text.to_owned()
}

/// All shapes, with entries that are over after ten seconds without a reader.
fn idle_shapes() -> impl Iterator<Item = Shape> {
    shapes().map(|shape| Shape { builder: shape.builder.time_to_idle(secs(10)), ..shape })
}

#[test]
fn what_is_read_lives_on_and_what_is_not_is_over() {
    for Shape { name, clock, builder } in idle_shapes() {
        let cache = builder.ttl(100 * MINUTE).build();
        cache.insert("read", text("value"));
        cache.insert("not read", text("value"));
        for _ in 0..50 {
            clock.advance(secs(9));
            assert!(cache.get("read").is_some(), "{name}");
        }
        assert_eq!(cache.get("not read"), None, "{name}");
        clock.advance(secs(10));
        assert_eq!(cache.get("read"), None, "{name}");
    }
}

#[test]
fn idleness_is_never_shorter_than_it_was_set_and_at_most_a_second_longer() {
    for (limit, part) in [(2000, 0), (2000, 1), (2000, 999), (1500, 0), (1, 0), (1, 500)] {
        for Shape { name, clock, builder } in shapes() {
            let cache = builder.time_to_idle(Duration::from_millis(limit)).build();
            clock.advance(Duration::from_millis(part));
            cache.insert("key", text("value"));
            cache.get("key");
            let end = (part.div_ceil(1000) + limit.div_ceil(1000)) * 1000 - part;
            assert!((limit..limit + 2000).contains(&end));
            clock.advance(Duration::from_millis(end) - Duration::from_nanos(1));
            assert!(cache.contains_key("key"), "{limit} at {part}, {name}");
            clock.advance(Duration::from_nanos(1));
            assert!(!cache.contains_key("key"), "{limit} at {part}, {name}");
        }
    }
}

#[test]
fn looking_at_an_entry_is_not_reading_it() {
    for Shape { name, clock, builder } in idle_shapes() {
        let cache = builder.build();
        cache.insert("key", text("value"));
        clock.advance(secs(9));
        assert!(cache.entry("key").is_some() && cache.contains_key("key"), "{name}");
        assert_eq!((cache.keys(9).len(), cache.retain_local(|_, _| true)), (1, 0), "{name}");
        cache.compute("key", |_| larder::Compute::Keep).unwrap();
        clock.advance(secs(1));
        assert_eq!(cache.entry("key").unwrap().freshness, Freshness::Expired, "{name}");
        assert!(cache.get("key").is_none() && cache.keys(9).is_empty(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_ttl_ends_what_is_read_all_the_time() {
    for Shape { name, clock, builder } in idle_shapes() {
        let cache = builder.build();
        cache.insert("key", text("value"));
        for _ in 0..59 {
            clock.advance(secs(1));
            assert!(cache.get("key").is_some(), "{name}");
        }
        clock.advance(secs(1));
        assert_eq!(cache.get("key"), None, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_is_not_served_stale_and_what_is_read_stale_is_not_idle() {
    for Shape { name, clock, builder } in idle_shapes() {
        let cache = builder.ttl(secs(5)).stale_if_error(10 * MINUTE).build();
        let origin = Origin::new();
        cache.insert("key", text("value"));
        for _ in 0..3 {
            clock.advance(secs(9));
            let asked = origin.ask(&cache, "key");
            settle().await;
            origin.fail("down");
            assert_eq!(asked.await.unwrap().unwrap().value, "value", "{name}");
        }
        clock.advance(secs(10));
        let asked = origin.ask(&cache, "key");
        settle().await;
        origin.fail("down");
        assert!(asked.await.unwrap().is_err(), "{name}");
    }
}

#[test]
fn the_sweep_takes_what_is_idle_and_nothing_else() {
    for Shape { name, clock, builder } in idle_shapes() {
        let cache = builder.ttl(100 * MINUTE).build();
        for number in 0..200 {
            cache.insert(number.to_string(), text("value"));
        }
        for _ in 0..10 {
            clock.advance(secs(5));
            (0..200).step_by(2).for_each(|number| _ = cache.get(number.to_string()));
            cache.sweep();
        }
        assert_eq!((cache.len(), cache.stats().expired), (100, 100), "{name}");
        clock.advance(secs(10));
        assert_eq!(cache.sweep(), 100, "{name}");
    }
}

#[test]
fn what_is_idle_goes_before_what_is_read() {
    for Shape { name, clock, builder } in idle_shapes() {
        let cache = builder.max_entries(3).build();
        ["a", "b", "c"].into_iter().for_each(|key| _ = cache.insert(key, text("value")));
        clock.advance(secs(9));
        cache.get("a");
        cache.get("c");
        clock.advance(secs(1));
        cache.insert("d", text("value"));
        let is_there = |key| cache.contains_key(key);
        assert_eq!(["a", "b", "c", "d"].map(is_there), [true, false, true, true], "{name}");
        assert_eq!(cache.stats().evictions, 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_here_is_still_below() {
    let clock = ManualClock::new();
    let cache = Cache::<String>::builder()
        .time_to_idle(secs(10))
        .clock(clock.clock())
        .lower(InProcess::new(clock.clock()), Text)
        .build();
    let origin = Origin::new();
    origin.fill(&cache, "key", "value").await;
    settle().await;
    clock.advance(secs(10));
    assert_eq!(cache.get("key"), None);
    let found = origin.ask(&cache, "key").await.unwrap().unwrap();
    assert_eq!((&*found.value, found.source), ("value", AnswerSource::Lower));
    clock.advance(secs(9));
    assert!(cache.get("key").is_some(), "it was stored anew");
}

#[test]
fn no_time_at_all_is_refused() {
    let built = Cache::<String>::builder().time_to_idle(Duration::ZERO).try_build();
    assert_eq!(built.err(), Some(BuildError::Zero { setting: "time_to_idle" }));
    let cache = Cache::<String>::builder().time_to_idle(Duration::MAX).build();
    cache.insert("key", text("value"));
    assert!(cache.get("key").is_some());
}

// Touch.

#[test]
fn touch_gives_what_is_fresh_a_lifetime_from_now() {
    for Shape { name, clock, builder } in shapes() {
        let cache = builder.build();
        let windows = Lifetime::fresh_for(MINUTE).stale_if_error(secs(7));
        cache.insert_with("longer", text("value"), windows, ["tag"]);
        cache.insert("shorter", text("value"));
        clock.advance(secs(40));
        assert!(cache.touch("longer", MINUTE) && cache.touch("shorter", secs(3)), "{name}");
        let longer = cache.entry("longer").unwrap();
        assert_eq!((longer.age, longer.tags), (secs(40), 1), "{name}");
        assert_eq!(longer.freshness, Freshness::Fresh { left: MINUTE }, "{name}");
        clock.advance(secs(3));
        assert_eq!(cache.get("shorter"), None, "{name}");
        clock.advance(secs(56));
        assert!(cache.sweep() == 1 && cache.get("longer").is_some(), "{name}");
        clock.advance(secs(1));
        let stale = cache.entry("longer").unwrap().freshness;
        assert_eq!(stale, Freshness::StaleIfError { stale: secs(0) }, "{name}");
        clock.advance(secs(7));
        assert_eq!(cache.sweep(), 1, "{name}");
    }
}

#[test]
fn touch_brings_nothing_back() {
    for Shape { name, clock, builder } in idle_shapes() {
        let cache = builder.build();
        let lifetime = Lifetime::fresh_for(MINUTE).stale_if_error(MINUTE);
        let ends: [(&str, &dyn Fn()); 8] = [
            ("remove", &|| _ = cache.remove("key")),
            ("soft_remove", &|| _ = cache.soft_remove("key")),
            ("purge_tag", &|| cache.purge_tag("tag")),
            ("soft_purge_tag", &|| cache.soft_purge_tag("tag")),
            ("clear", &|| _ = cache.clear()),
            ("soft_clear", &|| cache.soft_clear()),
            ("idle", &|| clock.advance(secs(10))),
            ("expired", &|| clock.advance(2 * MINUTE)),
        ];
        for (end, go) in ends {
            cache.insert_with("key", text("value"), lifetime, ["tag"]);
            assert!(cache.touch("key", MINUTE), "{end}, {name}");
            go();
            assert!(!cache.touch("key", MINUTE), "{end}, {name}");
            assert_eq!(cache.get("key"), None, "{end}, {name}");
        }
        assert!(!cache.touch("missing", MINUTE), "{name}");
    }
}

#[test]
fn what_was_touched_is_purged_as_before_and_is_not_idle() {
    for Shape { name, clock, builder } in idle_shapes() {
        let cache = builder.build();
        cache.insert_with("key", text("value"), Lifetime::fresh_for(MINUTE), ["tag"]);
        for _ in 0..20 {
            clock.advance(secs(9));
            assert!(cache.touch("key", MINUTE), "{name}");
        }
        let hits = cache.stats().hits;
        assert_eq!(hits, 0, "{name}");
        cache.purge_tag("tag");
        assert_eq!(cache.get("key"), None, "{name}");
    }
}

#[test]
fn touch_for_no_time_or_for_ever() {
    for Shape { name, clock, builder } in shapes() {
        let cache = builder.build();
        cache.insert("key", text("value"));
        assert!(cache.touch("key", Duration::MAX), "{name}");
        clock.advance(Duration::from_secs(30 * 365 * 86_400));
        assert!(cache.get("key").is_some(), "{name}");
        assert!(cache.touch("key", Duration::ZERO), "{name}");
        assert!(cache.get("key").is_none() && cache.sweep() == 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetched_value_slides_as_an_inserted_one_does() {
    for Shape { name, clock, builder } in idle_shapes() {
        let (cache, origin) = (builder.build(), Origin::new());
        let asked = origin.ask(&cache, "key");
        settle().await;
        origin.reply(Ok(Fetched::new(text("value")).tags(["tag"])));
        asked.await.unwrap().unwrap();
        for _ in 0..4 {
            clock.advance(secs(9));
            let hit = origin.ask(&cache, "key").await.unwrap().unwrap();
            assert_eq!(hit.source, AnswerSource::Hit, "{name}");
        }
        assert_eq!(origin.calls(), 1, "{name}");
    }
}
