//! Haproxy: a balancer that others wrote, in the foreground and in a folder of its own.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{eventually::eventually, port::free_port, process::Process};

/// A running HAProxy (Debian's package of that name). Dropping it ends it and removes its folder.
#[derive(Debug)]
pub struct Haproxy {
    /// Where its frontend listens: a port of its own on the loopback.
    pub address: SocketAddr,
    // The process goes first.
    process: Process,
    _folder: TempDir,
}

impl Haproxy {
    /// Starts it with one frontend and one backend, and waits until it accepts connections. `bind` is what stands behind
    /// the address of its `bind`, and `frontend` and `backend` are more lines of both.
    ///
    /// # Panics
    ///
    /// Where there is no HAProxy, and where it does not like its settings.
    pub async fn start(bind: &str, frontend: &str, backend: &str) -> Haproxy {
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let configuration = format!(
            "global\n  log stderr format raw local0 warning\n\
             defaults\n  timeout connect 60s\n  timeout client 60s\n  timeout server 60s\n\
             frontend front\n  bind {address} {bind}\n{frontend}\n  default_backend back\n\
             backend back\n{backend}\n"
        );
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, configuration).unwrap();
        // Debian keeps it where a user's PATH does not lead.
        let kept = Path::new("/usr/sbin/haproxy");
        let program = if kept.exists() { kept } else { Path::new("haproxy") };
        let mut command = Command::new(program);
        // In the foreground, and as one process.
        command.arg("-db").arg("-f").arg(&file);
        let process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
        let mut haproxy = Haproxy { address, process, _folder: folder };
        haproxy.listens().await;
        haproxy
    }

    async fn listens(&mut self) {
        eventually("HAProxy to listen", async || {
            if let Some(status) = self.process.ended() {
                panic!("HAProxy ended with {status}: {}", self.process.log.all());
            }
            TcpStream::connect(self.address).await.ok()
        })
        .await;
    }
}
