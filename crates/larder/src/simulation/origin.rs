//! Origin: what the caches fetch from. Its versions only grow.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

use super::{INSTANCES, dice::Dice, link::pass};
use crate::{Fetched, Purge, purge::Scope};

pub(super) const KEYS: usize = 4;

/// A key, and the tags it carries. The first one's values are so long that they lie in pieces below.
const OF_KEYS: [(&str, &[&str]); KEYS] =
    [("posts/1", &["a"]), ("posts/2", &["a", "b"]), ("users/1", &["b"]), ("users/2", &[])];
const LONG: usize = 17 << 10;
/// So many of a hundred fetches read what changes, and is purged, before they end.
const RACED: u64 = 8;

pub(super) fn name(key: usize) -> &'static str {
    OF_KEYS[key].0
}

/// What a purge may name.
pub(super) fn some_scope(dice: &mut Dice) -> Purge {
    match dice.below(10) {
        0..4 => Purge::key(name(dice.index(KEYS))),
        4..7 => Purge::tag(["a", "b"][dice.index(2)]),
        7..9 => Purge::prefix(["posts/", "users/"][dice.index(2)]),
        _ => Purge::everything(),
    }
}

/// Whether it names this key.
pub(super) fn names(scope: &Scope, key: usize) -> bool {
    let (name, tags) = OF_KEYS[key];
    match scope {
        Scope::Key(key) => key == name,
        Scope::Tag(tag) => tags.contains(&tag.as_str()),
        Scope::Prefix(prefix) => name.starts_with(prefix.as_str()),
        Scope::Glob(glob) => glob.fits(name),
        Scope::Everything => true,
    }
}

/// What was served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    pub(super) version: u64,
    /// When the origin had answered with it.
    pub(super) answered: Instant,
}

/// The value of the nth answer, from 0 on.
fn value(key: usize, version: u64, nth: usize) -> String {
    let filling = if key == 0 { LONG } else { 0 };
    format!("{version} {nth} {} {:x<filling$}", name(key), "")
}

#[derive(Debug, thiserror::Error)]
#[error("the origin is down")]
pub(super) struct Down;

pub(super) struct Origin {
    seed: u64,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    versions: [u64; KEYS],
    /// How often each instance has asked for each.
    fetches: [[u64; KEYS]; INSTANCES],
    /// When it answered for each.
    answers: [Vec<Instant>; KEYS],
    /// Keys that are to change while they are being fetched.
    raced: Vec<usize>,
    /// One answer takes so many milliseconds at most.
    most_ms: u64,
    /// So many of a hundred fetches fail.
    fails: u64,
}

impl Origin {
    pub(super) fn new(seed: u64, began: Instant, most_ms: u64, fails: u64) -> Arc<Self> {
        let state = State { most_ms, fails, versions: [1; KEYS], ..State::default() };
        Arc::new(Origin { seed, began, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under it")
    }

    /// What this is a value of, if it is one of this key's, to the last letter.
    pub(super) fn read(&self, key: usize, served: &str) -> Option<Served> {
        let mut parts = served.splitn(3, ' ');
        let version = parts.next()?.parse().ok()?;
        let nth = parts.next()?.parse().ok()?;
        let answered = *self.lock().answers[key].get(nth)?;
        (served == value(key, version, nth)).then_some(Served { version, answered })
    }

    pub(super) fn version(&self, key: usize) -> u64 {
        self.lock().versions[key]
    }

    pub(super) fn update(&self, key: usize) {
        self.lock().versions[key] += 1;
    }

    /// How often it was asked for a key.
    pub(super) fn fetches(&self, key: usize) -> u64 {
        self.lock().fetches.iter().map(|of_keys| of_keys[key]).sum()
    }

    /// One that has changed right after it was read.
    pub(super) fn raced(&self) -> Option<usize> {
        self.lock().raced.pop()
    }

    pub(super) fn recover(&self) {
        self.lock().fails = 0;
    }

    /// Reads at some moment of the time that it takes.
    pub(super) async fn fetch(
        self: Arc<Self>,
        instance: usize,
        key: usize,
    ) -> Result<Fetched<String>, Down> {
        let mut dice = {
            let mut state = self.lock();
            let nth = &mut state.fetches[instance][key];
            *nth += 1;
            Dice::of(self.seed, &[instance as u64, key as u64, *nth])
        };
        let most_ms = self.lock().most_ms;
        let [there, back] = [(); 2].map(|()| Duration::from_millis(dice.between(0, most_ms / 2)));
        pass(self.began, instance, there).await;
        let version = self.version(key);
        if dice.percent(RACED) {
            self.lock().raced.push(key);
        }
        pass(self.began, instance, back).await;
        if dice.percent(self.lock().fails) {
            return Err(Down);
        }
        let nth = {
            let answers = &mut self.lock().answers[key];
            answers.push(Instant::now());
            answers.len() - 1
        };
        Ok(Fetched::new(value(key, version, nth)).tags(OF_KEYS[key].1.iter().copied()))
    }
}
