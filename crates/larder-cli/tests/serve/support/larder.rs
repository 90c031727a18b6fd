//! Larder: a `larder serve` process on ports that were free.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use larder_test_support::{
    certificate::Certificate,
    eventually::{LOOK_EVERY, eventually},
    process::{Exit, Process},
};
use rustix::process::Signal;

use super::{Wire, answer::Answer};

/// What an answer may take to its place in the cache.
const GRACE: Duration = Duration::from_secs(2);

/// A running process. Dropping it ends it.
pub(crate) struct Larder {
    pub(crate) process: Process,
    /// Its log, where nobody reads it.
    unread: Option<BufReader<ChildStderr>>,
    scheme: &'static str,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
}

/// Runs the command to its end.
pub(crate) async fn run(arguments: &[&str]) -> Exit {
    run_with(arguments, &[]).await
}

/// Runs the command to its end. Its environment is `variables`, and nothing else.
pub(crate) async fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> Exit {
    let variables = variables.iter().copied();
    Process::read(command().args(arguments).env_clear().envs(variables)).exit().await
}

/// Runs the command in `folder`, without an environment, to its end.
pub(crate) async fn run_in(folder: &Path, arguments: &[&str]) -> Exit {
    run_in_with(folder, arguments, &[]).await
}

/// The same with these variables in its environment, and no others.
pub(crate) async fn run_in_with(
    folder: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Exit {
    let mut command = command();
    command.args(arguments).env_clear().envs(variables.iter().copied()).current_dir(folder);
    Process::read(&mut command).exit().await
}

fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_larder"))
}

/// What `larder serve` is told of a certificate.
pub(crate) fn tls_flags(certificate: &Certificate) -> [String; 4] {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let [file, key] = ["--tls-certificate", "--tls-key"].map(str::to_owned);
    [file, text(&certificate.file()), key, text(&certificate.key())]
}

fn arguments(origin: SocketAddr, flags: &[&str]) -> Vec<String> {
    let upstream = format!("http://{origin}");
    let arguments = ["serve", "--upstream", &upstream];
    let listen = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    arguments.iter().chain(&listen).chain(flags).map(|argument| (*argument).to_owned()).collect()
}

impl Larder {
    /// With the flags' defaults.
    pub(crate) async fn before(origin: SocketAddr) -> Larder {
        Larder::with(origin, &[]).await
    }

    pub(crate) async fn with(origin: SocketAddr, flags: &[&str]) -> Larder {
        let process = Process::read(command().args(arguments(origin, flags)).env_clear());
        Larder::started(process).await
    }

    /// With these variables in its environment, and no others.
    pub(crate) async fn with_variables(
        origin: SocketAddr,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Larder {
        let variables = variables.iter().copied();
        let mut command = command();
        command.args(arguments(origin, flags)).env_clear().envs(variables);
        Larder::started(Process::read(&mut command)).await
    }

    /// It may have so many files open.
    pub(crate) async fn with_open_files(
        origin: SocketAddr,
        files: usize,
        flags: &[&str],
    ) -> Larder {
        let arguments = arguments(origin, flags);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        Larder::within(&format!("ulimit -n {files}"), &arguments).await
    }

    /// From the moment it has started nobody reads its log.
    pub(crate) async fn with_unread_log(origin: SocketAddr, flags: &[&str]) -> Larder {
        let mut command = command();
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
        let process = Process::of(child);
        Larder { process, unread: Some(unread), scheme: "http", address, admin }
    }

    /// Whoever could have read its log is gone.
    pub(crate) fn close_log(&mut self) {
        self.unread = None;
    }

    /// With all its arguments, `--admin` among them.
    pub(crate) async fn with_arguments(arguments: &[&str]) -> Larder {
        Larder::started(Process::read(command().args(arguments).env_clear())).await
    }

    /// With all its arguments, within limits that a shell sets.
    pub(crate) async fn within(limits: &str, arguments: &[&str]) -> Larder {
        let limited = format!("{limits} && exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &limited, env!("CARGO_BIN_EXE_larder")]).args(arguments).env_clear();
        Larder::started(Process::read(&mut command)).await
    }

    /// In `folder`, which is where `larder.toml` is, with these variables in its environment, and no others.
    pub(crate) async fn in_folder(
        folder: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Larder {
        let mut command = command();
        command.args(arguments).env_clear().envs(variables.iter().copied()).current_dir(folder);
        Larder::by(&mut command).await
    }

    /// By `larder.toml` in `folder`, with its standard output in the file `out` there.
    pub(crate) async fn with_output_in(folder: &Path) -> Larder {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" serve > out", env!("CARGO_BIN_EXE_larder")]);
        command.current_dir(folder).stderr(Stdio::piped());
        Larder::started(Process::start(&mut command)).await
    }

    /// By a command that runs it, with its standard error to be read.
    pub(crate) async fn by(command: &mut Command) -> Larder {
        Larder::started(Process::read(command)).await
    }

    async fn started(mut process: Process) -> Larder {
        // Of several listeners, the first.
        let first = |process: &Process| {
            let text = process.log.text();
            let (_, url) = text.lines().find_map(|line| line.split_once("listening on "))?;
            let (scheme, rest) = url.split_once("://").expect("a URL");
            let address = rest.split(',').next().and_then(|address| address.parse().ok());
            let scheme = if scheme == "https" { "https" } else { "http" };
            Some((scheme, address.expect("an address")))
        };
        let (scheme, address) = process.until("listening on", first).await;
        let admin = address_after(&mut process, "admin on ").await;
        // The last that it says of itself: what comes later has another cause.
        let caching = |process: &Process| process.log.text().contains(" caching ").then_some(());
        process.until("caching", caching).await;
        Larder { process, unread: None, scheme, address, admin }
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

    /// What can be read of it by now. Lines are written behind the back of what they tell.
    pub(crate) fn log(&self) -> String {
        self.process.log.text()
    }

    /// Waits until the log has these words; how often it has them.
    pub(crate) async fn told(&self, words: &str) -> usize {
        let count = || self.log().matches(words).count();
        eventually(words, async || (count() > 0).then(count)).await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Waits for its end, and returns its exit code.
    pub(crate) async fn exit(self) -> Option<i32> {
        self.process.exit().await.code
    }

    /// `VmRSS` is what is resident now, `VmHWM` the most that ever was.
    pub(crate) fn memory_kib(&self, kind: &str) -> u64 {
        self.process.memory_kib(kind)
    }
}

async fn address_after(process: &mut Process, words: &str) -> SocketAddr {
    let said = |process: &Process| {
        let text = process.log.text();
        let (_, rest) = text.lines().find_map(|line| line.split_once(words))?;
        let address = rest.split_once("://").map_or(rest, |(_, address)| address);
        Some(address.parse().expect("an address"))
    };
    process.until(words, said).await
}

/// A request on a connection of its own.
pub(crate) fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: larder.test\r\nconnection: close\r\n{fields}\r\n")
}
