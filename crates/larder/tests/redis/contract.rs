//! Contract: the same random steps over the tier in this process and over Redis, and what both must say.

use std::{collections::HashMap, time::Duration};

use larder::{
    Clock, Mode, Scope,
    lower::{
        FoldedScope, InProcess, LowerPurge, LowerTier, Position, Reader, Readers, Tail, bucket,
    },
    redis::Redis,
};
use larder_test_support::redis::Redis as Server;

use crate::control::{id, reader, tell};

const SEEDS: u64 = 100;
const STEPS: usize = 60;

/// Splitmix64, so that a seed is the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// A position as it is in both: of which log, and after how many purges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At {
    log: usize,
    number: u64,
}

/// One of the two tiers, and how its positions are read.
struct Side<T> {
    tier: T,
    /// The generation of each log, and the number at which it began.
    logs: Vec<Position>,
}

impl<T: LowerTier> Side<T> {
    async fn new(tier: T) -> Self {
        let mut side = Side { tier, logs: Vec::new() };
        side.meets_another_log().await;
        side
    }

    async fn meets_another_log(&mut self) {
        let begin = self.tier.tail(None).await.unwrap().position;
        assert!(self.logs.iter().all(|log| log.generation != begin.generation), "none comes back");
        self.logs.push(begin);
    }

    fn position(&self, at: At) -> Position {
        let begin = self.logs[at.log];
        Position { number: begin.number + at.number, ..begin }
    }

    fn at(&self, position: Position) -> At {
        let log = self.logs.iter().position(|log| log.generation == position.generation).unwrap();
        At { log, number: position.number - self.logs[log].number }
    }

    fn readers(&self) -> &dyn Readers {
        self.tier.readers().unwrap()
    }

    /// Every later purge is told one by one, or together with others, or that there was something is said.
    fn check_tail(&self, tail: &Tail, since: Option<At>, model: &Model) {
        let log = self.logs.len() - 1;
        let begin = self.logs[log].number;
        let end = At { log, number: model.purges.len() as u64 };
        assert_eq!(self.at(tail.position), end);
        let since = since.filter(|since| since.log == log).map_or(0, |since| since.number);
        let whole_since = tail.whole_since - begin;
        let told: HashMap<u64, &LowerPurge> =
            tail.purges.iter().map(|it| (it.number - begin, &it.purge)).collect();
        assert_eq!(told.len(), tail.purges.len(), "none is told twice");
        assert!(tail.purges.is_sorted_by_key(|logged| logged.number));
        let mut is_told_of_all = true;
        for (number, purge) in (1..).zip(&model.purges).filter(|(number, _)| *number > since) {
            match told.get(&number) {
                Some(told) => assert_eq!(*told, purge),
                None => {
                    is_told_of_all = false;
                    let is_folded = || {
                        purge
                            .scopes
                            .iter()
                            .all(|scope| is_in(tail, scope, purge.mode, begin + number))
                    };
                    assert!(
                        whole_since >= number || is_folded(),
                        "{number} of {tail:?} after {since}"
                    );
                }
            }
        }
        assert_eq!(is_told_of_all, since >= model.lost, "{since} {} {tail:?}", model.lost);
        // Whoever was told of all is not told of a gap.
        let is_gap =
            whole_since > since || tail.folded.iter().any(|it| it.newest() - begin > since);
        assert_eq!(is_gap, !is_told_of_all, "{tail:?} after {since}");
    }
}

/// Whether what is told together names as much, and leaves no more.
fn is_in(tail: &Tail, scope: &Scope, mode: Mode, number: u64) -> bool {
    let scope = match scope {
        Scope::Key(key) => FoldedScope::Keys(bucket(key)),
        Scope::Tag(tag) => FoldedScope::Tags(bucket(tag)),
        Scope::Prefix(prefix) => FoldedScope::Prefix(prefix.clone()),
        _ => FoldedScope::Everything,
    };
    tail.folded.iter().filter(|folded| folded.scope == scope).any(|folded| {
        let softly = folded.soft.iter().any(|(soft, _)| *soft >= number);
        folded.hard >= number || mode == Mode::Soft && softly
    })
}

/// What there is to be known.
#[derive(Default)]
struct Model {
    /// Of the present log.
    purges: Vec<LowerPurge>,
    /// So many of them the log has lost.
    lost: u64,
    next_id: u64,
    readers: HashMap<u64, Option<At>>,
    /// Some that were told.
    positions: Vec<At>,
}

impl Model {
    fn purge(&mut self, random: &mut Random) -> LowerPurge {
        let lost = self.lost as usize;
        if random.below(4) == 0 && self.purges.len() > lost {
            return self.purges[lost + random.below(self.purges.len() - lost)].clone();
        }
        self.next_id += 1;
        let name = format!("{}", random.below(6));
        let scope = match random.below(8) {
            0..3 => Scope::Key(name),
            3..6 => Scope::Tag(name),
            6 => Scope::Prefix(name),
            _ => Scope::Everything,
        };
        let mode = if random.below(2) == 0 { Mode::Hard } else { Mode::Soft };
        let scopes = vec![scope, Scope::Tag("all".into())];
        LowerPurge { id: id(self.next_id), scopes, mode }
    }

    fn append(&mut self, log: usize, purges: &[LowerPurge]) -> At {
        let number = |model: &mut Self, purge: &LowerPurge| {
            let known = model.purges.iter().position(|known| known.id == purge.id);
            known.unwrap_or_else(|| {
                model.purges.push(purge.clone());
                model.purges.len() - 1
            }) as u64
                + 1
        };
        let numbers: Vec<_> = purges.iter().map(|purge| number(self, purge)).collect();
        At { log, number: numbers.into_iter().max().unwrap_or(self.purges.len() as u64) }
    }

    /// Readers that have said so, of how many. Whether whoever reads a log that came later counts, or only the last one: `counts_any_later`.
    fn holds(&self, at: At, log: usize, counts_any_later: bool) -> (usize, usize) {
        let has_read = |read: &&Option<At>| {
            read.is_some_and(|read| match read.log == at.log {
                true => read.number >= at.number,
                false => read.log == log || counts_any_later && read.log > at.log,
            })
        };
        (self.readers.values().filter(has_read).count(), self.readers.len())
    }

    fn any_position(&self, random: &mut Random) -> Option<At> {
        let place = random.below(self.positions.len() + 1);
        self.positions.get(place).copied()
    }
}

async fn try_out(server: &Server, seed: u64) {
    let namespace = format!("seed-{seed}");
    let keys = |what| format!("{{larder:{namespace}}}:{what}");
    let connect = || Redis::options(&server.url()).namespace(&namespace).connect().unwrap();
    let mut here = Side::new(InProcess::new(Clock::system()).with_readers()).await;
    let mut there = Side::new(connect()).await;
    let (mut random, mut model) = (Random(seed), Model::default());
    // Long enough ago for a purge to hold, for whoever has not seen it happen.
    let settled = ["HSET", &keys("ctl"), "changed", "1"];
    tell::<u64>(server, &settled).await;
    there.tier = connect();
    for _ in 0..STEPS {
        let log = here.logs.len() - 1;
        match random.below(20) {
            0..7 => {
                let count = random.below(4);
                let mut purges = Vec::new();
                for _ in 0..count {
                    let purge = model.purge(&mut random);
                    model.append(log, std::slice::from_ref(&purge));
                    purges.push(purge);
                }
                let at = model.append(log, &purges);
                assert_eq!(here.at(here.tier.append(&purges).await.unwrap()), at);
                assert_eq!(there.at(there.tier.append(&purges).await.unwrap()), at);
                model.positions.push(at);
            }
            7..12 => {
                let since = model.any_position(&mut random);
                let tail = here.tier.tail(since.map(|since| here.position(since))).await.unwrap();
                here.check_tail(&tail, since, &model);
                let since_there = since.map(|since| there.position(since));
                let tail = there.tier.tail(since_there).await.unwrap();
                there.check_tail(&tail, since, &model);
                // The server lets nobody wait for less than a tenth of a second.
                if let Some(since) = since_there.filter(|since| since.number < tail.position.number)
                {
                    let tail =
                        there.readers().follow(since, Duration::from_millis(1)).await.unwrap();
                    there.check_tail(&tail, Some(there.at(since)), &model);
                }
            }
            12 => {
                let keep = random.below(6);
                here.tier.trim_log(keep);
                let words = ["XTRIM", &keys("log"), "MAXLEN", &keep.to_string()];
                tell::<u64>(server, &words).await;
                model.lost = model.lost.max(model.purges.len().saturating_sub(keep) as u64);
            }
            13..16 => {
                let reader = reader(random.below(4) as u64);
                let read = model.any_position(&mut random);
                let end = At { log, number: model.purges.len() as u64 };
                assert_eq!(here.at(renew(&here, &reader, read).await), end);
                assert_eq!(there.at(renew(&there, &reader, read).await), end);
                model.readers.insert(reader.id, read);
            }
            16 => {
                let reader = reader(random.below(4) as u64);
                here.readers().leave(&reader).await.unwrap();
                there.readers().leave(&reader).await.unwrap();
                model.readers.remove(&reader.id);
            }
            17..19 => {
                let Some(at) = model.any_position(&mut random) else { continue };
                let holds = here.readers().holds(here.position(at), Duration::ZERO).await.unwrap();
                assert_eq!((holds.by, holds.of), model.holds(at, log, true));
                let holds =
                    there.readers().holds(there.position(at), Duration::ZERO).await.unwrap();
                assert_eq!((holds.by, holds.of), model.holds(at, log, false));
                assert_eq!(holds.missing.len(), holds.of - holds.by);
            }
            _ if random.below(4) == 0 => {
                here.tier.begin_another_log();
                tell::<u64>(server, &["DEL", &keys("ctl")]).await;
                here.meets_another_log().await;
                there.meets_another_log().await;
                (model.purges, model.lost) = (Vec::new(), 0);
                tell::<u64>(server, &settled).await;
                there.tier = connect();
            }
            _ => {}
        }
    }
}

async fn renew<T: LowerTier>(side: &Side<T>, reader: &Reader, read: Option<At>) -> Position {
    side.readers().renew(reader, read.map(|read| side.position(read))).await.unwrap()
}

#[tokio::test]
async fn redis_says_of_its_log_what_the_tier_in_this_process_says() {
    let server = Server::start().await;
    for seed in 0..SEEDS {
        println!("seed {seed}");
        try_out(&server, seed).await;
    }
}
