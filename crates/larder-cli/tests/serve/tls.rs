//! TLS as readers see it: which certificate is shown to whom, what comes of new ones, and who is refused.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{
    Certificate, Wire,
    answer::status,
    eventually,
    larder::Larder,
    origin::{Origin, ok},
    program::{self, curl},
};

/// A gateway with the certificates of these names, the first one first.
struct Site {
    folder: TempDir,
    certificates: Vec<Certificate>,
    larder: Larder,
    _origin: Origin,
}

impl Site {
    async fn with(names: &[&[&str]], more: &str) -> Site {
        let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
        let folder = tempfile::tempdir().unwrap();
        let certificates: Vec<_> =
            names.iter().map(|names| Certificate::for_names(names)).collect();
        let mut text = format!(
            "[admin]\nlisten = 0\n[upstream.app]\nurl = \"http://{}\"\n[server]\nlisten = 0\n",
            origin.address
        );
        for (index, certificate) in certificates.iter().enumerate() {
            for (kind, from) in [("cert", certificate.file()), ("key", certificate.key())] {
                fs::copy(from, folder.path().join(format!("{kind}{index}.pem"))).unwrap();
            }
            let table = match index {
                0 => format!("[server.tls]\n{more}"),
                _ => "[[server.tls.more]]\n".to_owned(),
            };
            text +=
                &format!("{table}certificate = \"cert{index}.pem\"\nkey = \"key{index}.pem\"\n");
        }
        fs::write(folder.path().join("larder.toml"), text).unwrap();
        let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
        Site { folder, certificates, larder, _origin: origin }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn address(&self) -> SocketAddr {
        self.larder.address
    }

    /// What curl gets of `host`, whose certificate it has to be shown; `arguments` are more of it.
    async fn ask(&self, certificate: &Certificate, host: &str, arguments: &[&str]) -> String {
        let port = self.address().port();
        let resolve = format!("{host}:{port}:127.0.0.1");
        let (url, file) = (format!("https://{host}:{port}/"), certificate.file());
        let usual = ["--cacert", file.to_str().unwrap(), "--resolve", &resolve];
        curl(&[&usual[..], arguments, &[&url]].concat()).await
    }

    /// What `openssl s_client` says of a connection.
    async fn shake(&self, arguments: &[&str]) -> String {
        let address = self.address().to_string();
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address]).args(arguments);
        let output = program::output(&mut command).await;
        [output.stdout, output.stderr]
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .concat()
    }
}

#[tokio::test]
async fn each_name_is_shown_its_own_certificate_with_either_protocol() {
    let names: [&[&str]; 3] =
        [&["one.example"], &["*.two.example", "two.example"], &["special.two.example"]];
    let site = Site::with(&names, "").await;
    let [one, two, special] = &site.certificates[..] else { panic!() };
    for protocol in ["--http1.1", "--http2"] {
        for (certificate, host) in [
            (one, "one.example"),
            (two, "two.example"),
            (two, "a.two.example"),
            (special, "special.two.example"),
        ] {
            assert_eq!(site.ask(certificate, host, &[protocol]).await, "a", "{host}");
        }
    }
    // One label is what a star stands for, and who names nothing is shown the first.
    for arguments in [
        &["-servername", "a.b.two.example"][..],
        &["-servername", "other.example"],
        &["-noservername"],
    ] {
        let said = site
            .shake(
                &[arguments, &["-verify_return_error", "-CAfile", one.file().to_str().unwrap()]]
                    .concat(),
            )
            .await;
        assert!(said.contains("Verify return code: 0 (ok)"), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn a_name_that_no_certificate_is_for_is_refused_where_that_is_said() {
    let site = Site::with(&[&["one.example"]], "unknown_names = \"refuse\"\n").await;
    let one = &site.certificates[0];
    assert_eq!(site.ask(one, "one.example", &[]).await, "a");
    let said = site.shake(&["-servername", "other.example"]).await;
    assert!(said.contains("no peer certificate available"), "{said}");
    assert!(site.shake(&["-noservername"]).await.contains("BEGIN CERTIFICATE"));
    let failed = "larder_tls_handshakes_total{outcome=\"failed\"}";
    assert_eq!(site.larder.metric(failed).await, 1.0);
    // Nor is a connection for one of its names a way to ask for another.
    let written = ["--write-out", " %{http_code}", "--output", "/dev/null", "--header"];
    for (host, code) in [("host: one.example.", " 200"), ("host: other.example", " 421")] {
        let arguments = [&written[..], &[host]].concat();
        assert_eq!(site.ask(one, "one.example", &arguments).await, code, "{host}");
    }
}

#[tokio::test]
async fn a_host_behind_another_certificate_is_misdirected() {
    let names: [&[&str]; 2] = [&["one.example", "www.one.example"], &["two.example"]];
    let site = Site::with(&names, "").await;
    let one = &site.certificates[0];
    let written = ["--write-out", " %{http_code}", "--output", "/dev/null"];
    for protocol in ["--http1.1", "--http2"] {
        for (host, code) in [
            ("one.example", " 200"),
            ("ONE.example", " 200"),
            // Shown the same certificate, a browser may use one connection for both.
            ("www.one.example", " 200"),
            ("two.example", " 421"),
            // Who asks for it by name is shown the first one.
            ("other.example", " 200"),
        ] {
            let field = format!("host: {host}");
            // Twice, so that a hit is looked at as a miss is.
            for _ in 0..2 {
                let arguments = [&written[..], &["--header", &field, protocol]].concat();
                assert_eq!(
                    site.ask(one, "one.example", &arguments).await,
                    code,
                    "{host} {protocol}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_oldest_version_is_the_one_that_is_said() {
    for (more, old) in [("", true), ("min_version = \"1.3\"\n", false)] {
        let site = Site::with(&[&["one.example"]], more).await;
        for (version, is_spoken) in [("-tls1_2", old), ("-tls1_3", true)] {
            let said = site.shake(&[version]).await;
            assert_eq!(said.contains("BEGIN CERTIFICATE"), is_spoken, "{version}: {said}");
        }
    }
}

#[tokio::test]
async fn a_session_is_resumed_though_the_certificate_has_changed_between() {
    let site = Site::with(&[&["one.example"]], "").await;
    let session = site.file("session");
    let session = session.to_str().unwrap();
    let said = site.shake(&["-tls1_2", "-servername", "one.example", "-sess_out", session]).await;
    assert!(said.contains("New, TLSv1.2"), "{said}");
    replace(&site, &Certificate::for_names(&["one.example"]));
    site.larder.signal(Signal::HUP);
    site.larder.told("the settings are those of").await;
    let said = site.shake(&["-tls1_2", "-servername", "one.example", "-sess_in", session]).await;
    assert!(said.contains("Reused, TLSv1.2"), "{said}");
}

/// As `certbot` does: a new file takes the place of the old one.
fn replace(site: &Site, certificate: &Certificate) {
    for (from, to) in [(certificate.file(), "cert0.pem"), (certificate.key(), "key0.pem")] {
        let new = site.file("new");
        fs::copy(from, &new).unwrap();
        fs::rename(new, site.file(to)).unwrap();
    }
}

#[tokio::test]
async fn new_certificates_are_shown_within_seconds_and_no_request_fails() {
    let site = Site::with(&[&["localhost"]], "").await;
    let (is_over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let url = site.larder.url("/");
    let read = async |protocol: &str| {
        while !is_over.load(Ordering::Relaxed) {
            // A handshake each time.
            assert_eq!(curl(&["--insecure", protocol, &url]).await, "a");
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let change = async {
        change_certificates(&site, &answered).await;
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(read("--http1.1"), read("--http2"), change);
}

/// While others read.
async fn change_certificates(site: &Site, answered: &AtomicU64) {
    let expires = async |site: &Site| {
        site.larder
            .metric("larder_tls_certificate_expires_timestamp_seconds{certificate=\"server\"}")
            .await
    };
    let before = expires(site).await;
    let new = Certificate::for_names(&["localhost"]);
    // Half of it is there: the one before stays, and that is told.
    fs::copy(new.key(), site.file("key0.pem")).unwrap();
    site.larder.told("stay as they are, what their files hold now is refused").await;
    assert_eq!(site.ask(&site.certificates[0], "localhost", &[]).await, "a");
    let refused = "larder_tls_certificate_reloads_total{outcome=\"refused\"}";
    assert_eq!(site.larder.metric(refused).await, 1.0);
    // The other half.
    fs::copy(new.file(), site.file("cert0.pem")).unwrap();
    site.larder.told("were read again, and are in use").await;
    assert_eq!(site.ask(&new, "localhost", &[]).await, "a");
    // At once, where it is told to, and together with the rest of the file.
    let ended = Certificate::ended(&["localhost"]);
    let so_far = answered.load(Ordering::Relaxed);
    replace(site, &ended);
    site.larder.signal(Signal::HUP);
    site.larder.told("has ended, at 1975-01-01T00:00:00Z: renew it").await;
    assert!(expires(site).await < before);
    let goes_on = async || (answered.load(Ordering::Relaxed) > so_far + 2).then_some(());
    eventually("further answers", goes_on).await;
}

#[tokio::test]
async fn half_handshakes_keep_nobody_out() {
    let site = Site::with(&[&["localhost"]], "max_handshakes = 4\n").await;
    let mut halves = Vec::new();
    for number in 0..12 {
        let mut wire = Wire::connect(site.address()).await;
        // Nothing at all, and the first bytes of a hello.
        wire.send(if number % 2 == 0 { &b""[..] } else { b"\x16\x03\x01\x02\x00\x01\x00" }).await;
        halves.push(wire);
    }
    for protocol in ["--http1.1", "--http2"] {
        assert_eq!(site.ask(&site.certificates[0], "localhost", &[protocol]).await, "a");
    }
    let given_up = "larder_tls_handshakes_total{outcome=\"given_up\"}";
    assert!(site.larder.metric(given_up).await >= 4.0);
}

#[tokio::test]
async fn a_reader_that_forgot_the_s_of_https_is_told() {
    let site = Site::with(&[&["localhost"]], "").await;
    let url = format!("http://{}/", site.address());
    let said = curl(&["--include", &url]).await;
    assert_eq!(status(&said), 400, "{said}");
    assert!(
        said.contains("content-type: text/plain") && said.contains("ask with https:// here"),
        "{said}"
    );
}

#[tokio::test]
async fn h2load_gets_all_it_asks_for() {
    let site = Site::with(&[&["localhost"], &["other.example"]], "").await;
    let url = format!("https://localhost:{}/", site.address().port());
    let mut command = Command::new("h2load");
    command.args(["-n", "2000", "-c", "10", "-m", "10", &url]);
    let said = String::from_utf8(program::run(&mut command).await.stdout).unwrap();
    assert!(said.contains("2000 succeeded, 0 failed"), "{said}");
}
