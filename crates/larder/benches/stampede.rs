//! A stampede, side by side: 100 askers of a cold key, whose fetch succeeds, fails, panics, or loses the
//! asker that began it.
//!
//! ```text
//! cargo bench -p larder --bench stampede [-- NAME ...]
//! ```
//!
//! For each: how often the origin was called, how many askers got no value (the one that left is not
//! counted), and the time from the end of the last call until the last asker had its answer. An origin
//! that fails, fails each time; after a panic or a loss, the next call would succeed. All run in turn,
//! round by round, so that what else the machine does meets all of them.

#![expect(clippy::unwrap_used, reason = "a bench is no library")]

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use larder::Cache;
use tokio::{task::JoinHandle, time::sleep};

const ASKERS: usize = 100;
const ROUNDS: usize = 51;
const FETCH_TAKES: Duration = Duration::from_millis(5);

type Value = Arc<[u8]>;
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Fetch = Boxed<Result<Value, Down>>;
/// A contestant: asks it for a key, with a fetch in case it is needed; true if there is a value.
type Ask = Box<dyn Fn(String, Fetch) -> Boxed<bool>>;

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the origin is down")]
struct Down;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Succeeds,
    Fails,
    LosesItsAsker,
    Panics,
}

#[derive(Default)]
struct Origin {
    asked: AtomicUsize,
    calls: AtomicUsize,
    /// Whose fetch it is that runs.
    leader: AtomicUsize,
    ended: Mutex<Option<Instant>>,
}

struct Outcome {
    calls: usize,
    failures: usize,
    took: Duration,
}

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut contestants: Vec<(&str, Ask)> = vec![
        ("larder", larder()),
        ("moka", moka()),
        ("quick_cache", quick_cache()),
        ("foyer", foyer()),
    ];
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    contestants
        .retain(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| name.contains(word)));
    // Some of these panics are the load, and none is a surprise.
    std::panic::set_hook(Box::new(|_| {}));
    println!(
        "{ASKERS} askers{:23}{:>8}{:>10}{:>12}{:>12}",
        "", "calls", "failures", "median µs", "longest µs"
    );
    for ending in [Ending::Succeeds, Ending::Fails, Ending::LosesItsAsker, Ending::Panics] {
        let mut outcomes: Vec<Vec<Outcome>> = contestants.iter().map(|_| Vec::new()).collect();
        for round in 0..ROUNDS {
            for ((_, ask), outcomes) in contestants.iter().zip(&mut outcomes) {
                outcomes.push(runtime.block_on(stampede(ask, ending, round)));
            }
        }
        for ((name, _), outcomes) in contestants.iter().zip(&mut outcomes) {
            outcomes.sort_by_key(|outcome| outcome.took);
            let calls = outcomes.iter().map(|outcome| outcome.calls).max().unwrap();
            let failures = outcomes.iter().map(|outcome| outcome.failures).max().unwrap();
            let median = outcomes[ROUNDS / 2].took.as_micros();
            let longest = outcomes[ROUNDS - 1].took.as_micros();
            let what = format!("{name}: {ending:?}");
            println!("{what:33}{calls:8}{failures:10}{median:12}{longest:12}");
        }
    }
}

async fn stampede(ask: &Ask, ending: Ending, round: usize) -> Outcome {
    let origin = Arc::new(Origin::default());
    let askers: Vec<JoinHandle<(bool, Instant)>> = (0..ASKERS)
        .map(|asker| {
            let fetch = fetch(Arc::clone(&origin), ending, asker);
            let answer = ask(format!("{ending:?} {round}"), fetch);
            let origin = Arc::clone(&origin);
            tokio::spawn(async move {
                origin.asked.fetch_add(1, Ordering::SeqCst);
                let has_value = answer.await;
                (has_value, Instant::now())
            })
        })
        .collect();
    if ending == Ending::LosesItsAsker {
        while origin.calls.load(Ordering::SeqCst) == 0
            || origin.asked.load(Ordering::SeqCst) < ASKERS
        {
            sleep(Duration::from_micros(100)).await;
        }
        sleep(FETCH_TAKES / 2).await;
        askers[origin.leader.load(Ordering::SeqCst)].abort();
    }
    let (mut failures, mut last) = (0, None);
    for asker in askers {
        match asker.await {
            Ok((has_value, at)) => {
                failures += usize::from(!has_value);
                last = last.max(Some(at));
            }
            Err(error) if error.is_cancelled() => {}
            // The panic reached the asker itself.
            Err(_) => failures += 1,
        }
    }
    let ended = origin.ended.lock().unwrap().unwrap();
    let took = last.unwrap().saturating_duration_since(ended);
    Outcome { calls: origin.calls.load(Ordering::SeqCst), failures, took }
}

fn fetch(origin: Arc<Origin>, ending: Ending, asker: usize) -> Fetch {
    Box::pin(async move {
        let is_first = origin.calls.fetch_add(1, Ordering::SeqCst) == 0;
        origin.leader.store(asker, Ordering::SeqCst);
        // Nobody is to come too late for it.
        while origin.asked.load(Ordering::SeqCst) < ASKERS {
            sleep(Duration::from_micros(100)).await;
        }
        sleep(FETCH_TAKES).await;
        *origin.ended.lock().unwrap() = Some(Instant::now());
        match ending {
            Ending::Fails => Err(Down),
            Ending::Panics if is_first => panic!("as it was told to"),
            Ending::Succeeds | Ending::LosesItsAsker | Ending::Panics => Ok(vec![0; 2048].into()),
        }
    })
}

fn larder() -> Ask {
    let cache = Cache::builder_with_weigher(|value: &Value| value.len()).build();
    Box::new(move |key, fetch| {
        let cache = cache.clone();
        Box::pin(async move { cache.try_get_or_fetch(key, move || fetch).await.is_ok() })
    })
}

fn moka() -> Ask {
    let cache = moka::future::Cache::<String, Value>::builder()
        .max_capacity(10_000)
        .time_to_live(Duration::from_secs(300))
        .build();
    Box::new(move |key, fetch| {
        let cache = cache.clone();
        Box::pin(async move { cache.try_get_with(key, fetch).await.is_ok() })
    })
}

fn quick_cache() -> Ask {
    let cache = Arc::new(quick_cache::sync::Cache::<String, Value>::new(10_000));
    Box::new(move |key, fetch| {
        let cache = Arc::clone(&cache);
        Box::pin(async move { cache.get_or_insert_async(key.as_str(), fetch).await.is_ok() })
    })
}

fn foyer() -> Ask {
    let cache: foyer_memory::Cache<String, Value> = foyer_memory::CacheBuilder::new(10_000)
        .with_eviction_config(foyer_memory::S3FifoConfig::default())
        .build::<foyer_memory::CacheProperties>();
    Box::new(move |key, fetch| {
        let cache = cache.clone();
        Box::pin(async move { cache.get_or_fetch(key.as_str(), || fetch).await.is_ok() })
    })
}
