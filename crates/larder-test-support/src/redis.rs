//! Redis: a server of its own for a test, in a folder of its own.

use std::{
    env, ffi::OsString, io, net::SocketAddr, path::Path, process::Command, process::Stdio,
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{eventually::eventually, port::free_port, process::Process, wire::Wire};

/// A server on a port of this machine that lasts over its restarts. Dropping it ends the server.
#[derive(Debug)]
pub struct Redis {
    /// `None` while it is down.
    process: Option<Process>,
    port: u16,
    folder: TempDir,
    options: Vec<String>,
}

impl Redis {
    /// A server that keeps nothing on disk.
    ///
    /// # Panics
    ///
    /// Where there is no such program, and where it does not answer.
    pub async fn start() -> Redis {
        Redis::start_with(&["--save", "", "--appendonly", "no"]).await
    }

    /// A server with these options after its own.
    ///
    /// # Panics
    ///
    /// As [`start`](Redis::start).
    pub async fn start_with(options: &[&str]) -> Redis {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Redis { process: None, port: free_port(), folder, options };
        server.start_again().await;
        server
    }

    /// Where it is, or will be again.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The same as an address.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Says these words to it, and brings the first line of its answer, without the line's end.
    ///
    /// # Panics
    ///
    /// Where it does not answer.
    pub async fn tell(&self, words: &[&str]) -> String {
        let mut wire = Wire::connect(self.address()).await;
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        wire.send(command).await;
        wire.until("\r\n").await.trim_end().to_owned()
    }

    /// Where it keeps what it keeps.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it after it was [killed](Redis::kill) or [stopped](Redis::stop), with what it kept.
    ///
    /// # Panics
    ///
    /// As [`start`](Redis::start).
    pub async fn start_again(&mut self) {
        self.process = None;
        let mut command = Command::new(program());
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--dir"]);
        command.arg(self.folder.path());
        // A test's own server waits for nothing of the disk's, unless it is told to.
        command.args(["--enable-debug-command", "yes", "--loglevel", "warning"]);
        command.args(["--repl-diskless-sync-delay", "0"]);
        command.args(&self.options).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(Process::start(&mut command));
        eventually("an answer of redis-server", async || self.answers().await.ok()).await;
    }

    /// One that is loading answers otherwise.
    async fn answers(&self) -> io::Result<()> {
        let mut wire = TcpStream::connect(("127.0.0.1", self.port)).await?;
        wire.write_all(b"PING\r\n").await?;
        let mut answer = [0; 7];
        timeout(Duration::from_secs(1), wire.read_exact(&mut answer)).await??;
        if &answer == b"+PONG\r\n" { Ok(()) } else { Err(io::ErrorKind::NotConnected.into()) }
    }

    /// It is gone without a word.
    ///
    /// # Panics
    ///
    /// Where it is down already.
    pub async fn kill(&mut self) {
        self.end(Signal::KILL).await;
    }

    /// It ends in order, and keeps what it is to keep.
    ///
    /// # Panics
    ///
    /// Where it is down already.
    pub async fn stop(&mut self) {
        self.end(Signal::TERM).await;
    }

    async fn end(&mut self, signal: Signal) {
        let process = self.process.take().expect("a server that is up");
        process.signal(signal);
        process.exit().await;
    }

    /// It stands still, and all who are connected to it wait.
    ///
    /// # Panics
    ///
    /// Where it is down.
    pub fn pause(&self) {
        self.process.as_ref().expect("a server that is up").signal(Signal::STOP);
    }

    /// It goes on.
    ///
    /// # Panics
    ///
    /// Where it is down.
    pub fn go_on(&self) {
        self.process.as_ref().expect("a server that is up").signal(Signal::CONT);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            // One that stands still cannot end.
            process.signal(Signal::CONT);
            process.signal(Signal::KILL);
        }
    }
}

/// `LARDER_REDIS_SERVER`: another server that speaks the same, Valkey's.
pub(crate) fn program() -> OsString {
    env::var_os("LARDER_REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}
