//! Nginx: a server that others wrote, in the foreground and in a folder of its own.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{eventually::eventually, port::free_port, process::Process};

/// A running nginx (Debian's package of that name). Dropping it ends it and removes its folder.
#[derive(Debug)]
pub struct Nginx {
    /// Where it listens: a port of its own on the loopback.
    pub address: SocketAddr,
    // The process goes first.
    process: Process,
    folder: TempDir,
}

impl Nginx {
    /// Starts it with one server, and waits until it accepts connections. `settings` are of the `http`
    /// block, and `server` of the one in it; relative paths in both begin in its folder.
    ///
    /// # Panics
    ///
    /// Where there is no nginx, and where it does not like its settings.
    pub async fn start(settings: &str, server: &str) -> Nginx {
        Nginx::start_at(new_address(), settings, server).await
    }

    /// As [`start`](Nginx::start), with `main` outside the `http` block: modules, say.
    ///
    /// # Panics
    ///
    /// As [`start`](Nginx::start).
    pub async fn start_with(main: &str, settings: &str, server: &str) -> Nginx {
        let main = format!("master_process off; {main}");
        Nginx::run(&main, new_address(), settings, server).await
    }

    /// As [`start`](Nginx::start), so that it can be [reloaded](Nginx::reload).
    ///
    /// # Panics
    ///
    /// As [`start`](Nginx::start).
    pub async fn start_reloadable(settings: &str, server: &str) -> Nginx {
        // As root it would give its worker to a user who cannot read the folder.
        let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
        let process = format!("worker_processes 1; {user}");
        Nginx::run(&process, new_address(), settings, server).await
    }

    /// Has it begin anew with new workers. The old ones answer what they have, and close their connections in order.
    pub fn reload(&self) {
        self.process.signal(rustix::process::Signal::HUP);
    }

    /// As [`start`](Nginx::start), where another one was before.
    ///
    /// # Panics
    ///
    /// As that does, and where the port is taken.
    pub async fn start_at(address: SocketAddr, settings: &str, server: &str) -> Nginx {
        Nginx::run("master_process off;", address, settings, server).await
    }

    async fn run(process: &str, address: SocketAddr, settings: &str, server: &str) -> Nginx {
        let folder = tempfile::tempdir().unwrap();
        let configuration = format!(
            "daemon off; {process} pid pid; error_log stderr;
             events {{ worker_connections 256; }}
             http {{
                 client_body_temp_path 1; proxy_temp_path 2; fastcgi_temp_path 3;
                 uwsgi_temp_path 4; scgi_temp_path 5;
                 {settings}
                 server {{ listen {address}; {server} }}
             }}"
        );
        std::fs::write(folder.path().join("conf"), configuration).unwrap();
        // Debian keeps it where a user's PATH does not lead.
        let kept = Path::new("/usr/sbin/nginx");
        let program = if kept.exists() { kept } else { Path::new("nginx") };
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path()).args(["-c", "conf", "-e", "stderr"]);
        let process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
        let mut nginx = Nginx { address, process, folder };
        nginx.listens().await;
        nginx
    }

    async fn listens(&mut self) {
        eventually("nginx to listen", async || {
            if let Some(status) = self.process.ended() {
                panic!("nginx ended with {status}: {}", self.process.log.all());
            }
            TcpStream::connect(self.address).await.ok()
        })
        .await;
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// Where it has ended.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it without giving it time for anything, and waits until it is gone.
    ///
    /// # Panics
    ///
    /// Where it has ended.
    pub async fn kill(mut self) {
        self.signal(Signal::KILL);
        eventually("nginx to be gone", async || self.process.ended()).await;
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn new_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}
