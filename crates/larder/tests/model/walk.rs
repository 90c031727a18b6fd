//! Walk: the same steps on a cache and on its model, side by side.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use larder::{
    AnswerSource, Cache, Compute, Computed, Eviction, FailureSource, Fetched, Freshness, Lifetime,
    ManualClock,
};
use proptest::prelude::*;
use tokio::{sync::oneshot, task::yield_now};

use crate::{
    model::{Answer, Asked, Counts, Model, Settings, State, Value},
    steps::{Choice, KEYS, Keep, Key, Mode, Put, Step, Windows, name, prefix, steps, tag, windows},
};

/// A fetch that waits for its reply.
type Call = oneshot::Sender<Result<Fetched<Value>, &'static str>>;

struct Walk {
    cache: Cache<Value>,
    clock: ManualClock,
    model: Model,
    /// Whether the cache may have let go what the model still has.
    may_evict: bool,
    max_bytes: usize,
    max_entries: Option<usize>,
    numbers: u64,
    calls: Arc<Mutex<Vec<Call>>>,
    called: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    eviction: Eviction,
    max_bytes: usize,
    max_entries: Option<usize>,
    may_evict: bool,
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn lifetime(windows: Windows) -> Lifetime {
    Lifetime::fresh_for(secs(windows.ttl))
        .stale_while_revalidate(secs(windows.revalidate))
        .stale_if_error(secs(windows.rescue))
}

fn fetched(value: Value, put: &Put) -> Fetched<Value> {
    let fetched = match put.keep {
        Keep::AsTheCacheSays => Fetched::new(value),
        Keep::For(windows) => Fetched::new(value).lifetime(lifetime(windows)),
        Keep::Not => Fetched::do_not_store(value),
    };
    fetched.tags(tags(put))
}

fn tags(put: &Put) -> impl Iterator<Item = String> {
    let bits = put.tags;
    (0..8).filter(move |number| bits & (1 << number) != 0).map(tag)
}

impl Walk {
    fn new(shape: Shape, settings: Settings) -> Walk {
        let clock = ManualClock::new();
        let mut builder = Cache::builder_with_weigher(|value: &Value| value.heap_bytes)
            .ttl(secs(settings.windows.ttl))
            .stale_while_revalidate(secs(settings.windows.revalidate))
            .stale_if_error(secs(settings.windows.rescue))
            .negative_ttl(secs(settings.negative_secs))
            .eviction(shape.eviction)
            .max_bytes(shape.max_bytes)
            .clock(clock.clock());
        if let Some(idle_secs) = settings.idle_secs {
            builder = builder.time_to_idle(secs(idle_secs));
        }
        if let Some(fraction) = settings.refresh_ahead {
            builder = builder.refresh_ahead(fraction);
        }
        if let Some(max_entries) = shape.max_entries {
            builder = builder.max_entries(max_entries);
        }
        Walk {
            cache: builder.build(),
            clock,
            model: Model::new(settings),
            may_evict: shape.may_evict,
            max_bytes: shape.max_bytes,
            max_entries: shape.max_entries,
            numbers: 0,
            calls: Arc::default(),
            called: Arc::default(),
        }
    }

    fn value(&mut self, put: Option<&Put>) -> Value {
        self.numbers += 1;
        Value { number: self.numbers, heap_bytes: put.map_or(0, |put| put.heap_bytes) }
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Ask { key, reply, meanwhile } => {
                self.ask(*key, reply.as_ref(), meanwhile).await;
            }
            step => self.take_at_once(step),
        }
        self.check();
    }

    fn take_at_once(&mut self, step: &Step) {
        match step {
            Step::Insert(key, put) => self.insert(*key, put),
            Step::Get(key) => assert_eq!(self.cache.get(name(*key)), self.model.get(*key)),
            Step::Ask { .. } => unreachable!("it takes its time"),
            Step::Remove(key, mode) => {
                let was_there = match mode {
                    Mode::Soft => self.cache.soft_remove(name(*key)),
                    Mode::Hard => self.cache.remove(name(*key)),
                };
                assert_eq!(was_there, self.model.remove(*key, *mode));
            }
            Step::Take(key) => assert_eq!(self.cache.take(name(*key)), self.model.take(*key)),
            Step::Touch { key, secs: ttl } => {
                let touched = self.cache.touch(name(*key), secs(*ttl));
                assert_eq!(touched, self.model.touch(*key, *ttl));
            }
            Step::Compute(key, choice) => self.compute(*key, choice),
            Step::RetainLocal(bits) => {
                let goes = |key: &str| (0..KEYS).any(|k| bits & (1 << k) != 0 && name(k) == key);
                let removed = self.cache.retain_local(|key, _| !goes(key));
                assert_eq!(removed, self.model.retain_local(*bits));
            }
            Step::Clear(mode) => {
                let count = match mode {
                    Mode::Soft => {
                        self.cache.soft_clear();
                        0
                    }
                    Mode::Hard => self.cache.clear(),
                };
                assert_eq!(count, self.model.clear(*mode));
            }
            Step::PurgeTag(number, mode) => {
                match mode {
                    Mode::Soft => self.cache.soft_purge_tag(&tag(*number)),
                    Mode::Hard => self.cache.purge_tag(&tag(*number)),
                }
                self.model.purge_tag(*number, *mode);
            }
            Step::PurgePrefix(number, mode) => {
                let count = match mode {
                    Mode::Soft => self.cache.soft_purge_prefix(prefix(*number)),
                    Mode::Hard => self.cache.purge_prefix(prefix(*number)),
                };
                assert_eq!(count, self.model.purge_prefix(*number, *mode));
            }
            Step::Advance { secs } => {
                self.clock.advance(Duration::from_secs(*secs));
                self.model.advance(*secs);
            }
            Step::Sweep => assert_eq!(self.cache.sweep(), self.model.sweep()),
            Step::Resize { max_bytes } => {
                self.cache.resize(*max_bytes);
                self.max_bytes = *max_bytes;
            }
        }
        self.check();
    }

    fn insert(&mut self, key: Key, put: &Put) {
        let value = self.value(Some(put));
        _ = match put.keep {
            Keep::AsTheCacheSays if put.tags == 0 => self.cache.insert(name(key), value),
            Keep::AsTheCacheSays => {
                // An insert with tags says for how long as well.
                let put = Put { keep: Keep::For(self.model.default_windows()), ..put.clone() };
                return self.insert_with(key, value, &put);
            }
            Keep::For(_) => return self.insert_with(key, value, put),
            Keep::Not => self.cache.insert_with_ttl(name(key), value, Duration::ZERO),
        };
        self.model.insert(key, value, put);
    }

    fn insert_with(&mut self, key: Key, value: Value, put: &Put) {
        let Keep::For(windows) = put.keep else { unreachable!("said by the caller") };
        self.cache.insert_with(name(key), value, lifetime(windows), tags(put));
        self.model.insert(key, value, put);
    }

    fn compute(&mut self, key: Key, choice: &Choice) {
        let put = if let Choice::Store(put) = choice { Some(put) } else { None };
        let value = self.value(put);
        let mut seen = None;
        let computed = self.cache.compute(name(key), |found| {
            seen = found.copied();
            match choice {
                Choice::Keep => Compute::Keep,
                Choice::Store(put) => Compute::Store(fetched(value, put)),
                Choice::Remove => Compute::Remove,
            }
        });
        assert_eq!(seen, self.model.fresh(key));
        let as_chosen = matches!(
            (choice, computed),
            (Choice::Keep, Ok(Computed::Kept))
                | (Choice::Store(_), Ok(Computed::Stored(_)))
                | (Choice::Remove, Ok(Computed::Removed))
        );
        assert!(as_chosen, "nothing comes in between");
        self.model.compute(key, value, choice);
    }

    async fn ask(&mut self, key: Key, reply: Option<&Put>, meanwhile: &[Step]) {
        let value = self.value(reply);
        let expected = self.model.ask(key);
        let called = self.called.load(Ordering::SeqCst);
        let reader = self.reader(key);
        settle().await;
        let is_called = self.called.load(Ordering::SeqCst) > called;
        let (at_once, flight) = match expected {
            Asked::At(answer) => (Some(answer), None),
            Asked::Refreshing(answer, flight) => (Some(answer), Some(flight)),
            Asked::Waiting(flight) => (None, Some(flight)),
        };
        assert_eq!(is_called, flight.is_some(), "whether the origin is asked");
        assert_eq!(reader.is_finished(), at_once.is_some(), "whether the reader waits");
        let Some(flight) = flight else {
            assert_eq!(Some(reader.await.unwrap()), at_once);
            return;
        };
        self.model.begin(flight);
        meanwhile.iter().for_each(|step| self.take_at_once(step));
        let call = self.calls.lock().unwrap().pop().unwrap();
        assert!(call.send(reply.map(|put| fetched(value, put)).ok_or("down")).is_ok());
        settle().await;
        let landed = self.model.land(value, reply);
        assert_eq!(reader.await.unwrap(), at_once.unwrap_or(landed));
    }

    /// A reader, as a task of its own.
    fn reader(&self, key: Key) -> tokio::task::JoinHandle<Answer> {
        let (cache, calls) = (self.cache.clone(), Arc::clone(&self.calls));
        let called = Arc::clone(&self.called);
        tokio::spawn(async move {
            let fetch = async move || {
                called.fetch_add(1, Ordering::SeqCst);
                let (call, reply) = oneshot::channel();
                calls.lock().unwrap().push(call);
                reply.await.unwrap()
            };
            match cache.answer(name(key), fetch).await {
                Ok(answer) => match answer.source {
                    AnswerSource::Hit => Answer::Hit(answer.value),
                    AnswerSource::Stale(_) => Answer::Stale(answer.value),
                    AnswerSource::Fetched(_) => Answer::Fetched(answer.value),
                    AnswerSource::Collapsed(_) => panic!("there is one reader at a time"),
                    AnswerSource::Lower => panic!("there is nothing below memory"),
                },
                Err(failure) if failure.source == FailureSource::Remembered => Answer::Remembered,
                Err(_) => Answer::Failed,
            }
        })
    }

    /// What holds after every step.
    fn check(&mut self) {
        for key in 0..KEYS {
            let Some(view) = self.cache.entry(name(key)) else {
                if self.may_evict {
                    self.model.evict(key);
                }
                assert_eq!(self.model.look(key), None, "{} is missing", name(key));
                continue;
            };
            let state = match view.freshness {
                Freshness::Fresh { left } => State::Fresh { left: left.as_secs() },
                Freshness::StaleWhileRevalidate { stale } => {
                    State::StaleWhileRevalidate { stale: stale.as_secs() }
                }
                Freshness::StaleIfError { stale } => State::StaleIfError { stale: stale.as_secs() },
                Freshness::Expired => State::Expired,
            };
            assert_eq!(Some((view.value, state)), self.model.look(key), "{}", name(key));
            let is_fresh = matches!(state, State::Fresh { .. });
            assert_eq!(self.cache.contains_key(name(key)), is_fresh, "{}", name(key));
        }
        let mut keys = self.cache.keys(usize::MAX);
        keys.sort_unstable();
        let of_use = (0..KEYS).filter(|&key| !self.model.is_over(key)).map(name);
        assert_eq!(keys, of_use.collect::<Vec<_>>());
        let stats = self.cache.stats();
        assert!(
            stats.bytes <= self.max_bytes as u64 && stats.max_bytes == Some(self.max_bytes as u64)
        );
        assert!(self.max_entries.is_none_or(|max_entries| stats.entries <= max_entries as u64));
        assert_eq!(stats.entries, self.model.held() as u64);
        let counts = Counts {
            hits: stats.hits,
            misses: stats.misses,
            stale_served: stats.stale_served,
            negative_hits: stats.negative_hits,
            loads: stats.fetches,
            fetch_failures: stats.fetch_failures,
            refreshes: stats.refreshes,
            held_back: stats.refreshes_held_back,
            purges: stats.purges,
        };
        // A failure is counted by its task, whose reader may not have been given it yet.
        assert_eq!(counts, self.model.counts);
    }
}

/// Everything runs that can: there is one thread, and nobody waits for time to pass.
async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

fn walk(shape: Shape, settings: Settings, steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut walk = Walk::new(shape, settings);
        for step in steps {
            walk.take(step).await;
        }
    });
}

fn settings(negative_secs: std::ops::Range<u64>) -> impl Strategy<Value = Settings> {
    let refresh_ahead = prop_oneof![Just(None), Just(Some(0.0)), Just(Some(0.5))];
    let idle_secs = prop_oneof![2 => Just(None), 1 => (1..20_u64).prop_map(Some)];
    (windows(), refresh_ahead, negative_secs, idle_secs).prop_map(
        |(windows, refresh_ahead, negative_secs, idle_secs)| Settings {
            windows,
            refresh_ahead,
            negative_secs,
            idle_secs,
        },
    )
}

fn eviction() -> impl Strategy<Value = Eviction> {
    prop_oneof![Just(Eviction::S3Fifo), Just(Eviction::Lru)]
}

proptest! {
    #[test]
    fn where_there_is_room_a_cache_does_exactly_what_its_model_does(
        eviction in eviction(),
        max_bytes in prop_oneof![Just(64 << 10), Just(256 << 20)],
        settings in settings(0..10),
        steps in steps(1000, 48 << 10..1 << 20),
    ) {
        let shape = Shape { eviction, max_bytes, max_entries: None, may_evict: false };
        walk(shape, settings, &steps);
    }

    #[test]
    fn where_there_is_not_it_may_forget_and_never_serves_anything_else(
        eviction in eviction(),
        max_bytes in 0..4000_usize,
        max_entries in prop_oneof![Just(None), (1..6_usize).prop_map(Some)],
        settings in settings(0..1),
        steps in steps(2000, 0..4000),
    ) {
        let shape = Shape { eviction, max_bytes, max_entries, may_evict: true };
        walk(shape, settings, &steps);
    }

    #[test]
    fn nor_where_it_has_several_shards(
        eviction in eviction(),
        settings in settings(0..1),
        steps in steps(9 << 20, 0..32 << 20),
    ) {
        let shape = Shape { eviction, max_bytes: 16 << 20, max_entries: None, may_evict: true };
        walk(shape, settings, &steps);
    }
}
