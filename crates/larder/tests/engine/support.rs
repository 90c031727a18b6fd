//! Shapes of caches, a clock to go with them, and an origin that follows a script.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{
    Answer, Builder, Cache, Eviction, FetchError, Fetched, ManualClock, codec::Text,
    lower::InProcess,
};
pub(crate) use larder_test_support::paused::{secs, settle};
use tokio::{sync::oneshot, task::JoinHandle};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Every shape a cache of text can have, each with a clock of its own.
pub(crate) fn shapes() -> impl Iterator<Item = Shape> {
    let over_a_lower_tier = shapes_of_memory().take(1).map(|Shape { clock, builder, .. }| {
        let builder = builder.lower(InProcess::new(clock.clock()), Text);
        Shape { name: "S3-FIFO over a lower tier", clock, builder }
    });
    shapes_of_memory().chain(over_a_lower_tier)
}

/// Those that have nothing below memory.
pub(crate) fn shapes_of_memory() -> impl Iterator<Item = Shape> {
    let shape = |name, eviction, max_bytes| {
        let clock = ManualClock::new();
        let builder = Cache::<String>::builder()
            .ttl(MINUTE)
            .eviction(eviction)
            .max_bytes(max_bytes)
            .clock(clock.clock());
        Shape { name, clock, builder }
    };
    [
        shape("S3-FIFO, one shard", Eviction::S3Fifo, 64 << 10),
        shape("S3-FIFO, many shards", Eviction::S3Fifo, 256 << 20),
        shape("LRU, one shard", Eviction::Lru, 64 << 10),
        shape("LRU, many shards", Eviction::Lru, 256 << 20),
    ]
    .into_iter()
}

pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) clock: ManualClock,
    pub(crate) builder: Builder<String>,
}

type Reply = Result<Fetched<String>, &'static str>;
pub(crate) type Asked = JoinHandle<Result<Answer<String>, FetchError<&'static str>>>;

/// An origin that counts its calls and answers each when the test says so.
#[derive(Clone, Default)]
pub(crate) struct Origin {
    calls: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
    waiting: Arc<Mutex<VecDeque<oneshot::Sender<Reply>>>>,
}

impl Origin {
    pub(crate) fn new() -> Origin {
        Origin::default()
    }

    /// How often it was called.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// The most calls it ever saw at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }

    /// A reader that asks `cache` for `key`, in a task of its own.
    pub(crate) fn ask(&self, cache: &Cache<String>, key: &str) -> Asked {
        let (cache, key, origin) = (cache.clone(), key.to_owned(), self.clone());
        tokio::spawn(async move {
            let answer = cache.answer(key, move || origin.call()).await;
            answer.map_err(|failure| failure.error)
        })
    }

    /// As [`ask`](Origin::ask), answered at once with `value`.
    pub(crate) async fn fill(&self, cache: &Cache<String>, key: &str, value: &str) {
        let asked = self.ask(cache, key);
        settle().await;
        self.answer(value);
        assert_eq!(asked.await.unwrap().unwrap().value, value);
    }

    /// What a fetch calls.
    pub(crate) async fn call(self) -> Reply {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let _here = Here::enter(&self);
        let (reply, waiting) = oneshot::channel();
        self.waiting.lock().unwrap().push_back(reply);
        waiting.await.expect("the script answers every call it lets live")
    }

    /// Answers the oldest call that still waits.
    pub(crate) fn answer(&self, value: &str) {
        self.reply(Ok(Fetched::new(value.to_owned())));
    }

    pub(crate) fn fail(&self, error: &'static str) {
        self.reply(Err(error));
    }

    pub(crate) fn reply(&self, reply: Reply) {
        assert!(self.take().send(reply).is_ok(), "the call no longer waits");
    }

    /// The oldest call that still waits, to be answered out of order.
    pub(crate) fn take(&self) -> oneshot::Sender<Reply> {
        let mut waiting = self.waiting.lock().unwrap();
        while let Some(call) = waiting.pop_front() {
            if !call.is_closed() {
                return call;
            }
        }
        panic!("nobody calls the origin");
    }

    /// How many calls wait for their answer.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.lock().unwrap().iter().filter(|call| !call.is_closed()).count()
    }
}

struct Here(Arc<AtomicUsize>);

impl Here {
    fn enter(origin: &Origin) -> Here {
        let now = origin.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        origin.most_at_once.fetch_max(now, Ordering::SeqCst);
        Here(Arc::clone(&origin.at_once))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
