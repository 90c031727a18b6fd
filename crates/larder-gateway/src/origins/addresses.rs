//! Addresses: those of one upstream, and what is known of them, under one lock.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{
    budget::Budget,
    choose::{Choice, Seeker, Standing, choose},
    config::{Address, HealthConfig, OriginsConfig},
    dice::dice,
    failure::Failure,
    health::{self, Checked},
    stats::{AddressStats, OriginsStats},
};
use crate::{
    seldom::Seldom,
    upstream::{Upstream, UpstreamConfig},
};

/// The time between two lines in the log that one address is left alone: readers may be able to cause them.
const EJECTED_LINE: Duration = Duration::from_secs(10);

/// Behind a line, where nothing else is up.
const NO_OTHER: &str = ", and no other address is up: requests still go there, ten at a time";

/// The addresses of one upstream.
pub(super) struct Addresses {
    pub(super) name: Arc<str>,
    pub(super) config: OriginsConfig,
    pub(super) servers: Vec<Server>,
    /// Never held across an await, nor while a line is written.
    board: Mutex<Board>,
    /// Whether anything speaks against an address: while nothing does, the only address of an upstream is asked
    /// without a look at the board.
    is_troubled: AtomicBool,
    /// Requests that went to the only address, for which the budget has not been told yet.
    alone: AtomicU64,
    retries: [AtomicU64; Failure::ALL.len()],
    retries_held_back: AtomicU64,
    turned_away: AtomicU64,
    /// Tasks, which end with this.
    _watches: Vec<AbortOnDropHandle<()>>,
}

/// One address.
pub(super) struct Server {
    pub(super) upstream: Upstream,
    counts: Arc<Counts>,
}

/// What was counted at an address. It outlives a change of the others.
struct Counts {
    requests: AtomicU64,
    answers: AtomicU64,
    failures: [AtomicU64; Failure::ALL.len()],
    ejections: AtomicU64,
    ejected: Seldom,
}

struct Board {
    standings: Vec<Standing>,
    checked: Vec<Checked>,
    budget: Budget,
}

/// What is worth a line in the log.
enum Change {
    LeftAlone { failure: Failure, back_off: Duration },
    Back,
    Unwell,
    Well,
}

impl Server {
    fn new(upstream: Upstream) -> Server {
        let counts = Counts {
            requests: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            failures: Default::default(),
            ejections: AtomicU64::new(0),
            ejected: Seldom::every(EJECTED_LINE),
        };
        Server { upstream, counts: Arc::new(counts) }
    }

    /// The same address with these limits. Where they are what they were, its connections stay.
    fn within(&self, limits: UpstreamConfig) -> Server {
        let upstream = match *self.upstream.config() == limits {
            true => self.upstream.clone(),
            false => Upstream::new(self.upstream.origin().clone(), limits),
        };
        Server { upstream, counts: Arc::clone(&self.counts) }
    }

    pub(super) fn count_request(&self) {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many answers had come from an address when a request was sent there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard(u64);

impl Server {
    pub(super) fn heard(&self) -> Heard {
        Heard(self.counts.answers.load(Ordering::Relaxed))
    }

    pub(super) fn count_answer(&self) {
        self.counts.answers.fetch_add(1, Ordering::Relaxed);
    }
}

impl Addresses {
    /// Of addresses that were there `before` all is kept that is known; and their connections, if each may have as many
    /// as it could.
    pub(super) fn new(
        name: &str,
        addresses: &[Address],
        connection: &UpstreamConfig,
        config: OriginsConfig,
        before: Option<&Addresses>,
    ) -> Arc<Addresses> {
        let now = Instant::now();
        let known = before.map(|before| (before, before.board()));
        let mut servers = Vec::new();
        let mut board = Board {
            standings: Vec::new(),
            checked: vec![Checked::new(); addresses.len()],
            budget: Budget::new(now, &config.retry),
        };
        for address in addresses {
            let each = each_of(connection, addresses.len(), address.max_connections);
            let mut standing = Standing::new(address.weight, address.is_backup, now);
            let at = |before: &Addresses| {
                let mut servers = before.servers.iter();
                servers.position(|server| *server.upstream.origin() == address.origin)
            };
            let kept = known.as_ref().and_then(|(before, board)| {
                let index = at(before)?;
                Some((&before.servers[index], &board.standings[index]))
            });
            servers.push(match kept {
                Some((server, known)) => {
                    standing.breaker = known.breaker.clone();
                    standing.is_well = known.is_well || config.health.is_none();
                    standing.back_since = known.back_since;
                    server.within(each)
                }
                None => Server::new(Upstream::new(address.origin.clone(), each)),
            });
            board.standings.push(standing);
        }
        drop(known);
        Arc::new_cyclic(|this| {
            let watches = watches(this, addresses, connection, config.health.as_ref());
            Addresses { _watches: watches, ..Addresses::of(name, servers, board, config) }
        })
    }

    /// The only one.
    pub(super) fn of_one(name: &str, upstream: Upstream, config: OriginsConfig) -> Arc<Addresses> {
        let now = Instant::now();
        let board = Board {
            standings: vec![Standing::new(1, false, now)],
            checked: vec![Checked::new()],
            budget: Budget::new(now, &config.retry),
        };
        Arc::new(Addresses::of(name, vec![Server::new(upstream)], board, config))
    }

    fn of(name: &str, servers: Vec<Server>, board: Board, config: OriginsConfig) -> Addresses {
        Addresses {
            name: name.into(),
            config,
            servers,
            is_troubled: AtomicBool::new(board.is_troubled()),
            board: Mutex::new(board),
            alone: AtomicU64::new(0),
            retries: Default::default(),
            retries_held_back: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            _watches: Vec::new(),
        }
    }

    /// The only address, while nothing speaks against it.
    pub(super) fn only(&self) -> Option<&Server> {
        match self.servers.as_slice() {
            [only] if !self.is_troubled.load(Ordering::Relaxed) => Some(only),
            _ => None,
        }
    }

    /// An address for a request that was nowhere yet. It counts as a request there until its [`end`](Self::end).
    pub(super) fn begin(&self, seeker: Seeker) -> Option<Choice> {
        let now = Instant::now();
        let mut board = self.board();
        self.deposit(&mut board, 1, now);
        let choice = self.choose(&mut board, seeker, now);
        match choice {
            Some(choice) => board.enter(choice, now),
            None => {
                self.turned_away.fetch_add(1, Ordering::Relaxed);
            }
        }
        choice
    }

    /// Another address for a request that was in vain at others. `None`: there is none, or too many requests go elsewhere
    /// already.
    pub(super) fn elsewhere(&self, seeker: Seeker, failure: Failure) -> Option<Choice> {
        let now = Instant::now();
        let mut board = self.board();
        let choice = self.choose(&mut board, seeker, now)?;
        if !self.withdraw_from(&mut board) {
            return None;
        }
        self.retries[failure.index()].fetch_add(1, Ordering::Relaxed);
        board.enter(choice, now);
        Some(choice)
    }

    /// A request is sent to the only address, past the board.
    pub(super) fn count_alone(&self) {
        self.alone.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a request may be sent to the same address once more.
    pub(super) fn withdraw(&self) -> bool {
        let mut board = self.board();
        self.deposit(&mut board, 0, Instant::now());
        self.withdraw_from(&mut board)
    }

    fn deposit(&self, board: &mut Board, requests: u64, now: Instant) {
        let requests = requests + self.alone.swap(0, Ordering::Relaxed);
        board.budget.deposit(requests, now, &self.config.retry);
    }

    fn withdraw_from(&self, board: &mut Board) -> bool {
        let may = board.budget.withdraw();
        if !may {
            self.retries_held_back.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    fn choose(&self, board: &mut Board, seeker: Seeker, now: Instant) -> Option<Choice> {
        let OriginsConfig { balance, slow_start, .. } = self.config;
        let has_room = |index: usize| self.servers[index].upstream.has_room();
        choose(&mut board.standings, seeker, balance, slow_start, has_room, now)
    }

    /// It is known what came of a request.
    pub(super) fn settled(&self, index: usize) {
        let standing = &mut self.board().standings[index];
        standing.unanswered = standing.unanswered.saturating_sub(1);
    }

    pub(super) fn succeeded(&self, index: usize) {
        let now = Instant::now();
        self.change(index, |board, config| {
            let standing = &mut board.standings[index];
            let is_back = standing.breaker.succeeded(now, &config.breaker);
            if is_back {
                standing.back_since = Some(now);
            }
            is_back.then_some(Change::Back)
        });
    }

    /// The same for the only address.
    pub(super) fn only_succeeded(&self) {
        if self.is_troubled.load(Ordering::Relaxed) {
            self.succeeded(0);
        }
    }

    pub(super) fn brought_whole(&self, index: usize) {
        self.change(index, |board, _| {
            board.standings[index].breaker.brought_whole();
            None
        });
    }

    /// `was_probe`: it was sent to find out whether the address is back.
    pub(super) fn failed(&self, index: usize, failure: Failure, was_probe: bool) {
        self.count_failure(index, failure);
        let (now, dice) = (Instant::now(), dice());
        self.change(index, |board, config| {
            let breaker = &mut board.standings[index].breaker;
            let back_off = breaker.failed(failure, was_probe, now, dice, &config.breaker)?;
            Some(Change::LeftAlone { failure, back_off })
        });
    }

    pub(super) fn count_failure(&self, index: usize, failure: Failure) {
        self.servers[index].counts.failures[failure.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// A request is over. `is_unknown`: it tried the address, and was given up.
    pub(super) fn end(&self, index: usize, is_unknown: bool) {
        let mut board = self.board();
        let standing = &mut board.standings[index];
        standing.outstanding = standing.outstanding.saturating_sub(1);
        if is_unknown {
            standing.breaker.abandon_probe(Instant::now());
        }
    }

    /// An address has said how it is.
    pub(super) fn checked(&self, index: usize, is_good: bool, health: &HealthConfig) {
        self.change(index, |board, _| {
            let standing = &mut board.standings[index];
            let is_well = board.checked[index].note(standing.is_well, is_good, health)?;
            standing.is_well = is_well;
            if is_well {
                standing.back_since = Some(Instant::now());
            }
            Some(if is_well { Change::Well } else { Change::Unwell })
        });
    }

    /// Changes what is known of an address, and tells that where it is worth a line.
    fn change(
        &self,
        index: usize,
        change: impl FnOnce(&mut Board, &OriginsConfig) -> Option<Change>,
    ) {
        let mut board = self.board();
        let changed = change(&mut board, &self.config);
        self.is_troubled.store(board.is_troubled(), Ordering::Relaxed);
        let Some(changed) = changed else { return };
        let now = Instant::now();
        let is_last = !board.standings.iter().any(|standing| standing.is_up(now));
        drop(board);
        self.tell(index, &changed, is_last);
    }

    fn tell(&self, index: usize, change: &Change, is_last: bool) {
        let (name, server) = (&self.name, &self.servers[index]);
        let address = server.upstream.origin();
        let and_then = if is_last { NO_OTHER } else { "" };
        match change {
            Change::LeftAlone { failure, back_off } => {
                server.counts.ejections.fetch_add(1, Ordering::Relaxed);
                if server.counts.ejected.one_more().is_none() {
                    return;
                }
                let (failures, failure) = (self.config.breaker.failures, failure.in_words());
                let what = format!(
                    "upstream {name}: {address} has failed {failures} times in a row ({failure})"
                );
                match is_last {
                    true => tracing::warn!("{what}{NO_OTHER}"),
                    false => {
                        tracing::warn!("{what}, and is left alone for {} ms", back_off.as_millis())
                    }
                }
            }
            Change::Unwell => {
                tracing::warn!("upstream {name}: {address} is not well, say its checks{and_then}");
            }
            Change::Back => tracing::info!("upstream {name}: {address} answers again"),
            Change::Well => tracing::info!("upstream {name}: {address} is well again"),
        }
    }

    pub(super) fn stats(&self) -> OriginsStats {
        let now = Instant::now();
        let standings = self.board().standings.clone();
        let read = |counts: &[AtomicU64]| {
            let named = Failure::ALL.iter().zip(counts);
            named.map(|((_, name), count)| (*name, count.load(Ordering::Relaxed))).collect()
        };
        let addresses = self.servers.iter().zip(standings).map(|(server, standing)| AddressStats {
            address: server.upstream.origin().to_string(),
            requests: server.counts.requests.load(Ordering::Relaxed),
            failures: read(&server.counts.failures),
            ejections: server.counts.ejections.load(Ordering::Relaxed),
            outstanding: standing.outstanding,
            breaker: standing.breaker.state(now),
            is_healthy: standing.is_well,
            connections: server.upstream.stats(),
        });
        OriginsStats {
            name: self.name.to_string(),
            addresses: addresses.collect(),
            retries: read(&self.retries),
            retries_held_back: self.retries_held_back.load(Ordering::Relaxed),
            turned_away: self.turned_away.load(Ordering::Relaxed),
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // Nothing under this lock can panic half-way through a change.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn enter(&mut self, choice: Choice, now: Instant) {
        let standing = &mut self.standings[choice.index];
        standing.outstanding += 1;
        standing.unanswered += 1;
        if choice.is_probe {
            standing.breaker.begin_probe(now);
        }
    }

    fn is_troubled(&self) -> bool {
        self.standings.iter().any(|standing| !standing.is_well || !standing.breaker.is_at_rest())
    }
}

/// What the connections to one of so many addresses may take: together no more than the upstream's.
fn each_of(connection: &UpstreamConfig, count: usize, max: Option<usize>) -> UpstreamConfig {
    let each = |all: usize| all.div_ceil(count.max(1)).max(1);
    UpstreamConfig {
        max_connections: max.unwrap_or(usize::MAX).min(each(connection.max_connections)),
        max_streams: each(connection.max_streams),
        max_waiting: each(connection.max_waiting),
        ..connection.clone()
    }
}

fn watches(
    all: &Weak<Addresses>,
    addresses: &[Address],
    connection: &UpstreamConfig,
    health: Option<&HealthConfig>,
) -> Vec<AbortOnDropHandle<()>> {
    let Some(health) = health else { return Vec::new() };
    let watch = |(index, address): (usize, &Address)| {
        let (all, config) = (Weak::clone(all), health.clone());
        let tell = move |is_good| match all.upgrade() {
            Some(all) => {
                all.checked(index, is_good, &config);
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        };
        let (origin, connection) = (address.origin.clone(), connection.clone());
        AbortOnDropHandle::new(tokio::spawn(health::watch(
            origin,
            connection,
            health.clone(),
            tell,
        )))
    };
    addresses.iter().enumerate().map(watch).collect()
}
