//! Notify: what a supervisor is told, and when.

use std::{path::Path, time::Duration};

use rustix::process::Signal;
use tokio::{net::UnixDatagram, time::timeout};

use crate::{
    site::{Site, service},
    support::eventually,
};

/// A supervisor, as far as it listens.
struct Ear {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Ear {
    fn at(path: &Path) -> Ear {
        Ear { socket: UnixDatagram::bind(path).unwrap(), heard: Vec::new() }
    }

    /// Hears on until something has all of these lines.
    async fn until(&mut self, lines: &[&str]) -> String {
        let mut bytes = vec![0; 64 << 10];
        let mut heard = Vec::new();
        let hearing = async {
            loop {
                let length = self.socket.recv(&mut bytes).await.unwrap();
                let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
                self.heard.push(text.clone());
                heard.push(text.clone());
                if lines.iter().all(|line| text.lines().any(|said| said.starts_with(line))) {
                    return text;
                }
            }
        };
        let found = timeout(Duration::from_secs(30), hearing).await;
        found.unwrap_or_else(|_| panic!("{lines:?} in vain, but {heard:?}"))
    }
}

#[tokio::test]
async fn a_supervisor_hears_of_each_turn_in_its_order() {
    let origin = service().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut ear = Ear::at(&path);
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "100000")];
    let site = Site::with_variables(&origin, "drain_delay = \"60s\"\n", &variables).await;
    let ready = ear.until(&["READY=1", "STATUS="]).await;
    assert!(ready.contains(&format!("STATUS=serves at {}", site.address)), "{ready}");
    assert!(ear.heard.iter().all(|said| !said.contains("WATCHDOG")), "before it was ready");
    for _ in 0..3 {
        ear.until(&["WATCHDOG=1"]).await;
    }
    site.signal(Signal::HUP);
    ear.until(&["RELOADING=1", "MONOTONIC_USEC="]).await;
    ear.until(&["READY=1", "STATUS=serves at"]).await;
    std::fs::write(site.path("larder.toml"), "[").unwrap();
    site.signal(Signal::HUP);
    ear.until(&["RELOADING=1"]).await;
    ear.until(&["READY=1", "STATUS=the file of settings is refused"]).await;
    site.signal(Signal::TERM);
    ear.until(&["STOPPING=1", "EXTEND_TIMEOUT_USEC="]).await;
    // While it waits, it is watched.
    ear.until(&["WATCHDOG=1"]).await;
    site.signal(Signal::TERM);
    assert_eq!(site.larder.exit().await, Some(1));
}

#[tokio::test]
async fn who_goes_on_is_told_by_the_one_that_counts_until_then() {
    let origin = service().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut ear = Ear::at(&path);
    let variables = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "100000"),
        // As systemd says of the process that it has started itself.
        ("SYSTEMD_EXEC_PID", "1"),
    ];
    let mut site = Site::with_variables(&origin, "drain = \"1s\"\n", &variables).await;
    ear.until(&["READY=1"]).await;
    for _ in 0..2 {
        let old = site.upgrade().await;
        let told = ear.until(&["MAINPID="]).await;
        let new = site.pid().as_raw_nonzero();
        assert!(told.starts_with(&format!("MAINPID={new}\n")), "{told}");
        ear.until(&["READY=1", "STATUS=serves at"]).await;
        ear.until(&["WATCHDOG=1"]).await;
        site.gone(old).await;
        assert!(!ear.heard.iter().any(|said| said.contains("STOPPING")), "{:?}", ear.heard);
    }
}

#[tokio::test]
async fn a_supervisor_that_is_not_there_or_does_not_listen_holds_nothing_up() {
    let origin = service().await;
    let folder = tempfile::tempdir().unwrap();
    let deaf = folder.path().join("deaf");
    let socket = std::os::unix::net::UnixDatagram::bind(&deaf).unwrap();
    // Full: the next message to it would wait for ever.
    let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send_to(b"x", &deaf).is_ok() {}
    for (path, words) in [
        (deaf.to_str().unwrap(), "the supervisor takes nothing"),
        ("/no/such/socket", "the supervisor cannot be told anything"),
    ] {
        let site = Site::with_variables(&origin, "", &[("NOTIFY_SOCKET", path)]).await;
        assert_eq!(site.larder.get("/").await.status(), 200);
        site.larder.told(words).await;
        site.signal(Signal::TERM);
        assert_eq!(site.larder.exit().await, Some(0));
    }
    drop(socket);
}

#[tokio::test]
async fn where_the_supervisor_would_take_an_upgrade_for_the_end_there_is_none() {
    let origin = service().await;
    let folder = tempfile::tempdir().unwrap();
    let text = crate::site::file(origin.address, "127.0.0.1:0".parse().unwrap(), "");
    std::fs::write(folder.path().join("larder.toml"), text).unwrap();
    let script = "SYSTEMD_EXEC_PID=$$ exec \"$0\" serve";
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_larder")]).env_clear();
    command.current_dir(folder.path());
    let larder = crate::support::larder::Larder::by(&mut command).await;
    larder.signal(Signal::USR2);
    larder
        .told("this process goes on: systemd takes the end of this process for that of the service")
        .await;
    eventually("a note", async || {
        let ready = larder.get_from_admin("/readyz").await;
        ready.text().contains("the last upgrade failed").then_some(())
    })
    .await;
    assert_eq!(larder.get("/").await.status(), 200);
}
