//! Upgrade: a new process takes this one's place, with its sockets, and no connection is lost.
//!
//! ```text
//! this one   starts it ────────────── gives the outbox's file up ─────────── accepts no more, drains, ends
//! new one        settings, sockets: prepared      opens the file, serves: ready       is the one that counts
//! ```
//!
//! Both accept at the same sockets while both do, so nobody who connects is refused. Until the new one is ready nothing
//! has changed here: where it is not, this one goes on, and says why.

use std::{
    io,
    os::{fd::OwnedFd, unix::net as unix},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use command_fds::{CommandFdExt, FdMapping};
use larder::{
    Events,
    http::HttpCache,
    lower::{OutboxError, OutboxFile},
};
use larder_admin::figures::{Family, Figures};
use larder_gateway::{
    cdn::{self, Cdns},
    downstream::FileKeeper,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    inherited::{FIRST, OURS, TALK, Taken},
    metrics::counter,
};

/// What the new process says once it has all it needs but the outbox's file.
pub(crate) const PREPARED: u8 = b'p';
/// What it is answered: the file is its own.
pub(crate) const YOURS: u8 = b'y';
/// What it says once it serves.
pub(crate) const READY: u8 = b'r';
/// What it is answered: it is the one that counts.
pub(crate) const GO_ON: u8 = b'g';

/// How often it is looked whether a process has ended, or a file is free.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What holds the outbox's file may hold it for so long: one write to a disk.
pub(crate) const FILE: Duration = Duration::from_secs(5);

/// Why no other process has taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UpgradeError {
    #[error("this is process 1, and its end is that of its container: replace the container")]
    First,
    #[error(
        "systemd takes the end of this process for that of the service: its unit needs Type=notify \
         (deploy/systemd/larder.service)"
    )]
    NotTold,
    #[error("{} cannot be started: {source}", program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error(
        "process {pid}, which was to take over, has ended ({status}): its lines in the log say why"
    )]
    Ended { pid: u32, status: ExitStatus },
    #[error("process {pid}, which was to take over, was not ready after {limit:?}, and was ended")]
    TooSlow { pid: u32, limit: Duration },
    #[error("process {pid}, which was to take over, does not talk as it should, and was ended")]
    Stranger { pid: u32 },
}

/// What a new process is given.
pub(crate) struct Upgrade {
    program: io::Result<PathBuf>,
    /// With the name of each for the new process.
    sockets: Vec<(OwnedFd, String)>,
    files: Vec<FileKeeper>,
    limit: Duration,
    cache: HttpCache,
    outbox: Option<PathBuf>,
    /// The file of what CDNs have still to be told, and who writes it.
    kept: Option<(PathBuf, Cdns)>,
    /// Whether a supervisor is told which process goes on.
    is_told: bool,
}

/// A process that has taken over.
#[derive(Debug)]
pub(crate) struct Successor {
    pub(crate) pid: u32,
    talk: UnixStream,
    /// What this process does from before the other one served.
    pub(crate) events: Events,
}

impl Upgrade {
    /// By `program`, within `limit`.
    pub(crate) fn new(
        program: io::Result<PathBuf>,
        limit: Duration,
        cache: &HttpCache,
        outbox: Option<PathBuf>,
        kept: Option<(PathBuf, Cdns)>,
        is_told: bool,
    ) -> Upgrade {
        let (sockets, files) = (Vec::new(), Vec::new());
        let cache = cache.clone();
        Upgrade { program, sockets, files, limit, cache, outbox, kept, is_told }
    }

    /// A new process is given this one as well.
    pub(crate) fn hand_over(&mut self, Taken { bound, name }: &Taken) -> io::Result<()> {
        self.sockets.push((bound.share()?, name.as_deref().unwrap_or(OURS).to_owned()));
        self.files.extend(bound.file_keeper());
        Ok(())
    }

    /// Has another process take over. Dropping this ends it, unless it has.
    pub(crate) async fn run(&self) -> Result<Successor, UpgradeError> {
        self.is_possible()?;
        let program = || self.program.as_ref().map_or_else(|_| "larder".into(), PathBuf::clone);
        let start = |source| UpgradeError::Start { program: program(), source };
        let (mut child, mut talk) = self.start().map_err(start)?;
        let pid = child.pid();
        tracing::info!("process {pid} is started, and takes over once it is ready");
        let (mut has_files, mut events) = (false, None);
        let ready = self.bring_up(&mut talk, &mut has_files, &mut events);
        let ready = tokio::select! {
            biased;
            status = child.ended() => Err(UpgradeError::Ended { pid, status }),
            ready = timeout(self.limit, ready) => match ready {
                Ok(Ok(())) => Ok(()),
                // It may have ended just now, which says more.
                Ok(Err(_)) => Err(match timeout(LOOK_EVERY * 10, child.ended()).await {
                    Ok(status) => UpgradeError::Ended { pid, status },
                    Err(_) => UpgradeError::Stranger { pid },
                }),
                Err(_) => Err(UpgradeError::TooSlow { pid, limit: self.limit }),
            },
        };
        match ready {
            Ok(()) => {
                child.goes_on();
                self.files.iter().for_each(FileKeeper::keep);
                let events = events.unwrap_or_else(|| self.cache.cache().events());
                Ok(Successor { pid, talk, events })
            }
            Err(error) => {
                drop(child);
                if has_files {
                    self.take_files_back().await;
                }
                Err(error)
            }
        }
    }

    fn is_possible(&self) -> Result<(), UpgradeError> {
        let own = std::process::id();
        if own == 1 {
            return Err(UpgradeError::First);
        }
        let is_main = std::env::var("SYSTEMD_EXEC_PID").is_ok_and(|pid| pid == own.to_string());
        if is_main && !self.is_told {
            return Err(UpgradeError::NotTold);
        }
        Ok(())
    }

    fn start(&self) -> io::Result<(Newcomer, UnixStream)> {
        let program = self.program.as_ref().map_err(|error| io::Error::from(error.kind()))?;
        let (talk, theirs) = unix::UnixStream::pair()?;
        talk.set_nonblocking(true)?;
        let mut names = Vec::new();
        let mut handed = Vec::new();
        for (socket, name) in &self.sockets {
            handed.push(socket.try_clone()?);
            names.push(name.as_str());
        }
        handed.push(theirs.into());
        names.push(TALK);
        let mut command = Command::new(program);
        command
            .args(std::env::args_os().skip(1))
            .env("LISTEN_FDS", handed.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            // That is the number of this process.
            .env_remove("LISTEN_PID")
            .env_remove("WATCHDOG_PID");
        let mappings = handed.into_iter().zip(FIRST..);
        let mappings = mappings.map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
        command.fd_mappings(mappings.collect()).map_err(io::Error::other)?;
        let child = command.spawn()?;
        // What was handed over is closed here with the command.
        drop(command);
        Ok((Newcomer(Some(child)), UnixStream::from_std(talk)?))
    }

    async fn bring_up(
        &self,
        talk: &mut UnixStream,
        has_files: &mut bool,
        events: &mut Option<Events>,
    ) -> io::Result<()> {
        hear(talk, PREPARED).await?;
        *events = Some(self.cache.cache().events());
        *has_files = true;
        if self.outbox.is_some() && !self.cache.cache().release_outbox(FILE).await {
            tracing::warn!("the file of purges that wait is still being written");
        }
        if let Some((_, cdns)) = &self.kept {
            cdns.close();
        }
        talk.write_all(&[YOURS]).await?;
        hear(talk, READY).await
    }

    /// Whoever had them has ended.
    async fn take_files_back(&self) {
        if let Some(path) = &self.outbox {
            match open_when_free(|| OutboxFile::open(path)).await {
                Ok(file) => self.cache.cache().resume_outbox(file),
                Err(error) => tell_lost(path, &error),
            }
        }
        if let Some((path, cdns)) = &self.kept {
            // Where it came to its end before that, this process has it still.
            cdns.close();
            match open_when_free(|| cdn::OutboxFile::open(path)).await {
                Ok(file) => cdns.resume(file, &self.cache).await,
                Err(error) => tell_lost(path, &error),
            }
        }
    }
}

fn tell_lost(path: &Path, error: &OutboxError) {
    let path = path.display();
    tracing::error!("purges that wait are in memory alone: {path} cannot be opened: {error}");
}

async fn hear(talk: &mut UnixStream, word: u8) -> io::Result<()> {
    match talk.read_u8().await? {
        heard if heard == word => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Opens a file of purges, which another process is about to give up.
pub(crate) async fn open_when_free<T>(
    open: impl Fn() -> Result<T, OutboxError>,
) -> Result<T, OutboxError> {
    let end = Instant::now() + FILE;
    loop {
        match open() {
            Err(OutboxError::InUse) if Instant::now() < end => sleep(LOOK_EVERY).await,
            opened => return opened,
        }
    }
}

impl Successor {
    /// It may tell the supervisor how it is. What this process knows of it is told first.
    pub(crate) async fn go_on(mut self) -> (UnixStream, Events) {
        // Where it has ended meanwhile there is nobody to tell, and its supervisor sees to that.
        self.talk.write_all(&[GO_ON]).await.ok();
        (self.talk, self.events)
    }
}

/// A process that has not taken over yet: it ends when this is dropped.
struct Newcomer(Option<Child>);

impl Newcomer {
    fn pid(&self) -> u32 {
        self.0.as_ref().map_or(0, Child::id)
    }

    async fn ended(&mut self) -> ExitStatus {
        loop {
            if let Some(Ok(Some(status))) = self.0.as_mut().map(Child::try_wait) {
                return status;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn goes_on(&mut self) {
        self.0 = None;
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // One that has ended already cannot be killed, and is waited for all the same.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// How it went so far. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upgrades(Arc<Mutex<Outcomes>>);

#[derive(Debug, Default)]
struct Outcomes {
    failed: u64,
    /// Why the last one was none.
    last: Option<String>,
}

impl Upgrades {
    pub(crate) fn failed(&self, error: &UpgradeError) {
        let mut outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.failed += 1;
        outcomes.last = Some(format!("the last upgrade failed, and this process goes on: {error}"));
    }

    /// For `/readyz`, until one succeeds.
    pub(crate) fn note(&self) -> impl Fn() -> Option<String> + Send + Sync + 'static {
        let Upgrades(outcomes) = self.clone();
        move || outcomes.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }
}

impl Figures for Upgrades {
    fn families(&self) -> Vec<Family> {
        let failed = self.0.lock().unwrap_or_else(PoisonError::into_inner).failed;
        vec![counter(
            "gateway_upgrades_failed",
            "Processes that were started to take over and did not",
            "",
            vec![("", failed)],
        )]
    }
}
