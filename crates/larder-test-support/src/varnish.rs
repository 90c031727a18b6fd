//! Varnish: a cache that others wrote, in the foreground and in a folder of its own.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{eventually::eventually, port::free_port, process::Process};

/// A running varnishd (Debian's package of that name). Dropping it ends it and removes its folder.
#[derive(Debug)]
pub struct Varnish {
    /// Where it listens: a port of its own on the loopback.
    pub address: SocketAddr,
    // The process goes first.
    process: Process,
    _folder: TempDir,
}

impl Varnish {
    /// Starts it with this VCL and 16 MiB, and waits until it accepts connections.
    ///
    /// # Panics
    ///
    /// Where there is no Varnish, and where it does not like its VCL.
    pub async fn start(vcl: &str) -> Varnish {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("default.vcl");
        std::fs::write(&file, vcl).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        // Debian keeps it where a user's PATH does not lead.
        let kept = Path::new("/usr/sbin/varnishd");
        let mut command = Command::new(if kept.exists() { kept } else { Path::new("varnishd") });
        command.args(["-F", "-j", "none", "-a", &address.to_string(), "-s", "malloc,16m", "-n"]);
        command.arg(folder.path().join("work")).arg("-f").arg(&file);
        let process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
        let mut varnish = Varnish { address, process, _folder: folder };
        varnish.listens().await;
        varnish
    }

    async fn listens(&mut self) {
        eventually("varnishd to listen", async || {
            if let Some(status) = self.process.ended() {
                panic!("varnishd ended with {status}: {}", self.process.log.all());
            }
            TcpStream::connect(self.address).await.ok()
        })
        .await;
    }
}
