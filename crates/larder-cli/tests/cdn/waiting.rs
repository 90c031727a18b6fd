//! Waiting: `larder purge --wait cdn` shows each tier as it goes on: in one place at a terminal, line by line elsewhere.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::{
    api::api,
    site::Site,
    support::{
        eventually,
        larder::run,
        origin::{Origin, ok},
        terminal::Terminal,
    },
};

/// A gateway before which there are two CDNs: one that takes what it is told, and one that does when it is up.
async fn site() -> (Site, Arc<AtomicBool>, [Origin; 3]) {
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", "page")).await;
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
    let tables = format!("{}{}[outbox]\nsettle = \"0s\"\n", cdn("near", &near), cdn("far", &far));
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
