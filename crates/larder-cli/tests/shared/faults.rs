//! Faults: all that may become of the server and of the lines to it, and what readers notice of that: nothing.
//!
//! | what is asserted of each | how |
//! | --- | --- |
//! | no request fails | every answer is a 200, at every gateway, all the time |
//! | hits in memory stay fast | by the gateways' own logs 99 of 100 within 5 ms where nothing else runs (`make test-long`), and 95 within 30 ms beside other tests |
//! | the origin is spared | of each key at most one fetch per gateway and `--max-incoherence` |
//! | nothing is missed | what was purged meanwhile is purged everywhere afterwards, and purges hold for all again |
//! | the log is short | so many lines at most, however many requests there were |

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use larder_test_support::{
    redis::Redis,
    relay::{Passing, Relay},
};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    fleet::{Fleet, Gateway, Place, TRUST},
    support::{eventually, larder::Larder, origin::Origin},
    versions::{Versions, version},
};

const PATHS: [&str; 3] = ["/one", "/two", "/three"];
/// So many requests are for what is in memory, and then one is for what nobody has.
const HITS: usize = 9;
/// How long a fault lasts that lasts.
const LASTS: Duration = Duration::from_secs(3);
/// What 99 of 100 hits may take where nothing else runs, and 95 beside other tests. Any that waited for the server would take
/// longer, for it has 50 ms to answer.
const FAST: Duration = Duration::from_millis(5);
const BESIDE_OTHERS: Duration = Duration::from_millis(30);
/// What a gateway may say of a fault: that the server is away, that it is back, that it does not know yet what it has
/// lost, and that an admin has purged.
const LINES: usize = 6;

/// What readers have seen at one gateway.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) hits: usize,
    pub(crate) others: usize,
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.hits += other.hits;
        self.others += other.others;
    }
}

/// Readers at each of these places, from now until they are told to stop.
pub(crate) struct Readers {
    reading: JoinSet<Seen>,
    is_over: Arc<AtomicBool>,
    began: Instant,
}

impl Readers {
    pub(crate) fn at(places: &[Place]) -> Readers {
        let (mut reading, is_over) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        for place in places {
            reading.spawn(read(*place, Arc::clone(&is_over)));
        }
        Readers { reading, is_over, began: Instant::now() }
    }

    /// What they have seen, and for how long they have looked.
    pub(crate) async fn stop(self) -> (Seen, Duration) {
        self.is_over.store(true, Ordering::SeqCst);
        let mut all = Seen::default();
        // Whose request has failed has panicked.
        self.reading.join_all().await.into_iter().for_each(|seen| all.add(seen));
        (all, self.began.elapsed())
    }
}

async fn read(place: Place, is_over: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    let mut reader = place.reader().await.unwrap();
    for number in 0.. {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        let is_new = number % (HITS + 1) == HITS;
        let new = format!("/new/{}/{number}", place.address.port());
        let path = if is_new { &new } else { PATHS[number % PATHS.len()] };
        let answer = reader.get(path).await;
        version(&answer);
        match answer.handling() {
            "hit" => seen.hits += 1,
            _ => seen.others += usize::from(!is_new),
        }
        sleep(Duration::from_millis(2)).await;
    }
    seen
}

/// Three gateways that have all, before a fault.
struct Trial {
    fleet: Fleet,
    versions: Versions,
    _origin: Origin,
    lines: Vec<usize>,
}

/// What a fault may cost the origin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cost {
    /// So many fetches, for what was purged.
    Purges(usize),
    /// One fetch per key, gateway and `--max-incoherence`, and one per gateway for each of so many purges of one key: who
    /// cannot ask the others fetches for himself.
    Trust { purges: usize },
}

impl Trial {
    async fn over(server: Redis) -> Trial {
        let versions = Versions::default();
        let origin = versions.origin().await;
        let fleet = Fleet::over(server, origin.address).await;
        for place in fleet.places() {
            for path in PATHS {
                place.get(path).await;
            }
        }
        let lines = fleet.larders().map(lines).collect();
        Trial { fleet, versions, _origin: origin, lines }
    }

    /// `harm` does what there is to do, and undoes it.
    async fn while_this_happens(&mut self, cost: Cost, harm: impl AsyncFnOnce(&mut Fleet)) {
        let before = PATHS.map(|path| self.versions.fetches(path));
        let logged: Vec<_> = self.fleet.gateways.iter().map(Gateway::logged).collect();
        let readers = Readers::at(&self.fleet.places());
        harm(&mut self.fleet).await;
        // Until all is as it was, whoever reads reads on.
        self.fleet.settles().await;
        let (seen, lasted) = readers.stop().await;
        let hits = eventually("the last lines", async || {
            let since = self.fleet.gateways.iter().zip(&logged);
            let hits: Vec<_> = since.flat_map(|(one, bytes)| one.hits_since(*bytes)).collect();
            (hits.len() >= seen.hits).then_some(hits)
        })
        .await;
        let of_memory = hits.iter().filter(|(_, was_in_memory)| *was_in_memory);
        let mut hits: Vec<_> = of_memory.map(|(took, _)| *took).collect();
        hits.sort();
        let [p95, p99] = [95, 99].map(|percent| hits[hits.len() * percent / 100]);
        let after = PATHS.map(|path| self.versions.fetches(path));
        let fetched = [0, 1, 2].map(|path| after[path] - before[path]);
        println!(
            "{} hits in memory, p95 {p95:?}, p99 {p99:?}; {} others; {fetched:?} fetches in {lasted:?}",
            hits.len(),
            seen.others
        );
        match std::env::var_os("LARDER_ALONE") {
            Some(_) => assert!(p99 < FAST, "{p99:?}"),
            None => assert!(p95 < BESIDE_OTHERS, "{p95:?}"),
        }
        let periods = lasted.as_millis().div_ceil(TRUST.as_millis()) as usize;
        match cost {
            Cost::Purges(most) => {
                assert!(fetched.iter().sum::<usize>() <= most, "{fetched:?} in {lasted:?}");
            }
            Cost::Trust { purges } => {
                let gateways = self.fleet.gateways.len();
                for (fetched, path) in fetched.into_iter().zip(PATHS) {
                    let purges = if path == PATHS[0] { purges } else { 0 };
                    let most = gateways * (periods + 1 + purges);
                    assert!(fetched <= most, "{path}: {fetched} in {lasted:?}");
                }
            }
        }
    }

    /// A purge that was made while it could not be told reaches all.
    async fn purge_behind(&self) -> u64 {
        let newest = self.versions.update(PATHS[0]);
        // From memory at once, whatever becomes of the server.
        let said = self.fleet.gateways[0].place.purge(r#"{"tags":["one"],"mode":"hard"}"#).await;
        assert!(said.is_some());
        newest
    }

    async fn all_have(&self, newest: u64) {
        for place in self.fleet.places() {
            let has = async || (version(&place.get(PATHS[0]).await) >= newest).then_some(());
            eventually("the newest version", has).await;
        }
        for larder in self.fleet.larders() {
            let outstanding = larder.metric("larder_lower_purges_outstanding{cache=\"gateway\"}");
            assert_eq!(outstanding.await, 0.0);
        }
    }

    /// `at_least` lines were said of it by whoever was concerned, and few by each.
    async fn check_log(&self, at_least: usize) {
        let both = || self.fleet.larders().zip(&self.lines);
        let most = || both().map(|(larder, before)| lines(larder) - before).max();
        // It is said a moment after it was so.
        eventually("what is to be said of it", async || {
            (most().unwrap() >= at_least).then_some(())
        })
        .await;
        for (larder, before) in both() {
            let said = lines(larder) - before;
            assert!(said <= LINES, "{said} lines: {}", larder.log());
        }
    }
}

/// What a log has, but for purges that tests ask for.
fn lines(larder: &Larder) -> usize {
    larder.log().lines().filter(|line| !line.contains(" purged ")).count()
}

/// Keeps all that it has acknowledged.
pub(crate) const DURABLE: [&str; 6] =
    ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_comes_back_with_all_it_had() {
    let mut trial = Trial::over(Redis::start_with(&DURABLE).await).await;
    let newest = trial.killed_and_started_again().await;
    trial.all_have(newest).await;
    trial.check_log(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_comes_back_empty() {
    let mut trial = Trial::over(Redis::start().await).await;
    let newest = trial.killed_and_started_again().await;
    trial.all_have(newest).await;
    trial.check_log(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_with_what_it_had_earlier() {
    let mut trial = Trial::over(Redis::start().await).await;
    trial.fleet.server.tell(&["SAVE"]).await;
    let newest = trial.versions.update(PATHS[0]);
    let purge = r#"{"tags":["one"],"mode":"hard","wait":"shared"}"#;
    assert!(trial.fleet.gateways[1].place.purge(purge).await.unwrap().state.holds());
    // What lies there is older than that purge, which the server will have forgotten.
    trial
        .while_this_happens(Cost::Trust { purges: 1 }, async |fleet| {
            fleet.server.kill().await;
            fleet.server.start_again().await;
            for place in fleet.places() {
                assert!(version(&place.get(PATHS[0]).await) >= newest);
            }
        })
        .await;
    trial.all_have(newest).await;
    trial.check_log(0).await;
}

impl Trial {
    async fn killed_and_started_again(&mut self) -> u64 {
        let versions = self.versions.clone();
        self.while_this_happens(Cost::Trust { purges: 1 }, async |fleet| {
            fleet.server.kill().await;
            let first = fleet.gateways[0].place;
            versions.update(PATHS[0]);
            first.purge(r#"{"tags":["one"],"mode":"hard"}"#).await.unwrap();
            sleep(LASTS).await;
            fleet.server.start_again().await;
        })
        .await;
        self.purge_behind().await
    }

    /// The same for whatever happens on the lines of these gateways.
    async fn lines_do(&mut self, gateways: &[usize], passing: Passing, cost: Cost) {
        let versions = self.versions.clone();
        let mut newest = 0;
        self.while_this_happens(cost, async |fleet| {
            gateways.iter().for_each(|&nth| fleet.gateways[nth].relay.pass(passing.clone()));
            newest = versions.update(PATHS[0]);
            let first = fleet.gateways[0].place;
            first.purge(r#"{"tags":["one"],"mode":"hard"}"#).await.unwrap();
            sleep(LASTS).await;
            gateways.iter().for_each(|&nth| fleet.gateways[nth].relay.pass(Passing::AtOnce));
        })
        .await;
        self.all_have(newest).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_for_longer_than_it_is_trusted() {
    let mut trial = Trial::over(Redis::start().await).await;
    let newest = trial.purge_behind().await;
    trial
        .while_this_happens(Cost::Trust { purges: 1 }, async |fleet| {
            fleet.server.pause();
            sleep(LASTS).await;
            fleet.server.go_on();
        })
        .await;
    trial.all_have(newest).await;
    trial.check_log(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_cut_off() {
    let mut trial = Trial::over(Redis::start().await).await;
    trial.lines_do(&[0], Passing::Held, Cost::Trust { purges: 1 }).await;
    trial.check_log(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_accepts_and_never_answers() {
    let mut trial = Trial::over(Redis::start().await).await;
    trial.fleet.gateways.iter().for_each(|gateway| gateway.relay.break_all());
    trial.lines_do(&[0, 1, 2], Passing::Held, Cost::Trust { purges: 1 }).await;
    trial.check_log(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_answers_rubbish() {
    let mut trial = Trial::over(Redis::start().await).await;
    trial
        .lines_do(
            &[0, 1, 2],
            Passing::Answered(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            Cost::Trust { purges: 1 },
        )
        .await;
    trial.check_log(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_of_all_that_it_is_well() {
    let mut trial = Trial::over(Redis::start().await).await;
    trial.lines_do(&[0, 1, 2], Passing::Answered(b"+OK\r\n"), Cost::Trust { purges: 1 }).await;
    trial.check_log(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_answers_a_fifth_of_a_second_late() {
    let mut trial = Trial::over(Redis::start().await).await;
    // Each fetches once: what the others write comes too late for its look below.
    let late = Passing::Later(Duration::from_millis(100));
    trial.lines_do(&[0, 1, 2], late, Cost::Purges(3)).await;
    trial.check_log(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_answers_too_late() {
    let mut trial = Trial::over(Redis::start().await).await;
    trial
        .lines_do(&[0, 1, 2], Passing::Later(Duration::from_millis(600)), Cost::Trust { purges: 1 })
        .await;
    trial.check_log(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_emptied() {
    let mut trial = Trial::over(Redis::start().await).await;
    trial
        .while_this_happens(Cost::Trust { purges: 1 }, async |fleet| {
            fleet.server.tell(&["FLUSHALL"]).await;
        })
        .await;
    let newest = trial.purge_behind().await;
    trial.all_have(newest).await;
    trial.check_log(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_its_scripts() {
    let mut trial = Trial::over(Redis::start().await).await;
    trial
        .while_this_happens(Cost::Purges(0), async |fleet| {
            for _ in 0..10 {
                assert_eq!(fleet.server.tell(&["SCRIPT", "FLUSH"]).await, "+OK");
                sleep(LASTS / 20).await;
            }
        })
        .await;
    let newest = trial.purge_behind().await;
    trial.all_have(newest).await;
    trial.check_log(0).await;
}

impl Trial {
    async fn memory_runs_out(&mut self, policy: &str) {
        let versions = self.versions.clone();
        let mut newest = 0;
        self.while_this_happens(Cost::Trust { purges: 1 }, async |fleet| {
            fleet.server.tell(&["CONFIG", "SET", "maxmemory-policy", policy]).await;
            assert_eq!(fleet.server.tell(&["CONFIG", "SET", "maxmemory", "1mb"]).await, "+OK");
            newest = versions.update(PATHS[0]);
            let first = fleet.gateways[0].place;
            first.purge(r#"{"tags":["one"],"mode":"hard"}"#).await.unwrap();
            sleep(LASTS).await;
            fleet.server.tell(&["CONFIG", "SET", "maxmemory", "0"]).await;
        })
        .await;
        self.all_have(newest).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_memory_is_full_and_that_evicts_what_may_go() {
    let mut trial = Trial::over(Redis::start().await).await;
    trial.memory_runs_out("volatile-lru").await;
    trial.check_log(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_memory_is_full_and_that_evicts_nothing() {
    let mut trial = Trial::over(Redis::start().await).await;
    trial.memory_runs_out("noeviction").await;
    trial.check_log(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_a_password_all_of_a_sudden() {
    let strange = Redis::start().await;
    assert_eq!(strange.tell(&["CONFIG", "SET", "requirepass", "secret"]).await, "+OK");
    let mut trial = Trial::over(Redis::start().await).await;
    let newest = trial.purge_behind().await;
    trial
        .while_this_happens(Cost::Trust { purges: 1 }, async |fleet| {
            let lead_to = |server: &Redis| {
                fleet.gateways.iter().for_each(|gateway| gateway.relay.lead_to(server.address()));
            };
            lead_to(&strange);
            sleep(LASTS).await;
            lead_to(&fleet.server);
        })
        .await;
    trial.all_have(newest).await;
    trial.check_log(2).await;
    let log = trial.fleet.gateways[0].larder().log();
    assert!(log.contains("NOAUTH"), "{log}");
}

/// What it knows of purges may go as well as what is stored: a policy that allows that is a mistake, and costs hits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_evicts_whatever_it_likes() {
    const EVICT: &str = "math.randomseed(tonumber(ARGV[1]))
        for _, key in ipairs(redis.call('KEYS', '*')) do
            if math.random() < 0.3 then redis.call('UNLINK', key) end
        end
        return redis.status_reply('OK')";
    let mut trial = Trial::over(Redis::start().await).await;
    let versions = trial.versions.clone();
    trial
        .while_this_happens(Cost::Trust { purges: 1 }, async |fleet| {
            for turn in 0..6 {
                let said = fleet.server.tell(&["EVAL", EVICT, "0", &turn.to_string()]).await;
                assert_eq!(said, "+OK");
                let newest = versions.update(PATHS[0]);
                fleet.holds_for_all(turn, "one").await;
                for place in fleet.places() {
                    assert_eq!(version(&place.get(PATHS[0]).await), newest);
                }
            }
        })
        .await;
    trial.check_log(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_all_its_connections_again_and_again() {
    let mut trial = Trial::over(Redis::start().await).await;
    let versions = trial.versions.clone();
    trial
        .while_this_happens(Cost::Trust { purges: 20 }, async |fleet| {
            for turn in 0..20 {
                let newest = versions.update(PATHS[0]);
                let (fleet, server) = (&*fleet, &fleet.server);
                let kills = async {
                    for kind in ["normal", "pubsub"] {
                        server.tell(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]).await;
                    }
                };
                tokio::join!(kills, fleet.holds_for_all(turn, "one"));
                for place in fleet.places() {
                    assert_eq!(version(&place.get(PATHS[0]).await), newest);
                }
            }
        })
        .await;
    trial.check_log(0).await;
}

/// As an old primary does that has come back: the lines to it hold, and it takes no writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_made_a_replica_and_a_primary_again() {
    let mut trial = Trial::over(Redis::start().await).await;
    let other = Redis::start().await;
    let versions = trial.versions.clone();
    let mut newest = 0;
    trial
        .while_this_happens(Cost::Trust { purges: 1 }, async |fleet| {
            let port = other.port().to_string();
            assert_eq!(fleet.server.tell(&["REPLICAOF", "127.0.0.1", &port]).await, "+OK");
            newest = versions.update(PATHS[0]);
            let first = fleet.gateways[0].place;
            first.purge(r#"{"tags":["one"],"mode":"hard"}"#).await.unwrap();
            sleep(LASTS).await;
            assert_eq!(fleet.server.tell(&["REPLICAOF", "NO", "ONE"]).await, "+OK");
        })
        .await;
    trial.all_have(newest).await;
    trial.check_log(2).await;
}

/// A gateway that has never heard of its server serves nothing from memory, for others could not know of it: but it
/// serves, and fetches once for all who ask at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_that_start_while_there_is_no_server_serve() {
    let versions = Versions::default();
    let origin = versions.origin().await;
    let server = Redis::start().await;
    for passing in
        [Passing::Held, Passing::Answered(b"-ERR no\r\n"), Passing::Answered(b"\0\x01rubbish\r\n")]
    {
        let relay = Relay::to(server.address()).await;
        relay.pass(passing);
        let url = format!("redis://{}", relay.address);
        let flags = ["--shared", &url, "--max-incoherence", "1s"];
        let larder = Larder::with(origin.address, &flags).await;
        let before = lines(&larder);
        let began = Instant::now();
        let mut wire = larder.connect().await;
        while began.elapsed() < LASTS {
            wire.send("GET /one HTTP/1.1\r\nhost: larder.test\r\n\r\n").await;
            assert_eq!(version(&wire.answer().await), 0);
        }
        assert_eq!(larder.get_from_admin("/readyz").await.status(), 200);
        let said = lines(&larder) - before;
        assert!((1..=LINES).contains(&said), "{}", larder.log());
        relay.pass(Passing::AtOnce);
        larder.told("answers again").await;
        let is_hit = async || (larder.get("/one").await.handling() == "hit").then_some(());
        eventually("a hit", is_hit).await;
    }
}
