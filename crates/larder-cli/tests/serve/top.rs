//! `larder top` in a real terminal (tmux), and its lines of JSON; what a shell is given beside the program.

use std::sync::atomic::{AtomicUsize, Ordering};

use larder_test_support::eventually::within;

use crate::support::{
    free_port,
    larder::{Larder, run},
    origin::{Origin, ok},
    terminal::{PATIENCE, Terminal},
};

#[tokio::test]
async fn a_screen_goes_on_with_what_a_gateway_does_until_a_key_ends_it() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let larder = Larder::before(origin.address).await;
    let admin = larder.admin().to_string();
    let arguments = ["top", "--admin", &admin, "--every", "200ms"];
    let terminal = Terminal::running(100, 30, &arguments).await;
    terminal.shows("requests a second").await;
    terminal.shows("all upstreams answer").await;
    for path in ["/a", "/b"] {
        larder.get(path).await;
    }
    terminal.shows(", 2 entries").await;
    let purged = larder.post_to_admin("/v1/purge", r#"{"tags":["post:1"]}"#).await;
    assert_eq!(purged.status(), 200);
    let screen = terminal.shows("tag post:1").await;
    assert!(screen.contains("(soft)"), "{screen}");
    terminal.press("p").await;
    terminal.shows("paused").await;
    terminal.press("q").await;
    within(PATIENCE, "its end", async || terminal.screen().await.is_none().then_some(())).await;
}

#[tokio::test]
async fn lines_of_json_are_for_programs_and_a_screen_is_for_terminals() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let larder = Larder::before(origin.address).await;
    let admin = larder.admin().to_string();
    let arguments = ["top", "--admin", &admin, "--json", "--every", "100ms", "--count", "2"];
    let exit = run(&arguments).await;
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    let lines: Vec<serde_json::Value> =
        exit.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line["requests_per_second"] == 0.0), "{lines:?}");
    assert!(lines[1]["seconds"].as_f64().unwrap() >= 0.1);
    let no_terminal = run(&["top", "--admin", &admin]).await;
    assert_eq!(no_terminal.code, Some(2));
    assert!(no_terminal.log.contains("say --json"), "{}", no_terminal.log);
    for every in ["99ms", "2h", "0s", "x"] {
        assert_eq!(
            run(&["top", "--admin", &admin, "--every", every]).await.code,
            Some(2),
            "{every}"
        );
    }
    drop(larder);
    let nobody = run(&["top", "--admin", &admin, "--json", "--count", "1"]).await;
    assert_eq!(nobody.code, Some(1), "{}", nobody.log);
}

#[tokio::test]
async fn a_screen_shows_routes_and_keys_at_any_size_and_whether_the_gateway_is_there() {
    let origin = Origin::answering(|head| {
        let is_me = head.contains(" /me ");
        ok(if is_me { "cache-control: no-store\r\n" } else { "cache-control: max-age=60\r\n" }, "a")
    })
    .await;
    let (folder, admin) = (tempfile::tempdir().unwrap(), free_port());
    let text = format!(
        "[server]\nlisten = 0\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
         [upstream.app]\nurl = \"http://{}\"\n\
         [[route]]\npath = \"/posts/{{id}}\"\n[[route]]\npath = \"/me\"\n",
        origin.address
    );
    std::fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let admin = format!("127.0.0.1:{admin}");
    // So seldom that all of it lies between two looks.
    let arguments = ["top", "--admin", &admin, "--every", "3s"];
    let terminal = Terminal::running(120, 34, &arguments).await;
    terminal.shows("routes by requests").await;
    let mut wire = larder.connect().await;
    for path in ["/posts/1", "/posts/1", "/posts/1", "/posts/1", "/me"] {
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: larder.test\r\n\r\n")).await;
        assert_eq!(wire.answer().await.status(), 200);
    }
    let screen = terminal.shows("slowest to fetch").await;
    assert!(screen.contains("http://larder.test/posts/1"), "{screen}");
    let row = |screen: &str, route: &str| {
        screen.lines().find(|line| line.trim_end().ends_with(route)).unwrap_or_default().to_owned()
    };
    assert!(row(&screen, "/me").contains("0.0 %"), "{screen}");
    assert!(row(&screen, "/posts/{id}").contains(" %"), "{screen}");
    assert!(screen.contains("shared a fetch") && screen.contains("fail/s"), "{screen}");
    for order in ["routes by time at the service", "routes by memory", "routes by requests"] {
        terminal.press("o").await;
        terminal.shows(order).await;
    }
    terminal.resize(60, 20).await;
    let small = terminal.shows("q ends").await;
    assert!(small.lines().all(|line| line.chars().count() <= 60), "{small}");
    terminal.resize(120, 34).await;
    drop(larder);
    terminal.shows("no answer for").await;
    let _larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    terminal.shows("all upstreams answer").await;
    terminal.press("q").await;
    within(PATIENCE, "its end", async || terminal.screen().await.is_none().then_some(())).await;
}

/// An admin API that tells its counters at these looks alone.
async fn telling_at(looks: std::ops::Range<usize>) -> Origin {
    let asked = AtomicUsize::new(0);
    Origin::answering(move |head| {
        if !head.contains(" /v1/stats ") {
            return b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}".to_vec();
        }
        match looks.contains(&asked.fetch_add(1, Ordering::SeqCst)) {
            true => ok("", r#"{"uptime_seconds":1,"caches":[]}"#),
            false => b"HTTP/1.1 503 Busy\r\ncontent-length: 2\r\n\r\n{}".to_vec(),
        }
    })
    .await
}

#[tokio::test]
async fn as_many_looks_as_were_said_are_all_whatever_comes_of_them() {
    for (looks, lines, code) in [(0..2, 1, 1), (0..9, 3, 0), (1..9, 0, 1)] {
        let telling = telling_at(looks.clone()).await;
        let admin = telling.address.to_string();
        let arguments = ["top", "--admin", &admin, "--json", "--every", "100ms", "--count", "3"];
        let exit = run(&arguments).await;
        let told = (exit.out.lines().count(), exit.code);
        assert_eq!(told, (lines, Some(code)), "{looks:?}: {}", exit.log);
    }
}

#[tokio::test]
async fn a_package_has_completions_and_manual_pages() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]).await;
        assert_eq!(script.code, Some(0), "{}", script.log);
        for word in ["serve", "purge", "token-file"] {
            assert!(script.out.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(run(&["completions", "tcsh"]).await.code, Some(2));
    let page = run(&["man"]).await;
    assert!(page.out.contains(".TH larder 1"), "{}", page.out);
    let folder = tempfile::tempdir().unwrap();
    let written = run(&["man", folder.path().to_str().unwrap()]).await;
    assert_eq!((written.code, written.out.as_str()), (Some(0), ""), "{}", written.log);
    for page in ["larder.1", "larder-serve.1", "larder-top.1"] {
        assert!(folder.path().join(page).exists(), "{page}");
    }
    let nowhere = run(&["man", "/dev/null/x"]).await;
    assert_eq!(nowhere.code, Some(1));
    let version = run(&["version", "--json"]).await;
    let version: serde_json::Value = serde_json::from_str(&version.out).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
}
