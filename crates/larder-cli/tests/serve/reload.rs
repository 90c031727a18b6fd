//! SIGHUP: a file is read again whole or not at all, and nobody who is served notices.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{
    Wire, eventually,
    larder::Larder,
    origin::{Origin, ok},
};

const LISTENERS: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";

/// A gateway that runs by a file.
struct Site {
    folder: TempDir,
    larder: Larder,
    applied: u64,
    refused: u64,
}

impl Site {
    async fn with(text: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("larder.toml"), text).unwrap();
        let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
        Site { folder, larder, applied: 0, refused: 0 }
    }

    /// Writes the file, and waits until what came of it is told.
    async fn reread(&mut self, text: &str, is_taken: bool) {
        fs::write(self.folder.path().join("larder.toml"), text).unwrap();
        let (outcome, count) = match is_taken {
            true => ("applied", &mut self.applied),
            false => ("refused", &mut self.refused),
        };
        *count += 1;
        let expected = *count as f64;
        self.larder.signal(Signal::HUP);
        let name = format!("larder_config_reloads_total{{outcome=\"{outcome}\"}}");
        let larder = &self.larder;
        let is_told = async || (larder.metric(&name).await == expected).then_some(());
        eventually(&name, is_told).await;
    }
}

fn before(origin: &Origin) -> String {
    format!("[upstream.app]\nurl = \"http://{}\"\n{LISTENERS}", origin.address)
}

#[tokio::test]
async fn what_is_stored_stays_and_is_answered_by_the_new_rules() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let text = before(&origin);
    let mut site = Site::with(&text).await;
    let mut wire = site.larder.connect().await;
    site.larder.get("/a").await;
    let ask = "GET /a HTTP/1.1\r\nhost: larder.test\r\n\r\n";
    for (rules, then) in [
        ("", "hit"),
        ("[[route]]\npath = \"/a\"\ncache = false\n", "bypass"),
        ("[[route]]\npath = \"/b\"\ncache = false\n", "hit"),
    ] {
        site.reread(&(text.clone() + rules), true).await;
        wire.send(ask).await;
        let answer = wire.answer().await;
        assert_eq!(answer.handling(), then, "{rules}");
    }
    let reload = "cache-control: no-cache\r\n";
    assert_ne!(site.larder.get_with("/a", reload).await.handling(), "hit");
    site.reread(&(text + "[defaults]\nobey_readers = false\n"), true).await;
    assert_eq!(site.larder.get_with("/a", reload).await.handling(), "hit");
}

#[tokio::test]
async fn what_is_stored_is_as_fresh_as_the_new_rules_have_it() {
    let origin = Origin::saying(ok("cache-control: max-age=1000\r\nserver: inner\r\n", "a")).await;
    let text = before(&origin);
    let mut site = Site::with(&text).await;
    site.larder.get("/a").await;
    let ttl = async |larder: &Larder| {
        let answer = larder.get("/a").await;
        assert_eq!(answer.handling(), "hit");
        let said = answer.field("cache-status").unwrap();
        let told = said.split("ttl=").nth(1).unwrap().split(';').next().unwrap();
        (told.parse::<u64>().unwrap(), answer.field("server").is_some())
    };
    for (rules, at_most, has_server) in [
        ("max_ttl = \"500s\"\n", 500, true),
        ("min_ttl = \"2000s\"\nresponse_headers = { remove = [\"Server\"] }\n", 2000, false),
        ("", 1000, true),
    ] {
        site.reread(&format!("{text}[defaults]\n{rules}"), true).await;
        let (told, server) = ttl(&site.larder).await;
        // Meanwhile time goes by.
        assert!(told <= at_most && told + 300 > at_most, "{rules}: {told}");
        assert_eq!(server, has_server, "{rules}");
    }
    site.reread(&(text + "[defaults]\nttl_by_status = { 200 = \"0s\" }\n"), true).await;
    assert_eq!(site.larder.get("/a").await.handling(), "stale");
}

#[tokio::test]
async fn a_file_with_mistakes_is_refused_and_told_until_it_is_mended() {
    let origin = Origin::saying(ok("", "a")).await;
    let text = before(&origin) + "[defaults]\nttl = \"1m\"\n";
    let mut site = Site::with(&text).await;
    site.larder.get("/a").await;
    site.reread("[server]\nlisen = 8080\n", false).await;
    assert_eq!(site.larder.get("/a").await.handling(), "hit");
    let ready = site.larder.get_from_admin("/readyz").await;
    assert_eq!(ready.status(), 200);
    let told = "the file of settings is refused, and those before it are in force: larder.toml:2:1: there is no key";
    assert!(ready.text().contains(told), "{}", ready.text());
    assert_eq!(site.larder.metric("larder_config_refused").await, 1.0);
    site.larder.told("did you mean \"listen\"?").await;
    site.reread(&text, true).await;
    assert_eq!(site.larder.get_from_admin("/readyz").await.text(), "ready");
    assert_eq!(site.larder.metric("larder_config_refused").await, 0.0);
}

#[tokio::test]
async fn how_much_a_listener_takes_holds_with_the_next_request() {
    let origin = Origin::saying(ok("", "a")).await;
    let text = |most: &str| {
        format!(
            "[upstream.app]\nurl = \"http://{}\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [[listener]]\nlisten = \"127.0.0.1:0\"\n{most}",
            origin.address
        )
    };
    let mut site = Site::with(&text("")).await;
    let mut wire = site.larder.connect().await;
    let post = "POST /a HTTP/1.1\r\nhost: larder.test\r\ncontent-length: 7\r\n\r\n1234567";
    for (most, status) in [("", 200), ("max_request_body = 7", 200), ("max_request_body = 6", 413)]
    {
        site.reread(&text(most), true).await;
        wire.send(post).await;
        assert_eq!(wire.answer().await.status(), status, "{most}");
    }
    assert!(!site.larder.log().contains("only with a restart"), "{}", site.larder.log());
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_nothing_else() {
    let origin = Origin::saying(ok("", "a")).await;
    let text = before(&origin) + "[[listener]]\nlisten = \"127.0.0.1:0\"\nname = \"inner\"\n";
    let mut site = Site::with(&text).await;
    let more = text
        .replace("[server]\n", "[server]\nthreads = 7\ntrusted_peers = [\"192.0.2.1\"]\n")
        .replace("name = \"inner\"\n", "name = \"outer\"\nredirect_to_https = 443\n")
        + "[memory]\nsize = \"8MiB\"\n[defaults]\nttl = \"1m\"\n";
    site.reread(&more, true).await;
    let line = "what changes only with a restart: server.threads, listener[1].name, memory.size";
    let is_told = async || site.larder.log().contains("restart").then_some(());
    eventually("what needs a restart", is_told).await;
    let log = site.larder.log();
    assert!(log.lines().any(|said| said.ends_with(line)), "{log}");
    assert_eq!(site.larder.get("/a").await.status(), 200);
    assert_eq!(site.larder.get("/a").await.handling(), "hit", "the rest holds");
}

/// Which file is at fault, what it holds then, and what it is mended with.
const FAULTS: [(&str, &str, &str, &str); 4] = [
    (
        "include = [\"new/*.toml\"]\n",
        "new/a.toml",
        "[[route]]\npathh = \"/a\"\n",
        "[[route]]\npath = \"/a\"\nttl = \"9s\"\n",
    ),
    ("", "explain", "", "a token that is long enough\n"),
    ("", "down.html", "", "<p>soon\n"),
    ("", "redis-password", "", "open sesame\n"),
];

#[tokio::test]
async fn where_a_file_that_a_refused_one_names_is_mended_that_is_noticed() {
    let origin = Origin::saying(ok("", "a")).await;
    let text = before(&origin).replace("[server]\n", "[server]\nreload = \"on-change\"\n");
    for (include, name, wrong, right) in FAULTS {
        let site = Site::with(&text).await;
        let path = site.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !wrong.is_empty() {
            fs::write(&path, wrong).unwrap();
        }
        let now = match name {
            "explain" => text.replace("[server]\n", "[server]\nexplain_token_file = \"explain\"\n"),
            "down.html" => {
                text.replace("[server]\n", "maintenance_page = \"down.html\"\n[server]\n")
            }
            "redis-password" => format!(
                "{text}[shared]\nurl = \"redis://127.0.0.1:1\"\npassword_file = \"redis-password\"\n"
            ),
            _ => format!("{include}{text}"),
        };
        fs::write(site.folder.path().join("larder.toml"), now).unwrap();
        let larder = &site.larder;
        let is = async |value: f64| {
            (larder.metric("larder_config_refused").await == value).then_some(())
        };
        eventually("that it is refused", async || is(1.0).await).await;
        fs::write(&path, right).unwrap();
        eventually(&format!("that {name} is mended"), async || is(0.0).await).await;
        // Each was read once.
        for outcome in ["applied", "refused"] {
            let name = format!("larder_config_reloads_total{{outcome=\"{outcome}\"}}");
            assert_eq!(larder.metric(&name).await, 1.0, "{name}");
        }
    }
}

#[tokio::test]
async fn a_service_has_its_share_of_the_open_files_when_there_are_more_or_fewer() {
    let (arrived, release) = (Arc::new(AtomicU64::new(0)), Arc::new(tokio::sync::Notify::new()));
    let origin = {
        let (arrived, release) = (Arc::clone(&arrived), Arc::clone(&release));
        Origin::playing(move |mut visit| {
            let (arrived, release) = (Arc::clone(&arrived), Arc::clone(&release));
            async move {
                while visit.request().await.is_some() {
                    arrived.fetch_add(1, Ordering::Relaxed);
                    release.notified().await;
                    visit.send(ok("cache-control: no-store\r\n", "a")).await;
                }
            }
        })
        .await
    };
    let one = before(&origin) + "[defaults]\nupstream = \"app\"\n";
    let others = (0..9).map(|number| format!("[upstream.other{number}]\nurl = 1\n"));
    let ten = others.collect::<String>() + &one;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("larder.toml"), &ten).unwrap();
    let config = folder.path().join("larder.toml");
    let arguments = ["serve", "--config", config.to_str().unwrap()];
    // Of 1024 files a service has 206 for requests, and each of ten has 20.
    let larder = Larder::within("ulimit -n 1024", &arguments).await;
    let mut site = Site { folder, larder, applied: 0, refused: 0 };
    let mut readers = Vec::new();
    // For paths of their own: one alone may not have all turns.
    for number in 0..24 {
        let mut wire = site.larder.connect().await;
        wire.send(format!(
            "POST /{number} HTTP/1.1\r\nhost: a{number}\r\ncontent-length: 0\r\n\r\n"
        ))
        .await;
        readers.push(wire);
    }
    let have_come = async |count: u64| {
        let what = format!("{count} requests at the service");
        eventually(&what, async || (arrived.load(Ordering::Relaxed) >= count).then_some(())).await;
    };
    have_come(20).await;
    site.reread(&one, true).await;
    for number in 24..48 {
        let mut wire = site.larder.connect().await;
        wire.send(format!(
            "POST /{number} HTTP/1.1\r\nhost: a{number}\r\ncontent-length: 0\r\n\r\n"
        ))
        .await;
        readers.push(wire);
    }
    // Those that came before still wait for the twenty; of those that come now none has to.
    have_come(44).await;
    release.notify_waiters();
    drop(readers);
}

#[tokio::test]
async fn a_service_that_moves_is_asked_where_it_is_now() {
    let [one, other] = [Origin::saying(ok("", "one")).await, Origin::saying(ok("", "other")).await];
    let mut site = Site::with(&before(&one)).await;
    assert_eq!(site.larder.get("/a").await.text(), "one");
    site.reread(&before(&other), true).await;
    assert_eq!(site.larder.get("/a").await.text(), "other");
    // In the order of their names the new one comes first.
    let two = before(&one)
        + &format!(
            "[upstream.aaa]\nurl = \"http://{}\"\n[defaults]\nupstream = \"app\"\n",
            other.address
        );
    site.reread(&two, true).await;
    assert_eq!(site.larder.get("/a").await.text(), "one");
}

#[tokio::test]
async fn no_request_fails_while_the_file_is_read_again_and_again() {
    let origin = Origin::answering(|head| match head.contains("/kept") {
        true => ok("cache-control: max-age=60\r\n", "a"),
        false => ok("cache-control: no-store\r\n", "a"),
    })
    .await;
    let text = before(&origin);
    let mut site = Site::with(&text).await;
    let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let address = site.larder.address;
    let readers: Vec<_> = ["/kept", "/passed", "/kept", "/passed"]
        .map(|path| {
            let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut wire = Wire::connect(address).await;
                while !is_over.load(Ordering::Relaxed) {
                    wire.send(format!("GET {path} HTTP/1.1\r\nhost: larder.test\r\n\r\n")).await;
                    // One connection lasts all through it.
                    assert_eq!(wire.answer().await.status(), 200, "{path}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .into_iter()
        .collect();
    for round in 0..20 {
        let asked = answered.load(Ordering::Relaxed);
        let rules = format!("[[route]]\npath = \"/kept\"\nttl = \"{}s\"\n", round + 1);
        site.reread(&(text.clone() + &rules), true).await;
        site.reread("[", false).await;
        // Some are answered between any two.
        let goes_on = async || (answered.load(Ordering::Relaxed) > asked).then_some(());
        eventually("further answers", goes_on).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn compression_that_is_switched_on_or_off_holds_for_what_is_stored() {
    let text = "some text, ".repeat(500);
    let fields = "cache-control: max-age=600\r\ncontent-type: text/plain\r\n";
    let origin = Origin::saying(ok(fields, &text)).await;
    let without = before(&origin);
    let mut site = Site::with(&without).await;
    let gzip = "accept-encoding: gzip\r\n";
    for _ in 0..2 {
        let answer = site.larder.get_with("/a", gzip).await;
        assert_eq!((answer.field("vary"), answer.text()), (None, &*text));
    }
    site.reread(&format!("{without}[defaults]\ncompress = [\"gzip\"]\n"), true).await;
    let larder = &site.larder;
    let is_made = async || {
        let answer = larder.get_with("/a", gzip).await;
        assert_eq!(answer.field("vary"), Some("accept-encoding"));
        (answer.field("content-encoding") == Some("gzip")).then_some(())
    };
    eventually("a compressed form", is_made).await;
    site.reread(&without, true).await;
    let answer = site.larder.get_with("/a", gzip).await;
    assert_eq!((answer.handling(), answer.text()), ("hit", &*text));
    assert_eq!((answer.field("vary"), answer.field("content-encoding")), (None, None));
    assert_eq!(origin.requests().len(), 1);
}
