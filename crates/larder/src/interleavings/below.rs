//! Caches over one tier below memory, in one process that does to them what others would.

use std::{sync::Arc, time::Duration};

use shuttle::{future::block_on, thread};

use super::{
    RUNS,
    caches::{Origin, PURGES, builder, join, readers, time_passes},
    in_many_orders,
};
use crate::{
    Cache, Mode, Purge, Scope, Tier, TierState,
    codec::{Codec, CodecError},
    lower::InProcess,
};

struct Number;

impl Codec<u64> for Number {
    fn format(&self) -> &str {
        "u64"
    }

    fn encode(&self, value: &u64) -> Result<bytes::Bytes, CodecError> {
        Ok(bytes::Bytes::copy_from_slice(&value.to_le_bytes()))
    }

    fn decode(&self, bytes: bytes::Bytes) -> Result<u64, CodecError> {
        Ok(u64::from_le_bytes(bytes.as_ref().try_into()?))
    }
}

/// A tier, and caches over it that are processes of their own.
fn over_one_tier<const CACHES: usize>() -> (InProcess, [Cache<u64>; CACHES]) {
    let (_, clock) = builder();
    let tier = InProcess::new(clock.clock());
    let caches = std::array::from_fn(|_| builder().0.lower(tier.clone(), Number).build());
    (tier, caches)
}

fn scopes() -> [Scope; 4] {
    let (key, prefix, tag) = ("key".to_owned(), "ke".to_owned(), "tag".to_owned());
    [Scope::Key(key), Scope::Prefix(prefix), Scope::Tag(tag), Scope::Everything]
}

/// The data change, and a purge is made that waits for the tier. It counts as acknowledged if the tier has
/// said so.
fn change(origin: &Origin, cache: &Cache<u64>, scope: &Scope, mode: Mode) {
    origin.change_if(|| {
        let purge = Purge { scope: scope.clone(), mode, wait: Tier::Shared, asked: None };
        let receipt = block_on(cache.purge(purge)).expect("there is such a tier");
        let state = receipt.tiers.last().map(|tier| tier.state.clone());
        matches!(state, Some(TierState::Applied { .. }))
    });
}

#[test]
fn readers_of_two_caches_cause_one_fetch_at_a_time_and_all_are_answered() {
    in_many_orders(RUNS, || {
        let (_tier, [one, other]) = over_one_tier();
        let origin = Arc::new(Origin::default());
        let both = [readers(2, &one, &origin), readers(2, &other, &origin)];
        join(both.into_iter().flatten());
        assert_eq!((origin.calls(), origin.most_at_once()), (1, 1));
    });
}

#[test]
fn nothing_older_than_a_purge_of_this_process_comes_back_from_below() {
    for purge in PURGES {
        for is_below in [true, false] {
            in_many_orders(RUNS / 8, move || {
                let (tier, [one, other]) = over_one_tier();
                let origin = Arc::new(Origin::default());
                if is_below {
                    block_on(origin.ask(&other));
                }
                let purger = {
                    let (one, origin) = (one.clone(), Arc::clone(&origin));
                    thread::spawn(move || {
                        time_passes();
                        origin.change(|_| purge(&one));
                        block_on(origin.ask(&one));
                    })
                };
                join(readers(2, &one, &origin).into_iter().chain([purger]));
                assert!(one.get("key").is_none_or(|version| version >= 1), "it was kept");
                drop(tier);
            });
        }
    }
}

#[test]
fn nothing_older_than_a_purge_that_the_tier_acknowledged_is_served_by_who_asks_it_afterwards() {
    for scope in scopes() {
        for mode in [Mode::Soft, Mode::Hard] {
            // A scenario is tried out again and again, and so copies what it needs.
            let scope: &'static Scope = Box::leak(Box::new(scope.clone()));
            in_many_orders(RUNS / 8, move || {
                let (_tier, [one, other]) = over_one_tier();
                let origin = Arc::new(Origin::default());
                block_on(origin.ask(&one));
                let purger = {
                    let (one, origin) = (one.clone(), Arc::clone(&origin));
                    thread::spawn(move || {
                        time_passes();
                        change(&origin, &one, scope, mode);
                    })
                };
                let reader = {
                    let (other, origin) = (other.clone(), Arc::clone(&origin));
                    thread::spawn(move || {
                        for _ in 0..2 {
                            time_passes();
                            let acknowledged = origin.acknowledged();
                            block_on(other.catch_up()).expect("the tier answers");
                            block_on(origin.ask_since(&other, acknowledged));
                        }
                    })
                };
                join(readers(1, &one, &origin).into_iter().chain([purger, reader]));
                block_on(other.catch_up()).expect("the tier answers");
                assert!(other.get("key").is_none_or(|version| version >= 1), "it was kept");
            });
        }
    }
}

#[test]
fn a_tier_that_fails_or_is_away_undoes_no_purge_and_leaves_nobody_waiting() {
    for nth in [2, 3, 5] {
        in_many_orders(RUNS / 4, move || {
            let (tier, [one, other]) = over_one_tier();
            let origin = Arc::new(Origin::default());
            block_on(origin.ask(&other));
            tier.fail_every(nth);
            let purger = {
                let (one, origin, tier) = (one.clone(), Arc::clone(&origin), tier.clone());
                thread::spawn(move || {
                    time_passes();
                    origin.change(|_| one.purge_tag("tag"));
                    tier.lose_answers(true);
                    time_passes();
                    tier.lose_answers(false);
                    block_on(origin.ask(&one));
                    tier.fail_every(0);
                })
            };
            join(readers(2, &one, &origin).into_iter().chain([purger]));
            assert!(one.get("key").is_none_or(|version| version >= 1), "it was kept");
        });
    }
}

#[test]
fn an_insert_is_not_undone_by_what_lies_below() {
    in_many_orders(RUNS / 2, || {
        let (_tier, [one, other]) = over_one_tier();
        let origin = Arc::new(Origin::default());
        block_on(origin.ask(&other));
        let writer = {
            let (one, origin) = (one.clone(), Arc::clone(&origin));
            thread::spawn(move || {
                time_passes();
                // For no time at all: it is out of memory at once, as what has to make room is.
                origin.change(|newest| _ = one.insert_with_ttl("key", newest, Duration::ZERO));
                block_on(origin.ask(&one));
            })
        };
        join(readers(2, &one, &origin).into_iter().chain([writer]));
        assert!(one.get("key").is_none_or(|version| version >= 1));
    });
}

#[test]
fn a_log_that_is_lost_meanwhile_brings_nothing_back() {
    in_many_orders(RUNS, || {
        let (tier, [one, other]) = over_one_tier();
        let origin = Arc::new(Origin::default());
        block_on(origin.ask(&other));
        let purger = {
            let (one, origin) = (one.clone(), Arc::clone(&origin));
            thread::spawn(move || {
                time_passes();
                origin.change(|_| _ = one.remove("key"));
                block_on(origin.ask(&one));
            })
        };
        let server = thread::spawn(move || {
            time_passes();
            tier.begin_another_log();
        });
        join(readers(2, &one, &origin).into_iter().chain([purger, server]));
        assert!(one.get("key").is_none_or(|version| version >= 1), "it was kept");
    });
}
