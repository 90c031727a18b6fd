//! Server: a `redis-server` of the bench's own, on a free port and in a temporary folder, gone when dropped.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use redis::aio::MultiplexedConnection;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::gateway::server::{find_program, free_address};

const START: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(2);

pub(super) struct Server {
    child: Child,
    program: PathBuf,
    port: u16,
    folder: TempDir,
    options: &'static [&'static str],
}

impl Server {
    /// One that keeps nothing on disk.
    pub(super) async fn start() -> anyhow::Result<Server> {
        Server::start_with(&["--save", "", "--appendonly", "no"]).await
    }

    pub(super) async fn start_with(options: &'static [&'static str]) -> anyhow::Result<Server> {
        let program = find_program("redis-server").context("there is no redis-server here")?;
        let folder = tempfile::tempdir()?;
        let port = free_address()?.port();
        let child = start(&program, port, &folder, options)?;
        let server = Server { child, program, port, folder, options };
        server.is_up().await?;
        Ok(server)
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// One connection, as anybody has who uses the crate `redis` as it is.
    pub(super) async fn connect(&self) -> anyhow::Result<MultiplexedConnection> {
        let client = redis::Client::open(self.url())?;
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// It ends in order, and is started again with what it has kept. Gives the moment at which it answers.
    pub(super) async fn restart(&mut self) -> anyhow::Result<Instant> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        kill_process(pid.context("redis-server has ended by itself")?, Signal::TERM)?;
        timeout(START, self.child.wait()).await.context("redis-server does not end")??;
        self.child = start(&self.program, self.port, &self.folder, self.options)?;
        self.is_up().await?;
        Ok(Instant::now())
    }

    pub(super) async fn version(&self) -> anyhow::Result<String> {
        let output = Command::new(&self.program).arg("--version").output().await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = said.split_whitespace().find_map(|word| word.strip_prefix("v="));
        Ok(format!("redis-server {}", version.unwrap_or("of an unknown version")))
    }

    /// One that is loading what it kept does not answer yet.
    async fn is_up(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < START {
            if let Ok(mut connection) = self.connect().await {
                let answer = redis::cmd("PING").query_async::<String>(&mut connection).await;
                if answer.is_ok() {
                    return Ok(());
                }
            }
            sleep(STEP).await;
        }
        bail!("redis-server does not answer")
    }
}

fn start(
    program: &PathBuf,
    port: u16,
    folder: &TempDir,
    options: &[&str],
) -> anyhow::Result<Child> {
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(folder.path());
    command.args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(true).spawn().context("cannot start redis-server")
}
