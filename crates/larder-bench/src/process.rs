//! Process: a `blog run` on free ports with a database of its own, gone when dropped.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

const START: Duration = Duration::from_secs(10);

pub(crate) struct Blog {
    process: Child,
    pub(crate) backend: String,
    pub(crate) console: String,
    /// Holds the database; removed with this.
    _data: TempDir,
}

impl Blog {
    pub(crate) async fn start(binary: &Path, cache_enabled: bool) -> anyhow::Result<Blog> {
        let data = tempfile::tempdir().context("cannot make a folder for the database")?;
        let mut command = Command::new(binary);
        // A setting of whoever runs this must not change the result.
        command.env_clear();
        for kept in ["PATH", "HOME"] {
            command.envs(std::env::var_os(kept).map(|value| (kept, value)));
        }
        for port in ["FRONTEND_PORT", "BACKEND_PORT", "POSTS_SERVICE_PORT", "CONSOLE_PORT"] {
            command.env(port, "0");
        }
        let mut process = command
            .arg("run")
            .current_dir(data.path())
            .env("BLOG_DATA_DIR", data.path())
            .env("CACHE_ENABLED", cache_enabled.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Its log costs time as it does for everybody; only nobody reads it.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let stdout = process.stdout.take().context("the process has no output")?;
        let addresses = timeout(START, addresses(BufReader::new(stdout)));
        let (backend, console) = addresses.await.context("blog run did not come up")??;
        Ok(Blog { process, backend, console, _data: data })
    }

    /// Resident memory in bytes (`VmRSS`).
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let id = self.process.id().context("blog run has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kib.context("no VmRSS in /proc")?.trim().parse::<u64>()? * 1024)
    }
}

async fn addresses(
    output: BufReader<impl tokio::io::AsyncRead + Unpin>,
) -> anyhow::Result<(String, String)> {
    let (mut backend, mut console) = (None, None);
    let mut lines = output.lines();
    while let Some(line) = lines.next_line().await? {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("backend"), Some(url)) => backend = Some(url.to_owned()),
            (Some("console"), Some(url)) => console = Some(url.to_owned()),
            (Some("open"), _) => return backend.zip(console).context("no address of the backend"),
            _ => {}
        }
    }
    bail!("blog run ended before it was up")
}
