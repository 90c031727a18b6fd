//! Load: as many requests as one core can make for a while, by wrk, by h2load for HTTP/2, or by the bench itself over
//! WebSockets.

use std::{
    io::Write,
    net::SocketAddr,
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;
use tokio::{process::Command, time::timeout};

use super::{
    case::{Case, Exchange, Protocol},
    certificate::HOST,
    echo,
};

/// What a generator may take to start, to end and to say what it saw.
const GRACE: Duration = Duration::from_secs(10);

/// How many requests were answered.
pub(crate) async fn run(case: &Case, address: SocketAddr, slice: Duration) -> anyhow::Result<u64> {
    if case.exchange == Exchange::Echo {
        echo::run(address, case.path, case.connections, slice).await
    } else if needs_h2load(case) {
        h2load(case, address, slice).await
    } else {
        wrk(case, address, slice).await
    }
}

/// Besides HTTP/2: wrk waits for a body after a 304 that tells the length of what it stands for.
pub(crate) fn needs_h2load(case: &Case) -> bool {
    case.protocol == Protocol::Http2 || case.answer.status == 304
}

async fn wrk(case: &Case, address: SocketAddr, slice: Duration) -> anyhow::Result<u64> {
    let mut command = Command::new("wrk");
    let connections = case.connections.to_string();
    // It knows whole seconds only; it is stopped by a signal, and counts what it has until then. Should
    // the signal never come, it ends soon.
    let duration = format!("{}s", (slice + GRACE).as_secs());
    command.args(["--threads", "1", "--connections", &connections, "--duration", &duration]);
    command.args(["--timeout", "30s", "--header", &format!("Host: {HOST}")]);
    for (name, value) in case.fields {
        command.args(["--header", &format!("{name}: {value}")]);
    }
    let mut script = NamedTempFile::with_suffix(".lua")?;
    let text = match (case.keys, case.exchange) {
        (Some(keys), _) => any_of(case.path, keys),
        (None, Exchange::Upload(bytes)) => upload(bytes),
        (None, _) => String::new(),
    };
    if !text.is_empty() {
        script.write_all(text.as_bytes())?;
        command.arg("--script").arg(script.path());
    }
    let scheme = if case.protocol == Protocol::Tls { "https" } else { "http" };
    command.arg(format!("{scheme}://{address}{}", case.path));
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start wrk (Debian's package wrk)")?;
    tokio::time::sleep(slice).await;
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("wrk has ended")?;
    kill_process(pid, Signal::INT)?;
    let output = timeout(GRACE, child.wait_with_output()).await.context("wrk does not end")??;
    wrk_requests(&said(&output))
}

/// A script for wrk: any of the keys, all as likely.
fn any_of(path: &str, keys: usize) -> String {
    format!(
        "local head, tail = 'GET {path}', ' HTTP/1.1\\r\\nHost: {HOST}\\r\\n\\r\\n'\n\
         local random = math.random\n\
         function request() return head .. random(0, {}) .. tail end\n",
        keys - 1
    )
}

/// A script for wrk: a request with so many bytes, which is written once.
fn upload(bytes: usize) -> String {
    format!("wrk.method = 'POST'\nwrk.body = string.rep('x', {bytes})\n")
}

async fn h2load(case: &Case, address: SocketAddr, slice: Duration) -> anyhow::Result<u64> {
    let mut command = Command::new("h2load");
    // As many requests under way as with wrk.
    let streams = if case.protocol == Protocol::Http2 { 4 } else { 1 };
    if case.protocol == Protocol::Http1 {
        command.arg("--h1");
    }
    for (name, value) in case.fields {
        command.args(["--header", &format!("{name}: {value}")]);
    }
    let connections = (case.connections / streams).to_string();
    let output = command
        .args(["--threads", "1", "--clients", &connections])
        .args(["--max-concurrent-streams", &streams.to_string()])
        .args(["--header", &format!(":authority: {HOST}")])
        .args(["--duration", &format!("{}ms", slice.as_millis())])
        .arg(format!("http://{address}{}", case.path))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(slice + GRACE, output).await.context("h2load does not end")?;
    h2load_requests(&said(
        &output.context("cannot start h2load (Debian's package nghttp2-client)")?,
    ))
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said)).join("\n")
}

/// `  54321 requests in 0.51s, 120.00MB read`, and no complaint after it.
fn wrk_requests(said: &str) -> anyhow::Result<u64> {
    for line in said.lines().map(str::trim) {
        if let Some(errors) = line.strip_prefix("Socket errors:") {
            bail!("connections failed:{errors}");
        }
        if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses:") {
            bail!("{} answers were errors", count.trim());
        }
    }
    let count = said.lines().find_map(|line| line.trim().split_once(" requests in "));
    let (count, _) = count.with_context(|| format!("wrk counted nothing: {}", said.trim()))?;
    let count = count.parse()?;
    ensure!(count > 0, "nothing was answered");
    Ok(count)
}

/// `requests: 98877 total, 98941 started, 98877 done, 98877 succeeded, 0 failed, 0 errored, 0 timeout`
fn h2load_requests(said: &str) -> anyhow::Result<u64> {
    let line = said.lines().find_map(|line| line.strip_prefix("requests:"));
    let line = line.with_context(|| format!("h2load counted nothing: {}", said.trim()))?;
    let count = |what| {
        line.split(',').find_map(|part| part.trim().strip_suffix(what)?.trim().parse::<u64>().ok())
    };
    let succeeded = count("succeeded").context("h2load does not say how many succeeded")?;
    ensure!(count("failed") == Some(0), "requests failed:{line}");
    ensure!(succeeded > 0, "nothing was answered");
    Ok(succeeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_becomes_a_count() {
        let said = "Running 1m test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n\
                    \x20 54321 requests in 0.51s, 120.00MB read\nRequests/sec: 106511.76\n";
        assert_eq!(wrk_requests(said).unwrap(), 54321);
    }

    #[test]
    fn errors_are_not_counted_as_answers() {
        let said = "  10 requests in 0.51s, 1MB read\n  Socket errors: connect 0, read 3, write 0, timeout 0\n";
        assert!(wrk_requests(said).is_err());
        assert!(wrk_requests("  10 requests in 1s\n  Non-2xx or 3xx responses: 10\n").is_err());
        assert!(wrk_requests("  0 requests in 1s\n").is_err());
        assert!(wrk_requests("unable to connect").is_err());
    }

    #[test]
    fn what_h2load_says_becomes_a_count() {
        let line = |failed| {
            format!(
                "requests: 9 total, 9 started, 9 done, 8 succeeded, {failed} failed, {failed} errored, 0 timeout"
            )
        };
        assert_eq!(h2load_requests(&line(0)).unwrap(), 8);
        assert!(h2load_requests(&line(1)).is_err());
    }
}
