//! Storm: readers at three gateways who never see what is older than a purge that holds, whatever is killed meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use larder_test_support::redis::Redis;
use rustix::process::Signal;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    faults::DURABLE,
    fleet::{Fleet, Place, State},
    support::eventually,
    versions::{Versions, tag, version},
};

const PATHS: [&str; 4] = ["/a", "/b", "/c", "/long"];
/// At each gateway.
const READERS: usize = 2;
/// A purge that has to wait until it lapses holds up its writer, and nobody else.
const WRITERS: usize = 8;

/// What readers and writers know of each other.
struct Storm {
    versions: Versions,
    /// For each path the version that a purge was for which holds.
    held: [AtomicU64; PATHS.len()],
    is_over: AtomicBool,
    reads: AtomicUsize,
    applied: AtomicUsize,
    lapsed: AtomicUsize,
}

impl Storm {
    /// What to purge in this turn, and which paths that names.
    fn purge(turn: usize) -> (String, Vec<usize>) {
        let mode = if turn.is_multiple_of(3) { "soft" } else { "hard" };
        let path = turn % PATHS.len();
        let (name, of_path) = (PATHS[path], vec![path]);
        let (target, paths) = match turn / PATHS.len() % 4 {
            0 => (format!(r#""tags":["{}"]"#, tag(name)), of_path),
            1 => (format!(r#""keys":["http://larder.test{name}"]"#), of_path),
            2 => (format!(r#""prefix":"http://larder.test{name}""#), of_path),
            _ => (r#""tags":["all"]"#.to_owned(), (0..PATHS.len()).collect()),
        };
        (format!(r#"{{{target},"mode":"{mode}","wait":"shared"}}"#), paths)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    async fn write(self: Arc<Self>, places: Vec<Place>, first: usize) {
        let mut turn = first;
        while !self.is_over() {
            let (purge, paths) = Storm::purge(turn);
            let now: Vec<_> =
                paths.iter().map(|&path| (path, self.versions.update(PATHS[path]))).collect();
            let said = places[turn % places.len()].purge(&purge).await;
            match said.map_or(State::Not, |said| said.state) {
                State::Applied => _ = self.applied.fetch_add(1, Ordering::SeqCst),
                State::Lapsed => _ = self.lapsed.fetch_add(1, Ordering::SeqCst),
                State::Not => {
                    sleep(Duration::from_millis(20)).await;
                    turn += 1;
                    continue;
                }
            }
            for (path, version) in now {
                self.held[path].fetch_max(version, Ordering::SeqCst);
            }
            sleep(Duration::from_millis(10)).await;
            // Each writer comes by all kinds and all gateways.
            turn += 1;
        }
    }

    async fn read(self: Arc<Self>, place: Place) {
        let mut reader = None;
        for path in (0..PATHS.len()).cycle() {
            if self.is_over() {
                return;
            }
            let Some(open) = &mut reader else {
                reader = place.reader().await;
                sleep(Duration::from_millis(1)).await;
                continue;
            };
            let least = self.held[path].load(Ordering::SeqCst);
            let Some(answer) = open.try_get(PATHS[path]).await else {
                reader = None;
                continue;
            };
            let version = version(&answer);
            assert!(
                version >= least,
                "{place:?} served {version} of {}, after a purge for {least} had held: {}",
                PATHS[path],
                answer.head
            );
            self.reads.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A storm under way.
pub(crate) struct Blowing {
    storm: Arc<Storm>,
    all: JoinSet<()>,
}

impl Blowing {
    /// At these places, until it is told to stop.
    pub(crate) fn at(places: &[Place], versions: &Versions) -> Blowing {
        let storm = Arc::new(Storm {
            versions: versions.clone(),
            held: Default::default(),
            is_over: AtomicBool::new(false),
            reads: AtomicUsize::new(0),
            applied: AtomicUsize::new(0),
            lapsed: AtomicUsize::new(0),
        });
        let mut all = JoinSet::new();
        for place in places {
            for _ in 0..READERS {
                all.spawn(Arc::clone(&storm).read(*place));
            }
        }
        for writer in 0..WRITERS {
            all.spawn(Arc::clone(&storm).write(places.to_vec(), writer * 5));
        }
        Blowing { storm, all }
    }

    /// Nobody has seen anything that was purged.
    fn check(&mut self) {
        assert!(self.all.try_join_next().is_none(), "somebody has ended before the end");
    }

    /// Until so many more purges hold for all.
    pub(crate) async fn purges_hold(&mut self, more: usize) {
        let (before, began) = (self.storm.applied.load(Ordering::SeqCst), Instant::now());
        eventually("purges that hold for all", async || {
            self.check();
            (self.storm.applied.load(Ordering::SeqCst) >= before + more).then_some(())
        })
        .await;
        println!("{more} purges held for all {:?} later", began.elapsed());
    }

    /// Reads, and purges that were applied and that lapsed.
    pub(crate) async fn stop(mut self) -> [usize; 3] {
        self.storm.is_over.store(true, Ordering::SeqCst);
        while let Some(ended) = self.all.join_next().await {
            ended.unwrap();
        }
        let Storm { reads, applied, lapsed, .. } = &*self.storm;
        let seen = [reads, applied, lapsed].map(|count| count.load(Ordering::SeqCst));
        let [reads, applied, lapsed] = seen;
        println!("{reads} reads; {applied} purges that were applied, {lapsed} that lapsed");
        seen
    }
}

async fn nothing_older_is_served_for(lasts: Duration) {
    let versions = Versions::default();
    let origin = versions.origin().await;
    let server = Redis::start_with(&DURABLE).await;
    let mut fleet = Fleet::over(server, origin.address).await;
    let mut storm = Blowing::at(&fleet.places(), &versions);
    let (began, step) = (Instant::now(), lasts / 10);
    for turn in 1..=9 {
        // In steps that can be told from one another, each of which ends at its time.
        sleep((step * turn).saturating_sub(began.elapsed())).await;
        let at = turn as usize % 3;
        match turn {
            // It takes its leave, so that purges need not wait for it; then one is killed, which they do.
            2 | 4 => {
                let larder = fleet.gateways[at].larder.take().unwrap();
                larder.signal(Signal::TERM);
                assert_eq!(larder.exit().await, Some(0));
                fleet.gateways[at].start().await;
            }
            6 => {
                fleet.gateways[at].kill().await;
                fleet.gateways[at].start().await;
            }
            // It comes back with all that it has acknowledged.
            8 => {
                fleet.server.kill().await;
                fleet.server.start_again().await;
            }
            _ => _ = fleet.server.tell(&["CLIENT", "KILL", "TYPE", "normal"]).await,
        }
        storm.check();
    }
    sleep(lasts.saturating_sub(began.elapsed())).await;
    let before = storm.storm.lapsed.load(Ordering::SeqCst);
    eventually("purges that hold still", async || {
        storm.check();
        (storm.storm.lapsed.load(Ordering::SeqCst) > before).then_some(())
    })
    .await;
    let [reads, applied, lapsed] = storm.stop().await;
    // Else nothing was tried.
    assert!(reads > 300 && applied > 50 && lapsed > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_older_than_a_purge_is_served_while_gateways_server_and_lines_are_killed() {
    nothing_older_is_served_for(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute: make test-long"]
async fn nothing_older_than_a_purge_is_served_for_a_minute_of_that() {
    nothing_older_is_served_for(Duration::from_secs(60)).await;
}
