//! Sentinel: one that watches a server of Redis, and makes its replica the primary if it is gone.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{
    eventually::eventually,
    port::free_port,
    process::Process,
    redis::{Redis, program},
};

/// A running sentinel, which decides alone. Dropping it ends it.
#[derive(Debug)]
pub struct Sentinel {
    port: u16,
    // The process goes first.
    _process: Process,
    _folder: TempDir,
}

impl Sentinel {
    /// Starts one that watches `primary` by this name, and gives it up after this silence.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    pub async fn start(primary: &Redis, name: &str, silence: Duration) -> Sentinel {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        // It writes down there what it finds out.
        let file = folder.path().join("sentinel.conf");
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nprotected-mode no\n\
             sentinel monitor {name} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {name} {}\n\
             sentinel failover-timeout {name} 2000\n",
            folder.path().display(),
            primary.port(),
            silence.as_millis(),
        );
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new(program());
        command.arg(&file).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::start(&mut command);
        eventually("a sentinel to listen", async || {
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        Sentinel { port, _process: process, _folder: folder }
    }

    /// Where it is.
    pub fn port(&self) -> u16 {
        self.port
    }
}
