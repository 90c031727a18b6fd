//! Waiting: `larder purge --wait cdn` shows each tier as it goes on: in one place at a terminal, line by line elsewhere.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::{
    api::api,
    site::Site,
    support::{
        Wire, eventually,
        larder::run,
        origin::{Origin, ok},
        terminal::Terminal,
    },
};

/// A gateway before which there are two CDNs: one that takes what it is told, and one that does when it is up.
async fn site() -> (Site, Arc<AtomicBool>, [Origin; 3]) {
    site_with("").await
}

async fn site_with(more: &str) -> (Site, Arc<AtomicBool>, [Origin; 3]) {
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", "page")).await;
    site_before(origin, more).await
}

async fn site_before(origin: Origin, more: &str) -> (Site, Arc<AtomicBool>, [Origin; 3]) {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let near = api(|_, _| Some(ok("content-type: application/json\r\n", "{}"))).await;
    let far = api(move |_, _| {
        Some(match up.load(SeqCst) {
            true => ok("content-type: application/json\r\n", "{}"),
            false => b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".to_vec(),
        })
    })
    .await;
    let cdn = |name: &str, cdn: &Origin| {
        format!("[[cdn]]\nname = \"{name}\"\n[cdn.larder]\napi = \"http://{}\"\n", cdn.address)
    };
    let (near_table, far_table) = (cdn("near", &near), cdn("far", &far));
    let tables = format!("{near_table}{far_table}[outbox]\nsettle = \"0s\"\n{more}");
    (Site::before(origin.address, &tables).await, is_up, [origin, near, far])
}

/// In which rows of a screen these words stand.
fn rows(screen: &str, words: &str) -> Vec<usize> {
    let lines = screen.lines().enumerate();
    lines.filter(|(_, line)| line.contains(words)).map(|(nth, _)| nth).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_terminal_each_tier_has_a_line_that_changes_in_its_place() {
    let (site, is_up, _servers) = site().await;
    let admin = site.larder.admin().to_string();
    // So narrow that the lines would go on in the next row.
    let tag = "a-tag-whose-name-is-longer-than-a-row-of-the-screen-it-is-shown-on";
    let purge = ["purge", "--admin", &admin, "--tag", tag, "--wait", "cdn", "--timeout", "2m"];
    // Its exit code stays on the screen.
    let script = "\"$0\" \"$@\"; echo \"exit code $?\"; exec sleep 600";
    let shell = ["sh", "-c", script, env!("CARGO_BIN_EXE_larder")];
    let terminal = Terminal::of(40, 24, &[&shell[..], &purge].concat()).await;
    terminal.shows("near confirmed").await;
    let before = terminal.shows("far sent, reason: 503").await;
    // It is drawn again some times.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let screen = terminal.screen().await.unwrap();
    for words in ["purged tag", "  memory", "  cdn     near", "  cdn     far"] {
        assert_eq!(rows(&screen, words).len(), 1, "{words}\n{screen}");
        assert_eq!(rows(&screen, words), rows(&before, words), "{screen}");
    }
    assert!(rows(&screen, "exit code").is_empty(), "{screen}");
    is_up.store(true, SeqCst);
    let screen = terminal.shows("exit code 0").await;
    assert_eq!(rows(&screen, "purged tag").len(), 1, "{screen}");
    assert_eq!(rows(&screen, "far confirmed").len(), 1, "{screen}");
    assert!(rows(&screen, "503").is_empty(), "{screen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn elsewhere_there_is_a_line_when_a_tier_has_changed_and_programs_get_json_alone() {
    let (site, is_up, _servers) = site().await;
    let admin = site.larder.admin().to_string();
    let purge = ["purge", "--admin", &admin, "--tag", "a", "--wait", "cdn"];
    let (exit, ()) = tokio::join!(run(&purge), async {
        eventually("the far one to have refused it", async || {
            let purges = site.larder.get_from_admin("/v1/purges").await;
            purges.text().contains("503").then_some(())
        })
        .await;
        // So that it is said.
        tokio::time::sleep(Duration::from_secs(2)).await;
        is_up.store(true, SeqCst);
    });
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(!exit.log.contains('\u{1b}'), "{exit:?}");
    assert!(exit.log.contains("  cdn     far sent, reason: 503"), "{exit:?}");
    let lines: Vec<&str> = exit.log.lines().collect();
    assert!(lines.iter().filter(|line| line.contains("memory")).count() == 1, "{exit:?}");
    assert!(lines.windows(2).all(|two| two[0] != two[1]), "{exit:?}");
    assert!(exit.out.contains("  cdn     far confirmed"), "{exit:?}");
    is_up.store(false, SeqCst);
    let json = [&purge[..], &["--json", "--timeout", "1s"]].concat();
    let exit = run(&json).await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(!exit.log.contains("memory  "), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_hears_how_far_a_purge_is_at_each_cdn() {
    let (site, is_up, _servers) = site().await;
    let mut listener = site.larder.connect_to_admin().await;
    listener.send("GET /v1/events?only=purge HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    listener.head().await;
    let story = site.post(&serde_json::json!({ "tags": ["a"], "mode": "hard" })).await;
    let id = story["id"].as_str().unwrap();
    let heard = listener.until("\"state\":\"sent\"").await;
    assert!(heard.contains("event: purge") && heard.contains(id), "{heard}");
    is_up.store(true, SeqCst);
    let mut heard = String::new();
    while heard.matches("\"state\":\"confirmed\",\"queued\":0").count() < 2 {
        heard = listener.until("\n\n").await;
    }
    assert!(heard.contains(id), "{heard}");
}

const ALLOWED: &str = "[purge]\nallow = [\"127.0.0.1\"]\n";

/// As the admin API does it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_where_requests_come_is_waited_for_and_says_how_far_each_tier_is() {
    let (site, is_up, _servers) = site_with(ALLOWED).await;
    let mut wire = site.larder.connect().await;
    let mut purge = async |fields: &str| {
        let head = format!("PURGE /a HTTP/1.1\r\nhost: larder.test\r\n{fields}\r\n");
        wire.send(head).await;
        let answer = wire.answer().await;
        serde_json::from_str::<serde_json::Value>(answer.text()).unwrap()
    };
    let told = purge("").await;
    assert_eq!(told["tiers"]["memory"]["state"], "applied", "{told}");
    assert_ne!(told["tiers"]["cdn"][1]["state"], "confirmed", "{told}");
    is_up.store(true, SeqCst);
    let told = purge("prefer: wait=30\r\n").await;
    let states = [0, 1].map(|cdn| told["tiers"]["cdn"][cdn]["state"].clone());
    assert_eq!(states, ["confirmed", "confirmed"], "{told}");
    assert_eq!(site.story(told["id"].as_str().unwrap()).await["tiers"], told["tiers"]);
}

/// The answer to the request that has changed it is under way meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_may_purge_what_it_has_changed_and_wait_for_that_before_it_answers() {
    let larder = Arc::new(OnceLock::new());
    let known = Arc::clone(&larder);
    let origin = Origin::playing(move |mut visit| {
        let larder = Arc::clone(&known);
        async move {
            while let Some(head) = visit.request().await {
                assert!(head.starts_with("POST /save "), "{head}");
                let mut wire = Wire::connect(*larder.get().unwrap()).await;
                let purge = "PURGE /a HTTP/1.1\r\nhost: larder.test\r\nprefer: wait=20\r\n\r\n";
                wire.send(purge).await;
                visit.send(ok("", wire.answer().await.text())).await;
            }
        }
    })
    .await;
    let (site, is_up, _servers) = site_before(origin, ALLOWED).await;
    is_up.store(true, SeqCst);
    larder.set(site.larder.address).unwrap();
    let mut wire = site.larder.connect().await;
    wire.send("POST /save HTTP/1.1\r\nhost: larder.test\r\ncontent-length: 0\r\n\r\n").await;
    let answer = wire.answer().await;
    let told: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
    let states = [0, 1].map(|cdn| told["tiers"]["cdn"][cdn]["state"].clone());
    assert_eq!(states, ["confirmed", "confirmed"], "{told}");
}
