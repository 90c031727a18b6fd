//! Room: who has to go for what is stored, and who need not.

use std::{
    sync::{Arc, Mutex, Weak, mpsc},
    time::Duration,
};

use larder::{Cache, Eviction, Lifetime, ManualClock, Reason, Storage};

use crate::support::{MINUTE, secs};

const POLICIES: [Eviction; 2] = [Eviction::S3Fifo, Eviction::Lru];

/// Of values that weigh what they say.
fn cache(eviction: Eviction) -> larder::Builder<usize> {
    Cache::builder_with_weigher(|bytes: &usize| *bytes).eviction(eviction)
}

/// What an entry of a short key costs beside its value.
fn overhead() -> usize {
    let cache = cache(Eviction::S3Fifo).build();
    cache.insert("key", 1000);
    cache.stats().bytes as usize - 1000
}

fn held(cache: &Cache<usize>, keys: &[&str]) -> Vec<Option<usize>> {
    keys.iter().map(|key| cache.entry(*key).map(|entry| entry.value)).collect()
}

#[test]
fn replacing_a_key_makes_nobody_go_where_entries_are_bounded() {
    for eviction in POLICIES {
        for replaced in ["a", "b", "c"] {
            let cache = cache(eviction).max_entries(3).build();
            ["a", "b", "c"].into_iter().for_each(|key| _ = cache.insert(key, 0));
            for _ in 0..10 {
                cache.insert(replaced, 0);
                cache.insert_with_ttl(replaced, 0, secs(1));
                cache.insert_with(replaced, 0, Lifetime::fresh_for(MINUTE), ["tag"]);
            }
            let all = [Some(0), Some(0), Some(0)];
            assert_eq!(held(&cache, &["a", "b", "c"]), all, "{replaced}, {eviction:?}");
            assert_eq!(cache.stats().evictions, 0, "{replaced}, {eviction:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn fetching_a_key_anew_makes_nobody_go() {
    for eviction in POLICIES {
        let clock = ManualClock::new();
        let cache = cache(eviction).max_entries(2).ttl(MINUTE).clock(clock.clock()).build();
        cache.insert_with_ttl("a", 1, 10 * MINUTE);
        for number in 0..10 {
            cache.get_or_fetch("b", async move || number).await;
            clock.advance(MINUTE);
            // Expired, or purged, or merely stale.
            if number % 3 == 0 {
                cache.soft_remove("b");
            }
            cache.insert_with_ttl("a", 1, 10 * MINUTE);
        }
        assert_eq!((cache.get("a"), cache.stats().evictions), (Some(1), 0), "{eviction:?}");
        assert_eq!(cache.stats().fetches, 10);
    }
}

#[test]
fn a_hundred_keys_in_a_hundred_places_are_updated_in_turn_without_a_miss() {
    for eviction in POLICIES {
        let cache = cache(eviction).max_entries(100).build();
        for round in 0..10 {
            for key in 0..100 {
                let found = cache.get(format!("key {key}"));
                assert_eq!(found, (round > 0).then(|| round - 1), "{eviction:?}");
                cache.insert(format!("key {key}"), round);
            }
        }
    }
}

/// What is there, all told, in three entries; what the last becomes; who is left of the others.
#[test]
fn replacing_a_key_needs_only_what_it_weighs_more() {
    let max = 3 * overhead() + 3000;
    let cases = [
        ("as heavy, and all is full", [1000, 1000, 1000], 1000, 2),
        ("lighter", [1000, 1000, 1000], 10, 2),
        ("heavier, and it just fits", [500, 1000, 1000], 1500, 2),
        ("heavier by a byte too much", [500, 1000, 1000], 1501, 1),
        ("heavier than one of the others", [1000, 1000, 1000], 2000, 1),
        ("heavier than both", [1000, 1000, 1000], 3000, 0),
        ("all there is", [1000, 1000, 1000], 3000 + 2 * overhead(), 0),
    ];
    for eviction in POLICIES {
        for (name, [a, b, c], larger, left) in cases {
            for replaced in ["a", "b", "c"] {
                let cache = cache(eviction).max_bytes(max).build();
                let weights = [("a", a), ("b", b), ("c", c)];
                // The one to be replaced weighs what the case says of the last.
                let weight_of = |key: &str| {
                    let of = |key| weights.iter().find(|(other, _)| *other == key).unwrap().1;
                    if key == replaced {
                        of("c")
                    } else if key == "c" {
                        of(replaced)
                    } else {
                        of(key)
                    }
                };
                ["a", "b", "c"].into_iter().for_each(|key| _ = cache.insert(key, weight_of(key)));
                assert_eq!(cache.stats().entries, 3, "{name}");
                cache.insert(replaced, larger);
                assert_eq!(cache.get(replaced), Some(larger), "{name}, {replaced}, {eviction:?}");
                let stats = cache.stats();
                assert!(stats.bytes <= max as u64);
                assert_eq!(
                    (stats.entries, stats.evictions),
                    (left + 1, 2 - left),
                    "{name}, {replaced}"
                );
            }
        }
    }
}

#[test]
fn what_replaces_and_is_too_large_makes_only_what_it_replaces_go() {
    for eviction in POLICIES {
        let max = 3 * overhead() + 3000;
        let cache = cache(eviction).max_bytes(max).max_entry_bytes(max - 1).build();
        ["a", "b", "c"].into_iter().for_each(|key| _ = cache.insert(key, 1000));
        cache.insert("b", max);
        assert_eq!(held(&cache, &["a", "b", "c"]), [Some(1000), None, Some(1000)], "{eviction:?}");
        assert_eq!((cache.stats().too_large, cache.stats().evictions), (1, 0), "{eviction:?}");
        cache.insert("b", 1000);
        assert_eq!(cache.stats().evictions, 0, "its room was given back");
    }
}

/// A value that stores another when it is dropped, and tells what came of that.
#[derive(Clone)]
struct Refills(Option<(Handle, mpsc::Sender<Storage>)>);

/// A clone of the cache would keep itself alive in it.
type Handle = Weak<Mutex<Option<Cache<Refills>>>>;

impl Drop for Refills {
    fn drop(&mut self) {
        let Some((cache, told)) = &self.0 else { return };
        let Some(cache) = cache.upgrade().and_then(|cache| cache.lock().unwrap().clone()) else {
            return;
        };
        told.send(cache.insert("refilled", Refills(None))).unwrap();
    }
}

#[test]
fn what_finds_all_the_room_taken_at_that_moment_is_not_said_to_be_too_large() {
    for eviction in POLICIES {
        let cache = Cache::builder_with_weigher(|_: &Refills| 0).eviction(eviction);
        let cache = cache.max_entries(1).build();
        let (shared, (told, tells)) = (Arc::new(Mutex::new(Some(cache.clone()))), mpsc::channel());
        let value = Refills(Some((Arc::downgrade(&shared), told)));
        cache.insert("a", value);
        // While it is dropped, its room is still its own, and then the newcomer's.
        assert!(matches!(cache.insert("b", Refills(None)), Storage::FreshFor(_)));
        assert_eq!(tells.recv().unwrap(), Storage::Not(Reason::NoRoom), "{eviction:?}");
        assert_eq!((cache.stats().no_room, cache.stats().too_large), (1, 0));
    }
}

#[test]
fn an_entry_that_is_updated_is_as_much_asked_for_as_before() {
    for eviction in POLICIES {
        let cache = cache(eviction).max_entries(100).build();
        cache.insert("hot", 0);
        (0..5).for_each(|_| assert!(cache.get("hot").is_some()));
        cache.insert("hot", 1);
        // Twice as many as there are places, none of them asked for again.
        (0..99).for_each(|number| _ = cache.insert(format!("once {number}"), 0));
        cache.insert("hot", 2);
        (99..190).for_each(|number| _ = cache.insert(format!("once {number}"), 0));
        assert_eq!(cache.get("hot"), Some(2), "{eviction:?}");
    }
}

/// A way to end all that is there: what is left of it is of no use.
type End = fn(&Cache<usize>, &ManualClock);

/// All of them, by name.
const ENDS: [(&str, End); 4] = [
    ("purged", |cache, _| cache.purge_tag("old")),
    ("marked stale, without windows", |cache, _| cache.soft_purge_tag("old")),
    ("all marked stale", |cache, _| cache.soft_clear()),
    ("expired", |_, clock| clock.advance(MINUTE)),
];

fn filled_with_hot(eviction: Eviction, keys: usize) -> (Cache<usize>, ManualClock) {
    let clock = ManualClock::new();
    let cache = cache(eviction).max_entries(keys).ttl(MINUTE).clock(clock.clock()).build();
    for key in 0..keys {
        cache.insert_with(format!("old {key}"), 0, Lifetime::fresh_for(MINUTE), ["old"]);
    }
    for _ in 0..10 {
        (0..keys).for_each(|key| assert!(cache.get(format!("old {key}")).is_some()));
    }
    (cache, clock)
}

#[test]
fn what_was_hot_and_is_over_does_not_crowd_out_what_lives() {
    for eviction in POLICIES {
        for (name, end) in ENDS {
            for keys in [10, 100, 1000, 1500] {
                let (cache, clock) = filled_with_hot(eviction, keys);
                end(&cache, &clock);
                for _ in 0..2 {
                    for key in 0..keys {
                        if cache.get(format!("new {key}")).is_none() {
                            cache.insert_with_ttl(format!("new {key}"), 1, 10 * MINUTE);
                        }
                    }
                }
                let misses = cache.stats().misses;
                assert_eq!(misses as usize, keys, "{name}, {eviction:?}");
                let stats = cache.stats();
                assert_eq!((stats.evictions, stats.expired as usize), (0, keys), "{name}");
            }
        }
    }
}

#[test]
fn one_that_lives_does_not_go_while_others_are_over_wherever_they_are() {
    for eviction in POLICIES {
        // One in so many is over.
        for one_in in [2, 3, 10] {
            let clock = ManualClock::new();
            let cache = cache(eviction).max_entries(1000).ttl(MINUTE).clock(clock.clock()).build();
            for key in 0..1000 {
                let tag = if key % one_in == 0 { "old" } else { "other" };
                cache.insert_with(format!("{tag} {key}"), 0, Lifetime::fresh_for(MINUTE), [tag]);
                cache.get(format!("{tag} {key}"));
            }
            cache.purge_tag("old");
            let over = 1000_usize.div_ceil(one_in);
            (0..over).for_each(|key| _ = cache.insert(format!("new {key}"), 1));
            let stats = cache.stats();
            assert_eq!(
                (stats.evictions, stats.expired as usize),
                (0, over),
                "{eviction:?}, {one_in}"
            );
            assert!((0..over).all(|key| cache.get(format!("new {key}")).is_some()));
        }
    }
}

#[test]
fn a_sweep_takes_what_is_over_whatever_ended_it() {
    for eviction in POLICIES {
        for (name, end) in ENDS {
            let (cache, clock) = filled_with_hot(eviction, 1000);
            assert_eq!(cache.sweep(), 0, "{name}");
            end(&cache, &clock);
            assert_eq!(cache.sweep(), 1000, "{name}, {eviction:?}");
            let stats = cache.stats();
            assert_eq!((stats.entries, stats.bytes, stats.expired), (0, 0, 1000), "{name}");
        }
    }
}

#[test]
fn a_sweep_leaves_what_may_still_be_served() {
    let clock = ManualClock::new();
    let windows = [(0, 0), (10, 0), (0, 20), (10, 20)];
    let cache = cache(Eviction::S3Fifo).clock(clock.clock()).build();
    for (number, (revalidate, rescue)) in windows.into_iter().enumerate() {
        let lifetime = Lifetime::fresh_for(MINUTE)
            .stale_while_revalidate(secs(revalidate))
            .stale_if_error(secs(rescue));
        cache.insert_with(format!("key {number}"), number, lifetime, ["tag"]);
    }
    clock.advance(secs(5));
    cache.soft_purge_tag("tag");
    // Marked again, which opens no window anew.
    clock.advance(secs(5));
    cache.soft_purge_tag("tag");
    let swept = |at: u64| {
        clock.advance(secs(at));
        let count = cache.sweep();
        assert_eq!(cache.sweep(), 0);
        count
    };
    assert_eq!([swept(0), swept(4), swept(1), swept(9), swept(1)], [1, 0, 1, 0, 2]);
}

#[test]
fn what_was_stored_since_a_purge_is_not_swept() {
    let (cache, _clock) = filled_with_hot(Eviction::S3Fifo, 100);
    cache.purge_tag("old");
    for key in 0..50 {
        cache.insert_with(format!("old {key}"), 1, Lifetime::fresh_for(MINUTE), ["old"]);
    }
    assert_eq!(cache.sweep(), 50);
    assert!((0..50).all(|key| cache.get(format!("old {key}")) == Some(1)));
}

#[test]
fn removing_says_whether_it_was_of_use() {
    type Removal = fn(&Cache<usize>) -> usize;
    let removals: [(&str, Removal); 5] = [
        ("remove", |cache| usize::from(cache.remove("old 0"))),
        ("soft_remove", |cache| usize::from(cache.soft_remove("old 0"))),
        ("clear", Cache::clear),
        ("purge_prefix", |cache| cache.purge_prefix("old")),
        ("soft_purge_prefix", |cache| cache.soft_purge_prefix("old")),
    ];
    for eviction in POLICIES {
        for (name, remove) in removals {
            let (cache, _clock) = filled_with_hot(eviction, 1);
            assert_eq!(remove(&cache), 1, "{name}: it was fresh");
            assert_eq!(remove(&cache), 0, "{name}: it is gone, or stale without windows");
            for (end_name, end) in ENDS {
                let (cache, clock) = filled_with_hot(eviction, 1);
                end(&cache, &clock);
                assert_eq!(remove(&cache), 0, "{name} of what is {end_name}, {eviction:?}");
            }
            // Stale, and still of use.
            let clock = ManualClock::new();
            let cache = cache_with_windows(eviction, &clock).build();
            cache.insert("old 0", 0);
            clock.advance(MINUTE);
            assert_eq!(remove(&cache), 1, "{name} of what is stale, {eviction:?}");
        }
    }
}

fn cache_with_windows(eviction: Eviction, clock: &ManualClock) -> larder::Builder<usize> {
    cache(eviction).ttl(MINUTE).stale_if_error(MINUTE).clock(clock.clock())
}

/// On the system's clock, nobody calls `sweep`.
#[test]
fn what_a_purge_has_ended_goes_by_itself() {
    let cache = Cache::<String>::builder().build();
    for key in 0..1000 {
        let lifetime = Lifetime::fresh_for(MINUTE);
        cache.insert_with(format!("key {key}"), "value".to_owned(), lifetime, ["tag"]);
    }
    cache.purge_tag("tag");
    let began = std::time::Instant::now();
    while cache.stats().entries > 0 {
        assert!(began.elapsed() < secs(10), "they are still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}
