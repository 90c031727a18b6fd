//! `larder top` in a real terminal (tmux), and its lines of JSON; what a shell is given beside the program.

use larder_test_support::eventually::within;

use crate::support::{
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
