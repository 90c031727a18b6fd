//! Simulation: several instances over one tier, with faults, in a time of its own; one seed makes one run.
//!
//! ```text
//! cargo test -p larder --lib simulation
//! LARDER_SEED=17 cargo test -p larder --lib simulation -- --nocapture    one run, told
//! LARDER_SEEDS=5000 cargo test -p larder --lib simulation                so many of them
//! LARDER_FIRST=300 LARDER_SECONDS=60 …                                   from that one on; as many as there is time for
//! LARDER_RULES=Gap cargo test -p larder --lib simulation::how -- --ignored --nocapture    without these rules
//! ```
//!
//! The caches are the real ones, and so is the tier in this process. Between them lie *links* that are cut, slow, lose
//! calls and answers, and deliver them in any order ([`link`]); processes stand still or are killed ([`process`]).
//! Everything runs in one thread whose time is tokio's, paused, and all chance comes from the seed: also who of those who
//! wait for one thing is woken first ([`watch`]). So a seed makes the same run each time, to the millisecond.
//!
//! In some runs instances of two versions run side by side: neither understands what the other stores, and the older one
//! does not understand what the newer one purges ([`link`]).
//!
//! The laws, which are checked all the time ([`laws`]):
//!
//! 1. Nothing older than a purge is served to a reader who asks after its receipt has said that it holds, on any
//!    instance; on the instance that made it, once it has returned, whatever the receipt says.
//! 2. Among all instances one fetches a key, while nothing is wrong.
//! 3. Whoever asks is answered.
//! 4. When nothing is wrong any more, all is well again soon.
//!
//! That they would be noticed if they were broken is a test, too: each rule of the engine can be turned off
//! ([`Rule`]), and some run then breaks a law.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

mod dice;
mod laws;
mod link;
mod meanwhile;
mod origin;
mod process;
mod run;
pub(crate) mod watch;

pub(crate) use process::{is_under_way, random, spawn};

use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::rules::Rule;

const INSTANCES: usize = 3;

/// So many runs there are if nothing else is said.
const SEEDS: u64 = 300;

fn number_of(variable: &str) -> Option<u64> {
    let number = std::env::var(variable).ok()?;
    Some(number.parse().expect("a whole number"))
}

/// The seeds of this run of the tests.
fn seeds() -> Range<u64> {
    let first = number_of("LARDER_FIRST").unwrap_or(0);
    first..first + number_of("LARDER_SEEDS").unwrap_or(SEEDS)
}

/// The first `most` seeds whose runs break a law, without a rule if one is named; on all processors.
fn found(off: Option<Rule>, most: usize) -> Vec<(u64, Vec<String>)> {
    let (next, found) = (AtomicU64::new(seeds().start), Mutex::new(Vec::new()));
    let seconds = number_of("LARDER_SECONDS").map(Duration::from_secs);
    let began = Instant::now();
    let search = || {
        let _off = off.map(Rule::turn_off);
        while found.lock().unwrap().len() < most {
            if seconds.is_some_and(|seconds| began.elapsed() >= seconds) {
                return;
            }
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds().contains(&seed) {
                return;
            }
            let broken = run::run(seed).broken;
            if !broken.is_empty() {
                found.lock().unwrap().push((seed, broken));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(search);
        }
    });
    let tried = next.into_inner().min(seeds().end) - seeds().start;
    println!("{tried} seeds from {} on in {:?}", seeds().start, began.elapsed());
    let mut found = found.into_inner().unwrap();
    found.sort();
    found
}

#[test]
fn whatever_goes_wrong_nobody_is_served_what_was_purged_and_all_recovers() {
    if let Some(seed) = number_of("LARDER_SEED") {
        let outcome = run::run(seed);
        outcome.events.iter().for_each(|event| println!("{event}"));
        assert_eq!(outcome.broken, [""; 0]);
        return;
    }
    assert_eq!(found(None, 1), [], "LARDER_SEED=… tells what happens");
}

#[test]
fn one_seed_makes_one_run() {
    for seed in 0..24 {
        let [one, other] = [(); 2].map(|()| run::run(seed));
        assert!(one.events.len() > 50, "{one:?}");
        let differs = one.events.iter().zip(&other.events).find(|(one, other)| one != other);
        assert_eq!(differs, None, "{seed}");
        assert_eq!(one, other, "{seed}");
    }
}

/// For each rule a seed whose run breaks a law without it. After a change of the simulation, or of the engine, it may
/// be another one.
const FOUND_BY: [(Rule, u64); 17] = [
    (Rule::TrustIsComparedAtHits, 13),
    (Rule::TrustLastsFromSending, 58),
    (Rule::NothingIsKeptBeforeTheFirstRenewal, 13),
    (Rule::IsolationIsBounded, 1),
    (Rule::IsolationCountsFromTheBeginning, 1),
    (Rule::WithoutTrustNoEarlierFetchIsShared, 6),
    (Rule::GapPurgesMemory, 2),
    (Rule::AnotherLogPurgesMemory, 9),
    (Rule::EndedLogsAreIgnored, 166),
    (Rule::OutboxJudges, 2),
    (Rule::FailedPurgesAreSentAgain, 49),
    (Rule::OnlyTheUnsentIsFoldedInto, 137),
    (Rule::WrittenWithTheFenceOfItsFetch, 23),
    (Rule::FoundIsJudgedWithinReach, 62),
    (Rule::HoldsWaitsForAll, 0),
    (Rule::LapsesWithTimeOnly, 0),
    (Rule::OneHasTheLease, 0),
];

#[test]
fn a_rule_that_is_not_kept_is_noticed() {
    for (rule, seed) in FOUND_BY {
        let is_noticed = {
            let _off = rule.turn_off();
            !run::run(seed).broken.is_empty()
        };
        if !is_noticed {
            let others = found(Some(rule), 1);
            assert!(!others.is_empty(), "{rule:?}");
            println!("{rule:?} is found by {}, and no longer by {seed}", others[0].0);
        }
    }
    // That one needs two threads: see `meanwhile`.
    let others = Rule::ALL.into_iter().filter(|rule| *rule != Rule::DoneIsSaidWhenItIsDone);
    assert!(others.eq(FOUND_BY.map(|(rule, _)| rule)));
}

#[test]
#[ignore = "a report, for those who change the simulation: takes minutes"]
fn how_many_seeds_find_each_rule() {
    let Ok(named) = std::env::var("LARDER_RULES") else { return };
    for rule in Rule::ALL.into_iter().filter(|rule| format!("{rule:?}").contains(&named)) {
        let found = found(Some(rule), usize::MAX);
        let some: Vec<_> = found.iter().map(|(seed, _)| seed).take(5).collect();
        println!("{rule:?}: {} of {}, {some:?}", found.len(), seeds().end);
        if let Some((_, broken)) = found.first() {
            println!("    {}", broken[0]);
        }
    }
}
