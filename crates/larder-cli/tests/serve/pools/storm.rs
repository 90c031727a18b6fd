//! nginx at three addresses, one of which dies, hangs, and comes back, again and again: no GET fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use larder_test_support::nginx::Nginx;
use rustix::process::Signal;
use tokio::task::JoinHandle;

use super::*;
use crate::support::{Wire, eventually};

const SERVER: &str = "keepalive_requests 1000000; location / { add_header cache-control no-store; return 200 fine; }";
const SETTINGS: &str = "slow_start = \"100ms\"\nfirst_byte_timeout = \"1s\"\n\
                        [upstream.app.breaker]\nback_off = \"100ms\"\nmax_back_off = \"1s\"\n\
                        [upstream.app.retry]\non = [\"connect\", \"reset\", \"timeout\"]\n";

/// Readers that ask one request after the other.
struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    readers: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr, count: usize) -> Load {
        let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let reader = |_| {
            let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut wire = Wire::connect(address).await;
                while !is_over.load(Ordering::Relaxed) {
                    wire.send("GET / HTTP/1.1\r\nhost: larder.test\r\n\r\n").await;
                    let answer = wire.answer().await;
                    assert_eq!(answer.status(), 200, "{}{}", answer.head, answer.text());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let readers = (0..count).map(reader).collect();
        Load { is_over, answered, readers }
    }

    /// Until so many more are answered.
    async fn goes_on(&self, by: u64) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually("further answers", async || {
            assert!(!self.readers.iter().any(JoinHandle::is_finished), "a reader has failed");
            (self.answered.load(Ordering::Relaxed) >= before + by).then_some(())
        })
        .await;
    }

    async fn end(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        for reader in self.readers {
            reader.await.unwrap();
        }
        self.answered.load(Ordering::Relaxed)
    }
}

async fn storm(readers: usize, lasts: Duration, least_rounds: usize) {
    let mut victim = Nginx::start("", SERVER).await;
    let others = [Nginx::start("", SERVER).await, Nginx::start("", SERVER).await];
    let address = victim.address;
    let site = Site::with(&[address, others[0].address, others[1].address], SETTINGS).await;
    let load = Load::start(site.larder.address, readers);
    let began = Instant::now();
    let mut rounds = 0;
    while rounds < least_rounds || began.elapsed() < lasts {
        rounds += 1;
        load.goes_on(200).await;
        if rounds % 3 == 0 {
            victim.signal(Signal::STOP);
            load.goes_on(200).await;
            victim.signal(Signal::CONT);
        } else {
            victim.kill().await;
            load.goes_on(200).await;
            victim = Nginx::start_at(address, "", SERVER).await;
        }
        let requests = "larder_upstream_requests_total";
        let before = site.number(requests, address, "").await;
        let is_back =
            async || (site.number(requests, address, "").await > before + 20.0).then_some(());
        eventually("requests to the one that is back", is_back).await;
    }
    let answered = load.end().await;
    println!("{answered} answers in {:?}, {rounds} rounds", began.elapsed());
    assert_eq!(site.larder.get_from_admin("/readyz").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_get_fails_while_one_of_three_addresses_dies_hangs_and_comes_back() {
    storm(12, Duration::ZERO, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute: make test-long"]
async fn no_get_fails_in_a_minute_of_that() {
    storm(48, Duration::from_secs(60), 6).await;
}
