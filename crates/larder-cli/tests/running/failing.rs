//! Upgrades that come to nothing: the process that serves goes on as if nothing had been.

use std::fs;

use rustix::process::{Signal, kill_process};

use crate::{
    site::{Site, is_there, service},
    support::{
        eventually,
        larder::request,
        origin::{Origin, ok},
    },
};

const FAILED: &str = "this process goes on: ";
const STARTED: &str = " is started, and takes over once it is ready";

/// That it serves, still has what it had, and says why nobody took over.
async fn goes_on(site: &Site, why: &str) {
    site.larder.told(&format!("{FAILED}{why}")).await;
    assert_eq!(site.larder.get("/").await.handling(), "hit");
    let ready = site.larder.get_from_admin("/readyz").await;
    assert_eq!(ready.status(), 200);
    assert!(ready.text().contains("the last upgrade failed"), "{}", ready.text());
}

#[tokio::test]
async fn whatever_is_wrong_with_the_new_one_the_old_one_goes_on() {
    let origin = service().await;
    let mut site = Site::with(&origin, "drain = \"1s\"\n").await;
    let mut kept = site.larder.connect().await;
    site.larder.get("/").await;
    let mut failed = 0;
    for (script, why) in [
        ("exit 3", "which was to take over, has ended (exit status: 3)"),
        ("kill -9 $$", "has ended (signal: 9 (SIGKILL))"),
        // It closes what it should talk over.
        ("exec 3>&- 4>&- 5>&-; exec sleep 60", "does not talk as it should, and was ended"),
    ] {
        site.replace_program(script);
        let before = site.count(FAILED);
        site.signal(Signal::USR2);
        site.told_again(FAILED, before).await;
        let pid = site.last_process(STARTED).unwrap();
        eventually("its end", async || (!is_there(pid)).then_some(())).await;
        site.larder.told(why).await;
        goes_on(&site, "process ").await;
        failed += 1;
    }
    let missing = "cannot be started: No such file or directory";
    fs::remove_file(site.path("larder")).unwrap();
    site.signal(Signal::USR2);
    site.larder.told(missing).await;
    failed += 1;
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_larder"), site.path("larder")).unwrap();
    // It checks its settings as it would at any start.
    let text = fs::read_to_string(site.path("larder.toml")).unwrap();
    fs::write(site.path("larder.toml"), format!("{text}wrong = 1\n")).unwrap();
    let before = site.count(FAILED);
    site.signal(Signal::USR2);
    site.told_again(FAILED, before).await;
    site.larder.told("there is no key \"wrong\"").await;
    goes_on(&site, "process ").await;
    failed += 1;
    assert_eq!(site.larder.metric("larder_gateway_upgrades_failed_total").await, f64::from(failed));
    kept.send("GET / HTTP/1.1\r\nhost: larder.test\r\n\r\n").await;
    let answer = kept.answer().await;
    assert_eq!((answer.status(), answer.field("connection")), (200, None), "its connections stay");
    // And once all is well, the next one comes to something.
    fs::write(site.path("larder.toml"), text).unwrap();
    let old = site.upgrade().await;
    site.gone(old).await;
    assert_eq!(site.larder.get("/").await.status(), 200);
    assert_eq!(site.larder.get_from_admin("/readyz").await.text(), "ready");
}

#[tokio::test]
async fn one_that_hangs_is_ended_when_its_time_is_over() {
    let origin = service().await;
    let site = Site::with(&origin, "upgrade_timeout = \"500ms\"\n").await;
    site.larder.get("/").await;
    site.replace_program("exec sleep 60");
    site.signal(Signal::USR2);
    site.larder.told("was not ready after 500ms, and was ended").await;
    let pid = site.last_process(STARTED).unwrap();
    eventually("its end", async || (!is_there(pid)).then_some(())).await;
    goes_on(&site, "process ").await;
}

#[tokio::test]
async fn while_one_is_started_there_is_no_other_and_all_else_goes_on() {
    let origin = service().await;
    let site = Site::with(&origin, "").await;
    site.larder.get("/").await;
    site.replace_program("exec sleep 60");
    site.signal(Signal::USR2);
    site.larder.told(STARTED).await;
    let new = site.last_process(STARTED).unwrap();
    site.signal(Signal::USR2);
    site.larder.told("SIGUSR2 changes nothing: a new process is started already").await;
    assert_eq!(site.count(STARTED), 1);
    site.signal(Signal::HUP);
    site.larder.told("the settings are those of").await;
    assert_eq!(site.larder.get("/").await.handling(), "hit");
    // Killed while it starts.
    kill_process(new, Signal::KILL).unwrap();
    site.larder.told("has ended (signal: 9 (SIGKILL))").await;
    goes_on(&site, "process ").await;
    // Told to stop while one is started: both do.
    site.signal(Signal::USR2);
    site.told_again(STARTED, 1).await;
    let new = site.last_process(STARTED).unwrap();
    site.signal(Signal::TERM);
    assert_eq!(site.larder.exit().await, Some(0));
    assert!(!is_there(new));
}

#[tokio::test]
async fn the_one_that_drains_starts_no_other() {
    let (go_on, script) = {
        let go_on = std::sync::Arc::new(tokio::sync::Notify::new());
        (std::sync::Arc::clone(&go_on), go_on)
    };
    let origin = Origin::playing(move |mut visit| {
        let go_on = std::sync::Arc::clone(&script);
        async move {
            while let Some(head) = visit.request().await {
                if head.starts_with("GET /slow") {
                    go_on.notified().await;
                }
                visit.send(ok("", "late")).await;
            }
        }
    })
    .await;
    let mut site = Site::with(&origin, "drain = \"60s\"\n").await;
    let mut slow = site.larder.connect().await;
    slow.send(request("GET", "/slow", "")).await;
    eventually("a request", async || origin.requests().first().map(|_| ())).await;
    let old = site.upgrade().await;
    kill_process(old, Signal::USR2).unwrap();
    site.larder.told("SIGUSR2 changes nothing: this process comes to its end").await;
    site.larder.told("another process has taken over: 1 connection has ").await;
    assert_eq!(site.larder.get("/").await.status(), 200);
    // Once more, while the first still drains.
    let second = site.upgrade().await;
    site.gone(second).await;
    assert_eq!(site.larder.get("/").await.status(), 200);
    go_on.notify_one();
    assert_eq!(slow.answer().await.text(), "late");
    site.gone(old).await;
}
