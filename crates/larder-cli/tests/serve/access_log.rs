//! The access log from outside: a line for each request, whatever becomes of the request, and of the log.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Certificate, Wire, eventually,
    larder::{Larder, request},
    origin::{Origin, ok},
    program::{self, curl},
};

/// A gateway with an access log in a file.
struct Site {
    folder: TempDir,
    larder: Larder,
}

fn write(folder: &Path, origin: SocketAddr, text: &str) {
    let text = format!(
        "[server]\nlisten = 0\n[admin]\nlisten = 0\n[upstream.app]\nurl = \"http://{origin}\"\n{text}"
    );
    fs::write(folder.join("larder.toml"), text).unwrap();
}

impl Site {
    /// `keys` are those of `[access_log]` beside `to`, and whatever comes behind it.
    async fn with(origin: SocketAddr, keys: &str) -> Site {
        Site::to("access.log", origin, keys).await
    }

    async fn to(place: &str, origin: SocketAddr, keys: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), origin, &format!("[access_log]\nto = \"{place}\"\n{keys}"));
        let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
        Site { folder, larder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("access.log")
    }

    /// Waits for so many lines.
    async fn texts(&self, count: usize) -> Vec<String> {
        eventually("all lines", async || {
            let text = fs::read_to_string(self.file()).unwrap();
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            assert!(lines.len() <= count, "{text}");
            (lines.len() == count && text.ends_with('\n')).then_some(lines)
        })
        .await
    }

    async fn lines(&self, count: usize) -> Vec<Value> {
        let texts = self.texts(count).await;
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }
}

async fn small() -> Origin {
    Origin::saying(ok("cache-control: max-age=600\r\n", "hello")).await
}

#[tokio::test]
async fn each_request_has_a_line_with_what_the_cache_did() {
    let origin = small().await;
    let site = Site::with(origin.address, "").await;
    for _ in 0..2 {
        site.larder.get("/a?user=me").await;
    }
    let lines = site.lines(3).await;
    // The second is a question of the test's own, whether the answer is in its place.
    let (miss, hit) = (&lines[0], &lines[2]);
    for line in [miss, hit] {
        assert_eq!(line["path"], "/a?user=*");
        assert_eq!((&line["method"], &line["protocol"]), (&"GET".into(), &"HTTP/1.1".into()));
        assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &5.into()));
        assert_eq!((&line["client"], &line["scheme"]), (&"127.0.0.1".into(), &"http".into()));
        assert_eq!((&line["host"], &line["ended"]), (&"larder.test".into(), &"whole".into()));
        assert!(line["total_ms"].is_f64() && line["first_byte_ms"].is_f64(), "{line}");
    }
    assert_eq!((&miss["cache"], &miss["upstream"]), (&"uri-miss".into(), &"app".into()));
    assert!(miss["origin_ms"].is_f64() && miss["tier"].is_null(), "{miss}");
    assert_eq!((&hit["cache"], &hit["tier"]), (&"hit".into(), &"memory".into()));
    assert!(hit["age"].is_u64() && hit["origin_ms"].is_null(), "{hit}");
}

#[tokio::test]
async fn there_are_as_many_lines_as_requests_in_either_protocol() {
    let origin = small().await;
    let site = Site::with(origin.address, "format = \"combined\"\n").await;
    let url = site.larder.url("/a");
    for (version, protocol) in [("--h1", "HTTP/1.1"), ("-p", "HTTP/2.0")] {
        let before = fs::read_to_string(site.file()).unwrap().lines().count();
        let mut command = Command::new("h2load");
        command.args(["-n", "3000", "-c", "5", "-m", "4"]);
        command.args(if version == "-p" { vec!["-p", "h2c"] } else { vec![version] }).arg(&url);
        let said = String::from_utf8(program::run(&mut command).await.stdout).unwrap();
        assert!(said.contains("3000 succeeded, 0 failed"), "{said}");
        let lines = site.texts(before + 3000).await;
        let of_it = lines[before..].iter().filter(|line| {
            line.contains(&format!("\"GET /a {protocol}\" 200 5 ")) && line.ends_with("ended=whole")
        });
        assert_eq!(of_it.count(), 3000, "{}", lines[before]);
    }
}

#[tokio::test]
async fn what_is_refused_has_a_line_and_so_has_what_breaks_off() {
    let large = 32 << 20;
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", vec![b'x'; large])).await;
    let site = Site::with(origin.address, "").await;
    let long = "x".repeat(20 << 10);
    let many = "a: b\r\n".repeat(200);
    let refused = [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_owned(), 400),
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), 431),
        ("GET / HTTP/3.7\r\nhost: a\r\n\r\n".to_owned(), 505),
        ("\x16\x03\x01\x02\x00\x01\r\n\r\n".to_owned(), 400),
    ];
    for (index, (sent, status)) in refused.iter().enumerate() {
        site.larder.say(sent).await;
        let lines = site.lines(index + 1).await;
        let line = &lines[index];
        assert_eq!((&line["status"], &line["ended"]), (&(*status).into(), &"refused".into()));
        assert!(line["refused"].is_string() && line["path"].is_null(), "{line}");
        assert!(line["bytes"].as_u64() > Some(50), "the problem that was answered: {line}");
    }
    let mut count = refused.len();
    // From the origin, then from the cache, over HTTP/1.1; each reader leaves in the middle.
    for _ in 0..2 {
        let mut wire = site.larder.connect().await;
        wire.send(request("GET", "/large", "")).await;
        wire.head().await;
        wire.reset();
        count += 1;
        let line = site.lines(count).await.pop().unwrap();
        assert_eq!((&line["status"], &line["ended"]), (&200.into(), &"cut".into()), "{line}");
        assert!(line["bytes"].as_u64().unwrap() < large as u64, "{line}");
        curl(&["--output", "/dev/null", &site.larder.url("/large")]).await;
        count += 1;
        let line = site.lines(count).await.pop().unwrap();
        assert_eq!((&line["bytes"], &line["ended"]), (&large.into(), &"whole".into()), "{line}");
    }
    // HTTP/2: curl gives the stream up.
    let mut command = Command::new("sh");
    let url = site.larder.url("/large");
    command.args(["-c", "curl -s --http2-prior-knowledge \"$0\" | head -c 100 > /dev/null", &url]);
    program::output(&mut command).await;
    let line = site.lines(count + 1).await.pop().unwrap();
    assert_eq!((&line["protocol"], &line["ended"]), (&"HTTP/2.0".into(), &"cut".into()), "{line}");
}

#[tokio::test]
async fn a_reader_that_leaves_before_its_answer_has_a_line() {
    let origin = Origin::playing(|mut visit| async move {
        visit.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let site = Site::with(origin.address, "").await;
    let mut wire = site.larder.connect().await;
    wire.send(request("GET", "/never", "")).await;
    eventually("a request", async || origin.requests().first().map(|_| ())).await;
    wire.reset();
    let line = site.lines(1).await.pop().unwrap();
    assert_eq!(
        (&line["status"], &line["ended"], &line["bytes"]),
        (&499.into(), &"cut".into(), &0.into())
    );
}

#[tokio::test]
async fn personal_data_is_told_as_far_as_that_is_wanted_and_secrets_never() {
    let fields = "cookie: secret=1\r\nauthorization: Bearer secret\r\nuser-agent: a\"b\t\u{9b}2J\r\n\
                  referer: https://example.org/?secret=1\r\n";
    for (keys, client, path) in [
        ("", "127.0.0.1", "/a?secret=*&*"),
        ("addresses = \"mask\"\nquery = \"drop\"\n", "127.0.0.0", "/a"),
        ("addresses = \"drop\"\n", "", "/a?secret=*&*"),
    ] {
        for format in ["json", "combined"] {
            let origin = small().await;
            let keys = format!("format = \"{format}\"\n{keys}");
            let site = Site::with(origin.address, &keys).await;
            let mut wire = site.larder.connect().await;
            wire.send(request("GET", "/a?secret=1&secret", fields)).await;
            wire.answer().await;
            let text = site.texts(1).await.pop().unwrap();
            assert!(!text.contains("secret=1") && !text.contains("Bearer"), "{text}");
            assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
            if format == "json" {
                let line: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(line["client"].as_str().unwrap_or_default(), client);
                assert_eq!(line["path"], path);
                assert_eq!(line["user_agent"], "a\"b\t\u{c2}\u{9b}2J");
            } else {
                let client = if client.is_empty() { "-" } else { client };
                assert!(text.starts_with(&format!("{client} - - [")), "{text}");
                assert!(text.contains(&format!("\"GET {path} HTTP/1.1\" 200 5 ")), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_line_is_of_whom_it_asks_for() {
    let origin = small().await;
    let keys = "[[listener]]\nlisten = 0\ntrusted_peers = [\"127.0.0.1\"]\n";
    let site = Site::with(origin.address, keys).await;
    let log = site.larder.log();
    let second = log.lines().filter_map(|line| line.split_once("listening on http://")).nth(1);
    let (_, second) = second.unwrap();
    let address: SocketAddr = second.split(',').next().unwrap().trim().parse().unwrap();
    // By the service, and then as a plain hit.
    for count in 1..=3 {
        let mut wire = Wire::connect(address).await;
        wire.send(request("GET", "/a", "x-forwarded-for: 6.6.6.6, 203.0.113.7\r\n")).await;
        wire.answer().await;
        let line = site.lines(count).await.pop().unwrap();
        assert_eq!(line["client"], "203.0.113.7", "{line}");
    }
}

#[tokio::test]
async fn of_what_goes_well_a_sample_is_logged_and_all_that_does_not() {
    let origin = Origin::answering(|head| match head.starts_with("GET /bad") {
        true => b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n".to_vec(),
        false => ok("cache-control: max-age=600\r\n", "hello"),
    })
    .await;
    let site = Site::with(origin.address, "sample = 0\n").await;
    for path in ["/a", "/bad", "/a", "/bad"] {
        curl(&[&site.larder.url(path)]).await;
    }
    let lines = site.lines(2).await;
    assert!(lines.iter().all(|line| line["status"] == 500), "{lines:?}");
    let left_out = "larder_access_log_lines_total{outcome=\"left_out\"}";
    assert_eq!(site.larder.metric(left_out).await, 2.0);
    assert_eq!(site.larder.metric("larder_access_log_lines_total{outcome=\"written\"}").await, 2.0);
}

#[tokio::test]
async fn a_file_that_is_moved_away_under_load_loses_no_line() {
    let origin = small().await;
    let site = Site::with(origin.address, "buffer = \"64MiB\"\n").await;
    curl(&[&site.larder.url("/a")]).await;
    let mut command = Command::new("h2load");
    command.args(["--h1", "-n", "30000", "-c", "8", &site.larder.url("/a")]);
    let mut moved = 0;
    let loading = program::run(&mut command);
    tokio::pin!(loading);
    let said = loop {
        tokio::select! {
            output = &mut loading => break String::from_utf8(output.stdout).unwrap(),
            () = tokio::time::sleep(std::time::Duration::from_millis(60)) => {
                // As logrotate does it; while the new file is not there yet, it waits.
                if site.file().exists() {
                    moved += 1;
                    fs::rename(site.file(), site.folder.path().join(format!("old.{moved}"))).unwrap();
                    site.larder.signal(Signal::USR1);
                }
            }
        }
    };
    assert!(said.contains("30000 succeeded, 0 failed"), "{said}");
    assert!(moved > 0);
    let count = || {
        let files = fs::read_dir(site.folder.path()).unwrap().map(|file| file.unwrap().path());
        let logs = files.filter(|file| file.extension().is_none_or(|kind| kind != "toml"));
        logs.map(|file| fs::read_to_string(file).unwrap())
            .map(|text| {
                assert!(
                    text.lines().all(|line| line.starts_with("{\"time\"") && line.ends_with('}'))
                );
                text.lines().count()
            })
            .sum::<usize>()
    };
    eventually("each line", async || (count() == 30_001).then_some(())).await;
    assert_eq!(site.larder.metric("larder_access_log_lines_total{outcome=\"lost\"}").await, 0.0);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_loses_its_lines_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    program::run(Command::new("mkfifo").arg(&pipe)).await;
    for place in ["/dev/full", pipe.to_str().unwrap()] {
        let origin = small().await;
        let site = Site::to(place, origin.address, "buffer = \"64KiB\"\n").await;
        curl(&[&site.larder.url("/a")]).await;
        let mut command = Command::new("h2load");
        command.args(["--h1", "-n", "5000", "-c", "4", &site.larder.url("/a")]);
        let said = String::from_utf8(program::run(&mut command).await.stdout).unwrap();
        assert!(said.contains("5000 succeeded, 0 failed"), "{place}: {said}");
        let lost = "larder_access_log_lines_total{outcome=\"lost\"}";
        eventually("all to be lost", async || {
            (site.larder.metric(lost).await >= 5001.0).then_some(())
        })
        .await;
        site.larder.told("cannot write the access log").await;
        site.larder.signal(Signal::TERM);
        assert_eq!(site.larder.exit().await, Some(0), "{place}");
    }
}

#[tokio::test]
async fn standard_output_has_the_lines_and_all_of_them_at_the_end() {
    let origin = small().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), origin.address, "[access_log]\nto = \"stdout\"\n");
    let larder = Larder::with_output_in(folder.path()).await;
    for _ in 0..3 {
        curl(&[&larder.url("/a")]).await;
    }
    larder.signal(Signal::TERM);
    assert_eq!(larder.exit().await, Some(0));
    let text = fs::read_to_string(folder.path().join("out")).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains("\"path\":\"/a\"")).count(), 3, "{text}");
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let place = "/proc/larder.log";
    write(folder.path(), ([127, 0, 0, 1], 9).into(), &format!("[access_log]\nto = \"{place}\"\n"));
    let exit = crate::support::larder::run_in(folder.path(), &["serve"]).await;
    assert_eq!(exit.code, Some(1));
    assert!(exit.log.contains("cannot write the access log /proc/larder.log"), "{}", exit.log);
}

#[tokio::test]
async fn a_line_names_its_listener_and_what_its_connection_was_encrypted_with() {
    let (origin, folder) = (small().await, tempfile::tempdir().unwrap());
    let certificate = Certificate::new();
    let [file, key] = [certificate.file(), certificate.key()];
    let text = format!(
        "[[listener]]\nname = \"inner\"\nlisten = 0\n[[listener]]\nname = \"public\"\nlisten = 0\n\
         [listener.tls]\ncertificate = {file:?}\nkey = {key:?}\n[admin]\nlisten = 0\n\
         [access_log]\nto = \"access.log\"\n[upstream.app]\nurl = \"http://{}\"\n",
        origin.address
    );
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let log = larder.log();
    let encrypted =
        log.lines().find_map(|line| line.split_once("listening on https://")).unwrap().1;
    let encrypted = encrypted.split([',', ' ']).next().unwrap();
    // A miss, and a hit that is answered where it lies.
    let url = format!("https://{encrypted}/a");
    for protocol in ["--http1.1", "--http2"] {
        curl(&["--insecure", "--silent", "--output", "/dev/null", protocol, &url]).await;
    }
    let file = folder.path().join("access.log");
    let lines: Vec<Value> = eventually("two lines", async || {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines.len() == 2).then_some(lines)
    })
    .await;
    for line in &lines {
        assert_eq!(
            (&line["listener"], &line["tls"]),
            (&"public".into(), &"TLSv1.3".into()),
            "{line}"
        );
        assert!(line["cipher"].as_str().unwrap().starts_with("TLS13_"), "{line}");
    }
    larder.get("/a").await;
    let text = eventually("a line of the other", async || {
        let text = fs::read_to_string(&file).unwrap();
        text.contains("\"listener\":\"inner\"").then_some(text)
    })
    .await;
    let inner = text.lines().find(|line| line.contains("\"listener\":\"inner\"")).unwrap();
    assert!(!inner.contains("\"tls\""), "{inner}");
}

#[tokio::test]
async fn what_is_refused_over_http_2_has_its_line_as_over_http_1() {
    let origin = small().await;
    let site = Site::with(origin.address, "").await;
    let url = format!("http://{}/", site.larder.address);
    let long = format!("{url}{}", "a".repeat(20_000));
    // More than 64 KiB as HTTP/2 counts, and less as curl does, which sends no larger one.
    let fields: Vec<_> =
        (100..200).map(|number| format!("x-{number}: {}", "a".repeat(620))).collect();
    let mut large: Vec<_> = fields.iter().flat_map(|field| ["-H", field]).collect();
    large.push(&url);
    for arguments in [vec![&*long], large, vec!["--request-target", "/a b", &url]] {
        let mut command = Command::new("curl");
        command.args(["-s", "--http2-prior-knowledge"]).args(&arguments);
        // The last is reset, which is an error to it.
        program::output(&mut command).await;
    }
    let lines = site.lines(3).await;
    let told: Vec<_> = lines.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!(told, [414, 431, 400], "{lines:?}");
    assert_eq!(origin.requests().len(), 0);
}
