//! Purges through Redis: how many a second one process appends, and how many three caches apply.
//!
//! ```text
//! cargo bench -p larder --features redis --bench shared_purges
//! ```
//!
//! The first row appends 256 purges of one tag each in a call, as a busy cache does, one call under way at a time. The
//! second purges one tag after the other on one of three caches and ends when the last purge holds for all three. All
//! run on one thread, beside a `redis-server` that the bench starts on the loopback.

#![expect(clippy::unwrap_used, reason = "a bench is no library")]

use std::time::{Duration, Instant};

use larder::{
    Cache, Mode, Purge, Scope, Tier,
    codec::Text,
    lower::{LowerPurge, LowerTier, PurgeId, Settings},
    redis::Redis,
};
use larder_test_support::{eventually::until, redis::Redis as Server};

const CALLS: u64 = 400;
const BATCH: u64 = 256;
/// Fewer than may be outstanding at once: they are made faster than they are sent.
const PURGES: u64 = 10_000;
const ROUNDS: usize = 3;
/// So that the server settles soon.
const TRUST: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = Server::start().await;
    println!("purges a second of {ROUNDS} rounds:");
    println!("{:>12} {:>12}", "appended", "by three");
    for round in 0..ROUNDS {
        let appended = append(&server, round).await;
        let applied = purge(&server, round).await;
        println!("{appended:>12.0} {applied:>12.0}");
    }
}

fn tier(server: &Server, name: &str, round: usize) -> Redis {
    let options = Redis::options(&server.url()).max_incoherence(TRUST);
    options.namespace(format!("{name}-{round}")).connect().unwrap()
}

async fn append(server: &Server, round: usize) -> f64 {
    let tier = tier(server, "append", round);
    tier.tail(None).await.unwrap();
    let began = Instant::now();
    for call in 0..CALLS {
        let purge = |number| LowerPurge {
            id: PurgeId { source: 1, number },
            scopes: vec![Scope::Tag(format!("user:{number}"))],
            mode: Mode::Hard,
        };
        let purges: Vec<_> = (call * BATCH..(call + 1) * BATCH).map(purge).collect();
        tier.append(&purges).await.unwrap();
    }
    (CALLS * BATCH) as f64 / began.elapsed().as_secs_f64()
}

async fn purge(server: &Server, round: usize) -> f64 {
    let settings = Settings { max_incoherence: TRUST, ..Settings::default() };
    let cache = |_| {
        let tier = tier(server, "purge", round);
        Cache::<String>::builder().lower_with(tier, Text, settings).build()
    };
    let caches: [_; 3] = std::array::from_fn(cache);
    let trusts = |cache: &Cache<String>| cache.stats().lower.is_trusted;
    until("all to go by what they know", || caches.iter().all(trusts)).await;
    let last = || Purge::tag("last").hard().wait(Tier::Shared);
    // Until it has settled this waits.
    caches[0].purge(last()).await.unwrap();
    let began = Instant::now();
    for number in 0..PURGES {
        caches[0].purge(Purge::tag(format!("user:{number}")).hard()).await.unwrap();
        if number % 64 == 0 {
            // Others have their turn, as where purges come over connections.
            tokio::task::yield_now().await;
        }
    }
    let receipt = caches[0].purge_within(last(), Duration::from_secs(60)).await.unwrap();
    let took = began.elapsed();
    let shared = &receipt.tiers[1];
    assert_eq!(shared.state.to_string(), "applied by 3 of 3");
    for cache in &caches[1..] {
        let lower = cache.stats().lower;
        assert_eq!((lower.gaps, lower.purges_learnt), (0, PURGES + 2), "one by one");
    }
    assert_eq!(caches[0].stats().lower.overflows, 0);
    for cache in &caches {
        cache.shut_down(Duration::from_secs(5)).await;
    }
    PURGES as f64 / took.as_secs_f64()
}
