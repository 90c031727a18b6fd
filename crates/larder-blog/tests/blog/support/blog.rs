//! Blog: a `blog` process in a folder of its own, on ports that were free.

use std::{
    collections::BTreeMap,
    fmt::Display,
    io::{PipeReader, pipe},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use larder_test_support::process::{Exit, Process};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{eventually, reader};

/// How a `blog` is started. Its environment is this and nothing else.
#[derive(Clone)]
pub(crate) struct Setup {
    arguments: Vec<String>,
    variables: BTreeMap<&'static str, String>,
    open_files: Option<usize>,
    working_directory: PathBuf,
    /// Removed with the last one who has it.
    temporary: Arc<TempDir>,
}

impl Setup {
    /// All parts in one process, with a posts service that is quick for a slow one.
    pub(crate) fn run() -> Setup {
        Setup::part("run")
    }

    /// One part: `posts`, `backend`, `page`.
    pub(crate) fn part(name: &str) -> Setup {
        let setup = Setup::bare(&[name]).set("POSTS_DELAY_MS", 20);
        ["FRONTEND_PORT", "BACKEND_PORT", "POSTS_SERVICE_PORT", "CONSOLE_PORT"]
            .iter()
            .fold(setup, |setup, variable| setup.set(variable, 0))
    }

    /// No variable is set at all.
    pub(crate) fn bare(arguments: &[&str]) -> Setup {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        Setup {
            arguments: arguments.iter().map(ToString::to_string).collect(),
            variables: BTreeMap::new(),
            open_files: None,
            working_directory: temporary.path().to_owned(),
            temporary: Arc::new(temporary),
        }
    }

    pub(crate) fn set(mut self, variable: &'static str, value: impl Display) -> Setup {
        self.variables.insert(variable, value.to_string());
        self
    }

    /// The limit a login usually has, which may be raised by who has it.
    pub(crate) fn open_files(mut self, limit: usize) -> Setup {
        self.open_files = Some(limit);
        self
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// A folder below the one that was the working directory, as the new one.
    pub(crate) fn within(mut self, path: &str) -> Setup {
        self.working_directory = self.working_directory.join(path);
        std::fs::create_dir_all(&self.working_directory).expect("a folder in a temporary one");
        self
    }

    /// The working directory. It lives as long as a setup or a process that uses it.
    pub(crate) fn folder(&self) -> &Path {
        &self.working_directory
    }

    /// Puts a file into the working directory.
    pub(crate) fn file(self, name: &str, content: &str) -> Setup {
        std::fs::write(self.folder().join(name), content).expect("a file in a temporary folder");
        self
    }

    /// Starts it, and waits until it says where it listens.
    pub(crate) async fn start(&self) -> Blog {
        self.started(self.begin()).await
    }

    /// Starts it, and does not wait.
    pub(crate) fn begin(&self) -> Blog {
        self.spawn_into(Stdio::piped())
    }

    /// Waits until what [`Setup::begin`] has begun says where it listens.
    pub(crate) async fn started(&self, mut blog: Blog) -> Blog {
        let last_line = match self.arguments[0].as_str() {
            "posts" => "posts ",
            "backend" => "console ",
            _ => "open ",
        };
        blog.says(last_line).await;
        blog
    }

    /// Starts it, and waits for its end.
    pub(crate) async fn end(&self) -> Exit {
        self.begin().exit().await
    }

    /// Starts it with nobody at the other end of its standard output. Where it listens must be known.
    pub(crate) fn start_unheard(&self) -> Blog {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        self.spawn_into(writer.into())
    }

    /// Starts it with a standard error that nobody reads.
    pub(crate) async fn start_unread(&self) -> Blog {
        let (reader, writer) = pipe().expect("a pipe");
        let mut blog = self.spawn_with(Stdio::piped(), writer.into());
        blog.unread = Some(reader);
        blog.says("open ").await;
        blog
    }

    fn spawn_into(&self, out: Stdio) -> Blog {
        self.spawn_with(out, Stdio::piped())
    }

    fn spawn_with(&self, out: Stdio, log: Stdio) -> Blog {
        let process = Process::start(
            self.command()
                .args(&self.arguments)
                .env_clear()
                .envs(&self.variables)
                .current_dir(self.folder())
                .stdout(out)
                .stderr(log),
        );
        Blog { process, unread: None, _temporary: Arc::clone(&self.temporary) }
    }

    fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_blog");
        let Some(limit) = self.open_files else { return Command::new(program) };
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", r#"ulimit -S -n "$0"; exec "$@""#, &limit.to_string(), program]);
        shell
    }
}

/// A running process. Dropping it ends it.
pub(crate) struct Blog {
    process: Process,
    /// The end of its standard error that nobody reads from.
    unread: Option<PipeReader>,
    _temporary: Arc<TempDir>,
}

impl Blog {
    pub(crate) fn posts(&self, path: &str) -> String {
        self.url("posts", path)
    }

    pub(crate) fn backend(&self, path: &str) -> String {
        self.url("backend", path)
    }

    pub(crate) fn console(&self, path: &str) -> String {
        self.url("console", path)
    }

    pub(crate) fn page(&self, path: &str) -> String {
        self.url("page", path)
    }

    /// `127.0.0.1:44571`
    pub(crate) fn address(&self, service: &str) -> String {
        self.url(service, "").trim_start_matches("http://").to_owned()
    }

    pub(crate) fn port(&self, service: &str) -> u16 {
        let address = self.address(service);
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        port.unwrap_or_else(|| panic!("no port in {address}"))
    }

    /// What a browser on this machine sends as `Origin`.
    pub(crate) fn page_origin(&self) -> String {
        format!("http://localhost:{}", self.port("page"))
    }

    fn url(&self, service: &str, path: &str) -> String {
        let out = self.out();
        let line = out.lines().find(|line| line.split_whitespace().next() == Some(service));
        let base = line.and_then(|line| line.split_whitespace().nth(1));
        let base = base.unwrap_or_else(|| panic!("{service} is not among the lines:\n{out}"));
        format!("{base}{path}")
    }

    /// The counters of its one cache.
    pub(crate) async fn stats(&self) -> Value {
        reader::get(&self.console("/v1/stats")).await.json()["caches"][0].clone()
    }

    pub(crate) fn out(&self) -> String {
        self.process.out.text()
    }

    pub(crate) fn log(&self) -> String {
        self.process.log.text()
    }

    /// Waits for a line of the log that ends with `text`.
    pub(crate) async fn logs(&self, text: &str) {
        let log = &self.process.log;
        eventually(text, async || log.any(|line| line.ends_with(text)).then_some(())).await;
    }

    /// Waits for the line with which a start is over.
    async fn says(&mut self, last_line: &str) {
        let is_it = |line: &str| line.starts_with(last_line);
        let said = |process: &Process| process.out.any(is_it).then_some(());
        self.process.until("the last line of a start", said).await;
    }

    /// `VmRSS` is what is resident now.
    pub(crate) fn memory_kib(&self, kind: &str) -> u64 {
        self.process.memory_kib(kind)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) async fn kill(self) {
        self.signal(Signal::KILL);
        self.exit().await;
    }

    /// Waits for its end.
    pub(crate) async fn exit(self) -> Exit {
        self.process.exit().await
    }
}
