//! The admin API with tokens, and beyond this machine.

use std::{fs, path::Path};

use rustix::process::Signal;

use crate::support::{
    Certificate, Wire,
    answer::Answer,
    eventually,
    larder::{Larder, run, run_with},
    origin::{Origin, ok},
    program::curl,
};

const ADMIN: &str = "read_token_file = \"read\"\nwrite_token_file = \"write\"\n";

async fn started(folder: &Path, origin: &Origin, admin: &str) -> Larder {
    fs::write(folder.join("read"), "may read\n").unwrap();
    fs::write(folder.join("write"), "may write\n").unwrap();
    let text = format!(
        "[server]\nlisten = 0\n[admin]\n{admin}\n[upstream.app]\nurl = \"http://{}\"\n",
        origin.address
    );
    fs::write(folder.join("larder.toml"), text).unwrap();
    Larder::in_folder(folder, &["serve"], &[]).await
}

async fn asked(larder: &Larder, method: &str, path: &str, token: Option<&str>) -> Answer {
    let mut wire = Wire::connect(larder.admin()).await;
    let token = token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
    wire.send(format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: 12\r\n{token}\r\n{{\"all\":true}}"
    ))
    .await;
    wire.answer().await
}

#[tokio::test]
async fn tokens_hold_on_this_machine_as_well() {
    let (origin, folder) = (Origin::saying(ok("", "a")).await, tempfile::tempdir().unwrap());
    let larder = started(folder.path(), &origin, &format!("listen = 0\n{ADMIN}")).await;
    let (read, write) = (Some("may read"), Some("may write"));
    for (method, path, token, status) in [
        ("GET", "/livez", None, 200),
        ("GET", "/readyz", None, 200),
        ("GET", "/metrics", None, 401),
        ("GET", "/metrics", read, 200),
        ("GET", "/v1/stats", read, 200),
        ("GET", "/v1/stats", write, 200),
        ("GET", "/", None, 200),
        ("GET", "/page.js", None, 200),
        ("POST", "/v1/purge", None, 401),
        ("POST", "/v1/purge", read, 401),
        ("POST", "/v1/purge", write, 200),
    ] {
        let answer = asked(&larder, method, path, token).await;
        assert_eq!(answer.status(), status, "{method} {path} {token:?} {}", answer.text());
    }
    let refused = asked(&larder, "GET", "/metrics", None).await;
    assert_eq!(refused.field("content-type"), Some("application/problem+json"));
    assert!(refused.field("www-authenticate").unwrap().starts_with("Bearer"), "{}", refused.head);
    let metrics = asked(&larder, "GET", "/metrics", read).await;
    assert!(
        metrics.text().contains("larder_admin_refused_total{reason=\"no_token\"} 3"),
        "{}",
        metrics.text()
    );
    // The commands show theirs.
    let admin = larder.admin().to_string();
    let file = folder.path().join("write");
    let exit =
        run(&["purge", "--all", "--admin", &admin, "--token-file", file.to_str().unwrap()]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    let exit =
        run_with(&["stats"], &[("LARDER_ADMIN", &admin), ("LARDER_ADMIN_TOKEN", "may read")]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    let exit = run(&["purge", "--all", "--admin", &admin]).await;
    assert_eq!(exit.code, Some(1), "{}", exit.log);
    assert!(exit.log.contains("wants a token: say --token-file"), "{}", exit.log);
    assert_eq!(run(&["health", "--admin", &admin]).await.code, Some(0));
    // Whoever guesses on is not listened to any more, and is no obstacle to supervisors.
    for _ in 0..10 {
        asked(&larder, "POST", "/v1/purge", Some("guess")).await;
    }
    let limited = asked(&larder, "POST", "/v1/purge", write).await;
    assert_eq!(limited.status(), 429);
    assert!(limited.field("retry-after").is_some(), "{}", limited.head);
    assert_eq!(asked(&larder, "GET", "/readyz", None).await.status(), 200);
    assert!(!larder.log().contains("may write"), "{}", larder.log());
}

#[tokio::test]
async fn beyond_loopback_it_answers_by_its_names_over_tls() {
    let (origin, folder) = (Origin::saying(ok("", "a")).await, tempfile::tempdir().unwrap());
    let certificate = Certificate::for_names(&["larder.internal"]);
    let [file, key] = [certificate.file(), certificate.key()];
    let admin = format!(
        "listen = \"0.0.0.0:0\"\nallowed_hosts = [\"larder.internal\"]\n{ADMIN}\
         [admin.tls]\ncertificate = {file:?}\nkey = {key:?}"
    );
    let larder = started(folder.path(), &origin, &admin).await;
    let port = larder.admin().port();
    let [ours, other] = ["larder.internal", "rebound.example"];
    let status = async |host: &str, token: &str| {
        let connect = format!("::127.0.0.1:{port}");
        let token = format!("authorization: Bearer {token}");
        let url = format!("https://{host}:{port}/v1/stats");
        curl(&[
            "--insecure",
            "--connect-to",
            &connect,
            "--header",
            &token,
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
            &url,
        ])
        .await
    };
    assert_eq!(status(ours, "may read").await, "200");
    assert_eq!(status(ours, "wrong").await, "401");
    assert_eq!(status(other, "may read").await, "403");
}

#[tokio::test]
async fn the_page_opens_without_a_token_tells_nothing_and_asks_for_one() {
    let (origin, folder) = (Origin::saying(ok("", "a")).await, tempfile::tempdir().unwrap());
    let larder = started(folder.path(), &origin, &format!("listen = 0\n{ADMIN}")).await;
    let page = asked(&larder, "GET", "/", None).await;
    // The console asks by its script; the page that stands there where it was not built has a form.
    let asks = ["<input type=\"password\"", "<title>Larder console</title>"];
    assert!(asks.iter().any(|asks| page.text().contains(asks)), "{}", page.text());
    assert!(!page.text().contains("gateway"), "{}", page.text());
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self'"), "{policy}");
    assert!(policy.contains("form-action 'none'"), "{policy}");
    let script = asked(&larder, "GET", "/page.js", None).await;
    assert_eq!(script.field("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(asked(&larder, "POST", "/", None).await.status(), 405);
}

#[tokio::test]
async fn tokens_are_read_again_at_a_reload_and_are_not_taken_from_who_can_be_reached() {
    let (origin, folder) = (Origin::saying(ok("", "a")).await, tempfile::tempdir().unwrap());
    let listen = "listen = \"0.0.0.0:0\"\ninsecure = true\n";
    let larder = started(folder.path(), &origin, &format!("{listen}{ADMIN}")).await;
    let status = async |token| asked(&larder, "GET", "/v1/stats", token).await.status();
    assert_eq!(status(Some("may read")).await, 200);
    let reload = async |count: usize| {
        larder.signal(Signal::HUP);
        eventually("a reload", async || {
            let metrics = asked(&larder, "GET", "/metrics", Some("may write")).await;
            metrics.text().contains(&format!("{RELOADS} {count}")).then_some(())
        })
        .await;
    };
    fs::write(folder.path().join("read"), "reads now\n").unwrap();
    reload(1).await;
    assert_eq!(status(Some("may read")).await, 401);
    assert_eq!(status(Some("reads now")).await, 200);
    assert_eq!(status(Some("may write")).await, 200);
    // On this machine alone it would do without. But where it listens changes only with a restart.
    let text = format!(
        "[server]\nlisten = 0\n[admin]\nlisten = 0\n[upstream.app]\nurl = \"http://{}\"\n",
        origin.address
    );
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    reload(2).await;
    assert_eq!(status(None).await, 401);
    assert_eq!(status(Some("reads now")).await, 200);
    assert!(larder.log().contains("stay as they are"), "{}", larder.log());
}

const RELOADS: &str = "larder_config_reloads_total{outcome=\"applied\"}";
