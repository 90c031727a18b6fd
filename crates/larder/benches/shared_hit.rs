//! A read of a record of 2 kB from Redis, beside a bare `GET` of as many bytes by the same client.
//!
//! ```text
//! cargo bench -p larder --features redis --bench shared_hit
//! ```
//!
//! All run in turn on a connection of their own, one call under way at a time, to a `redis-server` that the bench
//! starts on the loopback: the `GET`; a bare `HGETALL` of what lies there; what the tier makes of it; a cache's miss in
//! memory that finds it, with a leader's task, a deadline, and what is judged by the log. The ratios are to the `GET`.

#![expect(clippy::unwrap_used, reason = "a bench is no library")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use larder::{
    Cache, Lifetime,
    codec::Raw,
    lower::{Body, Head, LogPart, LowerTier, Record},
    redis::Redis,
};
use larder_test_support::redis::Redis as Server;
use redis::{AsyncConnectionConfig, Client, aio::MultiplexedConnection, io::tcp::TcpSettings};

const BYTES: usize = 2048;
/// Where the tier keeps the records of `key`.
const RECORDS: &str = "larder1:larder:h:key";
const CALLS: usize = 20_000;
const ROUNDS: usize = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = Server::start().await;
    let tier = Redis::connect(&server.url()).unwrap();
    let mut bare = connection(&server).await;
    // Such as does not shrink: packed, less would be read.
    let value = Bytes::from(noise(BYTES));
    redis::cmd("SET").arg("bare").arg(&value[..]).exec_async(&mut bare).await.unwrap();
    let position = tier.tail(None).await.unwrap().position;
    let head = Head {
        variant: String::new(),
        fence: position,
        lifetime: Lifetime::fresh_for(Duration::from_secs(3600)),
        cost: Duration::from_millis(10),
        tags: vec!["user:1".to_owned(), "posts".to_owned()],
        format: "bytes".to_owned(),
        extra: Bytes::new(),
        body: Body::Whole(value.clone()),
    };
    tier.commit("key", Record { head, age: Duration::ZERO }, 1).await.unwrap();
    // It has room for nothing, so that each of its reads goes below.
    let store = Cache::<Bytes>::builder().max_entries(0).lower(tier.clone(), Raw).build();
    let fetched = value.clone();
    let fetch = || {
        let fetched = fetched.clone();
        async move || fetched
    };

    println!("{BYTES} bytes, {CALLS} calls, p50 in microseconds of {ROUNDS} rounds:");
    println!("{:>8} {:>14} {:>14} {:>14}", "GET", "HGETALL", "tier", "cache");
    for _ in 0..ROUNDS {
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..CALLS {
            let began = Instant::now();
            let got: Vec<u8> = redis::cmd("GET").arg("bare").query_async(&mut bare).await.unwrap();
            times[0].push(began.elapsed());
            assert_eq!(got.len(), BYTES);
            let began = Instant::now();
            let got: Vec<(Vec<u8>, Vec<u8>)> =
                redis::cmd("HGETALL").arg(RECORDS).query_async(&mut bare).await.unwrap();
            times[1].push(began.elapsed());
            assert_eq!(got.len(), 2);
            let began = Instant::now();
            let heads = tier.heads("key", LogPart::Nothing).await.unwrap();
            times[2].push(began.elapsed());
            assert_eq!(heads.records.len(), 1);
            let began = Instant::now();
            let got = store.get_or_fetch("key", fetch()).await;
            times[3].push(began.elapsed());
            assert_eq!(got.len(), BYTES);
        }
        let [get, others @ ..] = times.map(median);
        let others = others.map(|other| format!("{other:.1} ({:.2})", other / get));
        println!("{get:>8.1} {:>14} {:>14} {:>14}", others[0], others[1], others[2]);
    }
    // Where the machine is busy with something else, some come too late.
    println!("fetched after all: {}", store.stats().fetches);
}

/// As the tier opens its own.
async fn connection(server: &Server) -> MultiplexedConnection {
    let client = Client::open(server.url()).unwrap();
    let info = client.get_connection_info().clone();
    let client = Client::open(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)));
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    client.unwrap().get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(next).collect()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_nanos() as f64 / 1000.0
}
