//! Flights alone: who leads, who follows, and what a leader that goes away leaves behind.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    sync::Arc,
};

use shuttle::{
    future::block_on,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{RUNS, in_many_orders};
use crate::{
    engine::flight::{Flights, Join, Landing, Leader},
    turns::Turns,
};

const READERS: usize = 4;
const BROUGHT: &str = "brought";

/// What a leader does with its flight.
type Lead = fn(Leader<&'static str>, number: usize);

/// Readers of one key who ask until they are given something. Each flight has its number, and there
/// is never more than one; returns what the readers were given, and how many flights there were.
fn flights(lead: Lead) -> (Vec<Landing<&'static str>>, usize) {
    let flights = Flights::new(READERS, Turns::new(1), false);
    let begun = Arc::new(AtomicUsize::new(0));
    let under_way = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (flights, begun) = (Arc::clone(&flights), Arc::clone(&begun));
            let under_way = Arc::clone(&under_way);
            thread::spawn(move || {
                let key = Arc::from("key");
                loop {
                    match flights.join(&key, || 0) {
                        Join::Lead(leader) => {
                            let follower = leader.follower();
                            assert_eq!(under_way.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                            let number = begun.fetch_add(1, Ordering::SeqCst);
                            under_way.fetch_sub(1, Ordering::SeqCst);
                            lead(leader, number);
                            if let Some(landing) = block_on(follower.landing()) {
                                return landing;
                            }
                        }
                        Join::Follow(follower) => {
                            if let Some(landing) = block_on(follower.landing()) {
                                return landing;
                            }
                        }
                        Join::TooMany => panic!("there is one key"),
                    }
                }
            })
        })
        .collect();
    let landings = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    assert!(matches!(flights.join(&Arc::from("key"), || 0), Join::Lead(_)), "a flight was left");
    (landings, begun.load(Ordering::SeqCst))
}

#[test]
fn everybody_is_given_what_the_only_flight_at_a_time_brings() {
    in_many_orders(RUNS, || {
        let (landings, _) = flights(|leader, _| leader.land(BROUGHT));
        assert!(landings.iter().all(|landing| matches!(landing, Landing::Landed(BROUGHT))));
    });
}

#[test]
fn leaders_that_give_up_hand_over_until_one_lands() {
    in_many_orders(RUNS, || {
        let (landings, begun) = flights(|leader, number| {
            if number < 3 {
                drop(leader);
            } else {
                leader.land(BROUGHT);
            }
        });
        assert!(landings.iter().all(|landing| matches!(landing, Landing::Landed(BROUGHT))));
        assert!(begun > 3);
    });
}

/// Goes down with a panic. Not `panic!`: nobody should read about it.
fn goes_down(with: Leader<&'static str>) {
    let _leader = with;
    resume_unwind(Box::new("it panicked"));
}

#[test]
fn a_leader_whose_fetch_panics_tells_everybody_who_follows_it() {
    in_many_orders(RUNS, || {
        let (landings, begun) = flights(|leader, number| {
            if number > 0 {
                return leader.land(BROUGHT);
            }
            let polled = leader.polled();
            let gone_down = catch_unwind(AssertUnwindSafe(|| {
                block_on(polled.run(pin!(async { goes_down(leader) })));
            }));
            assert!(gone_down.is_err());
        });
        let told = landings.iter().filter(|landing| matches!(landing, Landing::Panicked)).count();
        assert!(told >= 1, "its own reader at least");
        assert!(begun > 1 || told == READERS);
    });
}

#[test]
fn a_leader_that_goes_down_with_its_readers_task_hands_over() {
    in_many_orders(RUNS, || {
        let (landings, begun) = flights(|leader, number| {
            if number > 0 {
                return leader.land(BROUGHT);
            }
            let gone_down = catch_unwind(AssertUnwindSafe(|| goes_down(leader)));
            assert!(gone_down.is_err());
        });
        assert!(landings.iter().all(|landing| matches!(landing, Landing::Landed(BROUGHT))));
        assert!(begun > 1);
    });
}

#[test]
fn who_joins_after_a_revocation_is_not_given_what_began_before() {
    in_many_orders(RUNS, || {
        let flights = Flights::<usize>::new(READERS, Turns::new(1), false);
        let (version, acknowledged) = (Arc::default(), Arc::default());
        let purger = {
            let flights = Arc::clone(&flights);
            let (version, acknowledged) = (Arc::clone(&version), Arc::clone(&acknowledged));
            thread::spawn(move || {
                for number in 1..=2 {
                    AtomicUsize::store(&version, number, Ordering::SeqCst);
                    flights.revoke("key");
                    AtomicUsize::store(&acknowledged, number, Ordering::SeqCst);
                }
            })
        };
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let flights = Arc::clone(&flights);
                let (version, acknowledged) = (Arc::clone(&version), Arc::clone(&acknowledged));
                thread::spawn(move || {
                    let asked = acknowledged.load(Ordering::SeqCst);
                    match flights.join(&Arc::from("key"), || 0) {
                        Join::Lead(leader) => {
                            let fetched = version.load(Ordering::SeqCst);
                            let newest = acknowledged.load(Ordering::SeqCst);
                            assert!(fetched >= newest || leader.is_revoked(), "it may be stored");
                            leader.land(fetched);
                        }
                        Join::Follow(follower) => match block_on(follower.landing()) {
                            Some(Landing::Landed(fetched)) => assert!(fetched >= asked, "older"),
                            _ => panic!("every leader lands"),
                        },
                        Join::TooMany => panic!("there is one key"),
                    }
                })
            })
            .collect();
        readers.into_iter().chain([purger]).for_each(|task| task.join().unwrap());
    });
}
