//! The outbox on disk: a purge that says it is queued is made, whatever becomes of its gateway.

use std::{fs, net::SocketAddr, path::Path};

use larder::{Scope, lower::LowerTier, redis::Redis as Tier};
use larder_test_support::{eventually::eventually, port::free_port, redis::Redis};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    fleet::{Fleet, Place, TRUST},
    support::larder::{Larder, run},
    versions::Versions,
};

/// One gateway with a file of its own, over a server that may be down.
struct Lone {
    /// `None` while it is down.
    larder: Option<Larder>,
    place: Place,
    arguments: Vec<String>,
}

impl Lone {
    fn arguments(server: &Redis, file: &Path) -> (Place, Vec<String>) {
        let port = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let place = Place { address: port(), admin: port() };
        let arguments = [
            "serve",
            "--upstream",
            "http://127.0.0.1:1",
            "--listen",
            &place.address.to_string(),
            "--admin",
            &place.admin.to_string(),
            "--shared",
            &server.url(),
            "--shared-outbox",
            file.to_str().unwrap(),
            "--max-incoherence",
            &format!("{}ms", TRUST.as_millis()),
        ];
        (place, arguments.map(str::to_owned).to_vec())
    }

    async fn start(server: &Redis, file: &Path) -> Lone {
        let (place, arguments) = Lone::arguments(server, file);
        let mut gateway = Lone { larder: None, place, arguments };
        gateway.start_again().await;
        gateway
    }

    async fn start_again(&mut self) {
        self.larder = Some(Larder::with_arguments(&borrowed(&self.arguments)).await);
    }

    /// It is gone without a word.
    async fn kill(&mut self) {
        let larder = self.larder.take().expect("a gateway that is up");
        larder.signal(Signal::KILL);
        assert_eq!(larder.exit().await, None);
    }

    fn larder(&self) -> &Larder {
        self.larder.as_ref().expect("a gateway that is up")
    }
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn place() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("outbox");
    (folder, file)
}

/// Purges of ten keys each, `/0` to `/9` first.
fn ten(nth: usize) -> String {
    let keys: Vec<_> = (10 * nth..10 * nth + 10).map(|key| format!("\"/{key}\"")).collect();
    format!(r#"{{"keys":[{}],"mode":"hard"}}"#, keys.join(","))
}

/// What the server's log has, in its order; keys by their numbers.
async fn logged(server: &Redis) -> Vec<Option<usize>> {
    let tier = Tier::connect(&server.url()).unwrap();
    let tail = eventually("an answer of the tier", async || tier.tail(None).await.ok()).await;
    let scopes = tail.purges.into_iter().flat_map(|logged| logged.purge.scopes);
    let number = |scope| match scope {
        Scope::Key(key) => key.trim_start_matches('/').parse().ok(),
        _ => None,
    };
    scopes.map(number).collect()
}

async fn until_logged(
    server: &Redis,
    what: &str,
    is_there: impl Fn(&[Option<usize>]) -> bool,
) -> Vec<Option<usize>> {
    eventually(what, async || {
        let logged = logged(server).await;
        is_there(&logged).then_some(logged)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purges_that_were_queued_when_their_gateway_was_killed_arrive_in_their_order() {
    let mut server = Redis::start().await;
    let (_folder, file) = place();
    let mut gateway = Lone::start(&server, &file).await;
    server.kill().await;
    let admin = gateway.place;
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let purging = tokio::spawn(async move {
        for nth in 0..100 {
            let Some(said) = admin.purge(&ten(nth)).await else { return };
            // Of each of the ten, and of all of them together.
            assert_eq!(said.answer.matches(r#""outbox":"on disk""#).count(), 11, "{}", said.answer);
            told.send(nth).unwrap();
        }
    });
    let mut queued = 0;
    while queued < 50 {
        queued = heard.recv().await.unwrap() + 1;
    }
    gateway.kill().await;
    purging.await.unwrap();
    while let Ok(nth) = heard.try_recv() {
        queued = nth + 1;
    }
    gateway.start_again().await;
    server.start_again().await;
    let last = 10 * queued - 1;
    let logged =
        until_logged(&server, "the last of them", |logged| logged.contains(&Some(last))).await;
    let keys: Vec<_> = logged.iter().map(|key| key.expect("only keys were purged")).collect();
    assert!(keys.is_sorted_by(|one, next| one < next), "{keys:?}");
    assert_eq!(&keys[..=last], (0..=last).collect::<Vec<_>>());
    // What is acknowledged is of no use there any more.
    eventually("the outbox to be empty", async || {
        let bytes = gateway.larder().metric("larder_lower_outbox_file_bytes{cache=\"gateway\"}");
        (bytes.await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_torn_costs_nothing_that_was_queued_and_one_that_is_damaged_purges_everything()
 {
    let mut server = Redis::start().await;
    let (_folder, file) = place();
    let mut gateway = Lone::start(&server, &file).await;
    server.kill().await;
    gateway.place.purge(&ten(0)).await.unwrap();
    gateway.kill().await;
    let whole = fs::read(&file).unwrap();
    let half_a_record = &whole[16..40];
    fs::write(&file, [&whole, half_a_record].concat()).unwrap();
    gateway.start_again().await;
    gateway.place.purge(&ten(1)).await.unwrap();
    gateway.kill().await;
    let mut damaged = fs::read(&file).unwrap();
    damaged[20] ^= 1;
    fs::write(&file, damaged).unwrap();
    gateway.start_again().await;
    let log = gateway.larder().log();
    assert!(log.contains("cannot be read: all that is shared is purged"), "{log}");
    assert!(log.contains("19 purges that an earlier run has left are sent first"), "{log}");
    server.start_again().await;
    let logged = until_logged(&server, "everything", |logged| logged.contains(&None)).await;
    let keys: Vec<_> = logged.iter().flatten().copied().collect();
    assert_eq!(keys, (1..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_used_is_refused_before_anything_listens() {
    let server = Redis::start().await;
    let (folder, file) = place();
    let gateway = Lone::start(&server, &file).await;
    let settings = folder.path().join("larder.toml");
    fs::write(&settings, "[shared]\n").unwrap();
    for (path, why) in [
        (file.as_path(), "another process uses it"),
        (&settings, "it is no outbox of this version of Larder"),
        (folder.path(), "it is no outbox of this version of Larder"),
        (&folder.path().join("none/outbox"), "No such file or directory"),
        (Path::new("/proc/outbox"), "cannot be opened"),
    ] {
        let (_, arguments) = Lone::arguments(&server, path);
        let exit = run(&borrowed(&arguments)).await;
        assert_eq!(exit.code, Some(1), "{}", exit.log);
        let what = format!("cannot keep purges in {} (--shared-outbox)", path.display());
        assert!(exit.log.contains(&what) && exit.log.contains(why), "{}", exit.log);
    }
    assert_eq!(fs::read_to_string(&settings).unwrap(), "[shared]\n");
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_disk_is_full_purges_are_made_and_say_that_they_are_in_memory_alone() {
    let mut server = Redis::start().await;
    let (_folder, file) = place();
    let (place, arguments) = Lone::arguments(&server, &file);
    // Files may have 64 blocks of 512 bytes, whatever is written to them.
    let limits = "trap '' XFSZ && ulimit -f 64";
    let larder = Larder::within(limits, &borrowed(&arguments)).await;
    server.kill().await;
    let long = |nth: usize| format!(r#"{{"keys":["/{nth}","{}{nth}"]}}"#, "x".repeat(10_000));
    let mut refused = None;
    for nth in 0..8 {
        let said = place.purge(&long(nth)).await.unwrap();
        if said.answer.contains(r#""outbox":"not on disk: File too large"#) {
            refused.get_or_insert(nth);
        }
    }
    assert!(refused.is_some_and(|nth| nth > 0), "{refused:?}");
    let ready = larder.get_from_admin("/readyz").await;
    assert_eq!(ready.status(), 200);
    assert!(ready.text().contains("the outbox of gateway is not on disk"), "{}", ready.text());
    let failing = larder.metric("larder_lower_outbox_failing{cache=\"gateway\"}").await;
    assert_eq!(failing, 1.0);
    larder.told("the outbox is not on disk").await;
    server.start_again().await;
    until_logged(&server, "the last of them", |logged| logged.contains(&Some(7))).await;
    eventually("the file to be of use again", async || {
        let ready = larder.get_from_admin("/readyz").await;
        (!ready.text().contains("not on disk")).then_some(())
    })
    .await;
    let log = larder.log();
    let lines = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!(lines("the outbox is not on disk"), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_was_killed_is_forgotten_and_purges_hold_without_it() {
    let versions = Versions::default();
    let origin = versions.origin().await;
    let mut fleet = Fleet::before(origin.address).await;
    let id = fleet.gateways[2].larder().process.id();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let name = format!("{}:{id}", host.trim());
    let places = fleet.places();
    let admin = fleet.gateways[0].larder.take().unwrap();
    let forget = async |body: &str| admin.post_to_admin("/v1/shared/forget", body).await;
    let by_name = format!(r#"{{"instance":"{name}"}}"#);
    let alive = forget(&by_name).await;
    assert_eq!(alive.status(), 409, "{}", alive.text());
    assert!(alive.text().contains(&format!("{name} is alive")), "{}", alive.text());
    for (body, status) in [
        (r#"{"instance":"nobody:1"}"#, 404),
        (r#"{"instance":""}"#, 422),
        (r#"{"instance":"a","what":1}"#, 422),
        (r#"["a"]"#, 422),
    ] {
        let answer = forget(body).await;
        assert_eq!(answer.status(), status, "{}", answer.text());
    }
    fleet.gateways[2].kill().await;
    let forgotten = eventually("it to have been silent", async || {
        let answer = forget(&by_name).await;
        (answer.status() == 200).then(|| answer.text().to_owned())
    })
    .await;
    assert_eq!(forgotten, r#"{"forgotten":1}"#);
    let said = places[1].purge(r#"{"tags":["page"],"wait":"shared"}"#).await.unwrap();
    assert!(said.answer.contains(r#""state":"applied","by":2,"of":2"#), "{}", said.answer);
    assert!(said.answer.contains(r#""replication":"single""#), "{}", said.answer);
    // It comes back as another one, and is waited for again.
    fleet.gateways[0].larder = Some(admin);
    fleet.gateways[2].start().await;
    fleet.settles().await;
}
