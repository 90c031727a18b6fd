//! Larder: a `larder serve` process on ports that were free.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    LOOK_EVERY, eventually,
    lines::Lines,
    wire::{Answer, Wire},
};

/// A process that is no longer wanted may end by itself for so long.
const GRACE: Duration = Duration::from_secs(2);

/// A running process. Dropping it ends it.
pub(crate) struct Larder {
    child: Child,
    log: Lines,
    /// Where nobody reads it.
    unread: Option<BufReader<ChildStderr>>,
    scheme: &'static str,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
}

/// How a process ended, and all it said.
pub(crate) struct Exit {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) log: String,
}

/// Runs the command to its end.
pub(crate) async fn run(arguments: &[&str]) -> Exit {
    run_with(arguments, &[]).await
}

/// Runs the command to its end. Its environment is `variables`, and nothing else.
pub(crate) async fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> Exit {
    let (child, log, out) = spawn(arguments, variables);
    end(child, log, out).await
}

fn spawn<S: AsRef<OsStr>>(arguments: &[S], variables: &[(&str, &str)]) -> (Child, Lines, Lines) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command larder, which cargo has just built");
    let out = Lines::of(child.stdout.take().expect("a pipe, as asked for"));
    let log = Lines::of(child.stderr.take().expect("a pipe, as asked for"));
    (child, log, out)
}

fn arguments(origin: SocketAddr, flags: &[&str]) -> Vec<String> {
    let upstream = format!("http://{origin}");
    let arguments = ["serve", "--upstream", &upstream];
    let listen = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    arguments.iter().chain(&listen).chain(flags).map(|argument| (*argument).to_owned()).collect()
}

async fn end(mut child: Child, mut log: Lines, mut out: Lines) -> Exit {
    let status = eventually("the end of a process", async || {
        child.try_wait().expect("a child of this process")
    });
    let code = status.await.code();
    Exit { code, out: out.all(), log: log.all() }
}

impl Larder {
    /// With the flags' defaults.
    pub(crate) async fn before(origin: SocketAddr) -> Larder {
        Larder::with(origin, &[]).await
    }

    pub(crate) async fn with(origin: SocketAddr, flags: &[&str]) -> Larder {
        let (child, log, _) = spawn(&arguments(origin, flags), &[]);
        Larder::started(child, log, flags).await
    }

    /// With all its arguments, `--admin` among them.
    pub(crate) async fn with_arguments(arguments: &[&str]) -> Larder {
        let (child, log, _) = spawn(arguments, &[]);
        Larder::started(child, log, arguments).await
    }

    /// It may have so many files open.
    pub(crate) async fn with_open_files(
        origin: SocketAddr,
        files: usize,
        flags: &[&str],
    ) -> Larder {
        let limited = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &limited, env!("CARGO_BIN_EXE_larder")]).args(arguments(origin, flags));
        let mut child =
            command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a shell");
        let log = Lines::of(child.stderr.take().expect("a pipe, as asked for"));
        Larder::started(child, log, flags).await
    }

    /// From the moment it has started nobody reads its log.
    pub(crate) async fn with_unread_log(origin: SocketAddr, flags: &[&str]) -> Larder {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(arguments(origin, flags)).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command larder, which cargo has just built");
        let mut unread = BufReader::new(child.stderr.take().expect("a pipe, as asked for"));
        let mut address = |words: &str| {
            let mut line = String::new();
            while !line.contains(words) {
                line.clear();
                assert_ne!(unread.read_line(&mut line).expect("text"), 0, "it has ended");
            }
            line.split_once(words).unwrap().1.trim().parse().expect("an address")
        };
        let (admin, address) = (address("admin on http://"), address("listening on http://"));
        let (log, unread, scheme) = (Lines::default(), Some(unread), "http");
        Larder { child, log, unread, scheme, address, admin }
    }

    /// Whoever could have read its log is gone.
    pub(crate) fn close_log(&mut self) {
        self.unread = None;
    }

    async fn started(mut child: Child, log: Lines, flags: &[&str]) -> Larder {
        let scheme = if flags.contains(&"--tls-certificate") { "https" } else { "http" };
        let listening = format!("listening on {scheme}://");
        let address = address_after(&mut child, &log, &listening).await;
        let admin = address_after(&mut child, &log, "admin on http://").await;
        Larder { child, log, unread: None, scheme, address, admin }
    }

    pub(crate) async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, "").await
    }

    /// `fields` are whole lines.
    pub(crate) async fn get_with(&self, path: &str, fields: &str) -> Answer {
        let answer = self.ask(path, fields).await;
        self.settle(path, fields, &answer).await;
        answer
    }

    async fn ask(&self, path: &str, fields: &str) -> Answer {
        let mut wire = self.connect().await;
        wire.send(request("GET", path, fields)).await;
        wire.answer().await
    }

    /// A reader may have the last byte of an answer a moment before the cache has it in its place.
    /// What is asked next is to find it there; where it never comes to that, so be it.
    async fn settle(&self, path: &str, fields: &str, answer: &Answer) {
        let said = answer.field("cache-status").unwrap_or_default();
        let will_be_there = said.contains(";stored;ttl=") && !said.contains(";ttl=0");
        if !will_be_there || fields.contains("cache-control") {
            return;
        }
        let fields = format!("{fields}cache-control: only-if-cached\r\n");
        let began = Instant::now();
        while self.ask(path, &fields).await.status() == 504 && began.elapsed() < GRACE {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Sends `bytes` as they stand, and brings all that comes until the connection is closed.
    pub(crate) async fn say(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut wire = self.connect().await;
        wire.send(bytes).await;
        wire.rest().await
    }

    /// `body` is JSON.
    pub(crate) async fn post_to_admin(&self, path: &str, body: &str) -> Answer {
        let mut wire = Wire::connect(self.admin).await;
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        wire.send(head + body).await;
        wire.answer().await
    }

    pub(crate) async fn get_from_admin(&self, path: &str) -> Answer {
        let mut wire = self.connect_to_admin().await;
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        wire.send(head).await;
        wire.answer().await
    }

    pub(crate) async fn connect_to_admin(&self) -> Wire {
        Wire::connect(self.admin).await
    }

    /// A number of `/metrics`, by its name and labels as they stand there.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let answer = self.get_from_admin("/metrics").await;
        let line =
            answer.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{}", answer.text())).parse().unwrap()
    }

    /// Where the admin API listens.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a process that is still there");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of this process").is_none()
    }

    /// Waits for its end, and returns its exit code.
    pub(crate) async fn exit(mut self) -> Option<i32> {
        eventually("the end of larder", async || {
            self.child.try_wait().expect("a child of this process")
        })
        .await
        .code()
    }

    /// Of its memory in KiB, as the system counts: `VmRSS` what is resident now, `VmHWM` the most
    /// that ever was.
    pub(crate) fn memory_kib(&self, kind: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("a process of this user");
        let line = status.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':'));
        let count = line.and_then(|line| line.trim().strip_suffix("kB")).map(str::trim);
        count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no {kind}"))
    }
}

async fn address_after(child: &mut Child, log: &Lines, words: &str) -> SocketAddr {
    eventually(words, async || {
        if let Some(status) = child.try_wait().expect("a child of this process") {
            panic!("larder ended with {status} instead of starting:\n{}", log.text());
        }
        let text = log.text();
        let (_, rest) = text.lines().find_map(|line| line.split_once(words))?;
        Some(rest.parse().expect("an address"))
    })
    .await
}

/// A request on a connection of its own.
pub(crate) fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: larder.test\r\nconnection: close\r\n{fields}\r\n")
}

impl Drop for Larder {
    fn drop(&mut self) {
        let began = Instant::now();
        while let Ok(None) = self.child.try_wait() {
            let signal = if began.elapsed() < GRACE { Signal::TERM } else { Signal::KILL };
            self.signal(signal);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
