//! Connect: lines to the servers, each of which is opened when it is first needed, and again after it broke.
//!
//! Nobody hears of a line that breaks while nothing is under way on it. So a question that may be asked twice is, if its
//! line broke; and no question is asked on a line that was opened before another one to the same server broke.
//!
//! A server that stands still breaks no line, for its system goes on to acknowledge what is sent. Where another one has
//! taken its place meanwhile, nobody would find that out. So a line on which nothing is answered for a while is closed.

use std::{
    fmt,
    future::Future,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisFuture, Value,
    aio::ConnectionLike,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
};
use tokio::time::Instant;

use super::{
    address::{Address, Connection, SILENCE},
    refusal::{Refusal, Refusals},
};
use crate::{
    jitter::jittered,
    sync::{self, watch},
    tier::lower::LowerError,
};

/// A question that is asked after a long silence has at least so long to be answered.
const GRACE: Duration = Duration::from_millis(500);
/// After the first failure in a row it is tried again so much later, after the second twice that, and so on.
const FIRST_REST: Duration = Duration::from_millis(20);
const LONGEST_REST: Duration = Duration::from_secs(1);

/// The lines of one tier. Large answers hold up small ones behind them, and what waits at the server holds up all:
/// so each kind has its own.
pub(super) struct Lines {
    far_end: Arc<FarEnd>,
    heads: Line,
    bodies: [Line; 2],
    next_body: AtomicUsize,
    control: Line,
    purges: Line,
    copies: Line,
    /// Those that nobody waits on.
    logs: Mutex<Vec<Line>>,
}

/// So many lines are kept on which nobody waits.
const MAX_IDLE: usize = 4;

impl Lines {
    pub(super) fn new(address: Address) -> Self {
        let far_end = Arc::new(FarEnd {
            address: Arc::new(address),
            breaks: AtomicU64::new(0),
            refusals: Refusals::default(),
        });
        let line = || Line::new(Arc::clone(&far_end));
        Lines {
            heads: line(),
            bodies: [line(), line()],
            next_body: AtomicUsize::new(0),
            control: line(),
            purges: line(),
            copies: line(),
            logs: Mutex::default(),
            far_end,
        }
    }

    /// What `ask` brings, asked once more if the line broke on which it was asked. Nobody knows whether the server has
    /// heard the first question, so it is one that may be asked twice.
    pub(super) async fn twice<T, F: Future<Output = Result<T, LowerError>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T, LowerError> {
        match ask().await {
            Err(error) if is_broken_line(&error) => ask().await,
            answer => answer,
        }
    }

    /// For what is small: heads and leases.
    pub(super) async fn heads(&self) -> Result<Link, LowerError> {
        self.heads.link().await
    }

    /// For pieces of bodies.
    pub(super) async fn bodies(&self) -> Result<Link, LowerError> {
        let turn = self.next_body.fetch_add(1, Ordering::Relaxed);
        self.bodies[turn % self.bodies.len()].link().await
    }

    /// For what is said about the log.
    pub(super) async fn control(&self) -> Result<Link, LowerError> {
        self.control.link().await
    }

    /// For purges.
    pub(super) async fn purges(&self) -> Result<Link, LowerError> {
        self.purges.link().await
    }

    /// For who waits until a replica has them: opened where there are some.
    pub(super) async fn copies(&self) -> Result<Link, LowerError> {
        self.copies.link().await
    }

    /// For who waits at the server for news.
    pub(super) fn log(&self) -> LogLine<'_> {
        let idle = self.idle().pop();
        let line = idle.unwrap_or_else(|| Line::new(Arc::clone(&self.far_end)));
        LogLine { lines: self, line }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Line>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the servers have said in place of answers.
    pub(super) fn refusals(&self) -> &Refusals {
        &self.far_end.refusals
    }

    pub(super) fn address(&self) -> &Arc<Address> {
        &self.far_end.address
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.far_end.address.fmt(f)
    }
}

/// A line of one caller's own. Who does not [give it back](LogLine::give_back) may still be waiting at the server, so that
/// it is closed.
pub(super) struct LogLine<'a> {
    lines: &'a Lines,
    line: Line,
}

impl LogLine<'_> {
    pub(super) async fn link(&self) -> Result<Link, LowerError> {
        self.line.link().await
    }

    /// It has been answered, well or badly.
    pub(super) fn give_back(self) {
        let mut idle = self.lines.idle();
        if idle.len() < MAX_IDLE {
            idle.push(self.line);
        }
    }
}

/// What all lines lead to.
struct FarEnd {
    address: Arc<Address>,
    /// So many lines to one server broke. Those that were opened before the last of them are not believed to be whole.
    breaks: AtomicU64,
    refusals: Refusals,
}

impl FarEnd {
    /// On a line that is silent for too long nothing is asked any more, nor on those that were opened with it.
    fn note_silence(&self, state: &mut State) {
        if let State::Open { unanswered, .. } = state
            && unanswered.is_some_and(Unanswered::is_silence)
        {
            *unanswered = None;
            self.breaks.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// A place for one connection.
#[derive(Clone)]
struct Line(Arc<Shared>);

struct Shared {
    far_end: Arc<FarEnd>,
    /// Held for moments.
    state: Mutex<State>,
}

enum State {
    Closed {
        /// In a row.
        failures: u32,
        /// Until then the line is not opened, and that is why.
        rest: Option<(Instant, RedisError)>,
    },
    /// A task opens it. The channel is closed when that has ended, whichever way.
    Opening { ended: watch::Receiver<()>, failures: u32 },
    Open {
        connection: Connection,
        /// By which users of older connections are told apart.
        number: u64,
        since: Instant,
        failures: u32,
        /// So many lines had broken when it was opened.
        breaks: u64,
        unanswered: Option<Unanswered>,
    },
}

/// Questions since the last answer that was waited for.
#[derive(Clone, Copy)]
struct Unanswered {
    first: Instant,
    /// The first of those that were asked [`SILENCE`] later. Without one the line may just not have been used: who gives
    /// up is not told of the answer that comes then.
    later: Option<Instant>,
}

impl Unanswered {
    fn is_silence(self) -> bool {
        self.later.is_some_and(|later| later.elapsed() >= GRACE)
    }
}

impl Line {
    fn new(far_end: Arc<FarEnd>) -> Self {
        let state = Mutex::new(State::Closed { failures: 0, rest: None });
        Line(Arc::new(Shared { far_end, state }))
    }

    /// The open connection. Where there is none, the caller waits for the one attempt to open it, which goes on if
    /// he gives up: else none that takes longer than one caller waits would ever succeed.
    async fn link(&self) -> Result<Link, LowerError> {
        // Without them nothing is opened, and nothing ends that takes too long.
        if !sync::has_timers() {
            return Err(failed(no_runtime()));
        }
        let mut has_tried = false;
        loop {
            let mut ended = {
                let mut state = self.0.lock();
                self.0.far_end.note_silence(&mut state);
                match &*state {
                    State::Open { connection, number, breaks, .. }
                        if *breaks == self.0.far_end.breaks.load(Ordering::Acquire) =>
                    {
                        let (connection, number) = (connection.clone(), *number);
                        return Ok(Link { connection, number, line: Arc::clone(&self.0) });
                    }
                    // A task whose runtime has ended leaves no other trace.
                    State::Opening { ended, .. } if ended.has_changed().is_ok() => ended.clone(),
                    State::Closed { rest: Some((until, error)), .. } if Instant::now() < *until => {
                        return Err(failed(error.clone()));
                    }
                    // Nor does one that has panicked, as where there are no sockets.
                    State::Opening { failures, .. } if has_tried => {
                        *state = closed(*failures + 1, no_runtime());
                        continue;
                    }
                    State::Open { failures, .. }
                    | State::Closed { failures, .. }
                    | State::Opening { failures, .. } => {
                        let failures = *failures;
                        let (task, ended) = watch::channel(());
                        *state = State::Opening { ended: ended.clone(), failures };
                        sync::spawn(open(Arc::clone(&self.0), failures, task));
                        has_tried = true;
                        ended
                    }
                }
            };
            // Nothing is ever sent.
            ended.wait_for(|()| false).await.ok();
        }
    }
}

fn no_runtime() -> RedisError {
    io::Error::other("it needs a runtime of Tokio with timers and sockets").into()
}

async fn open(line: Arc<Shared>, failures: u32, _ended: watch::Sender<()>) {
    let breaks = line.far_end.breaks.load(Ordering::Acquire);
    let opened = opened(&line.far_end.address).await;
    if let Some(refusal) = opened.as_ref().err().and_then(Refusal::of) {
        line.far_end.refusals.count(refusal);
    }
    let state = match opened {
        Ok(connection) => {
            let number = sync::random() as u64;
            let (since, unanswered) = (Instant::now(), None);
            State::Open { connection, number, since, failures, breaks, unanswered }
        }
        Err(error) => closed(failures + 1, error),
    };
    *line.lock() = state;
}

/// A server that wants a password closes the connection of who says much without one, and does not say why; nor is one of
/// use that is still loading. So it is asked something small first.
async fn opened(address: &Address) -> Result<Connection, RedisError> {
    let mut connection = address.connect().await?;
    // Of a cluster's many, one may be away.
    if let Connection::One(one) = &mut connection {
        match redis::cmd("PING").query_async::<Value>(one).await {
            // A user may be forbidden what nobody needs.
            Err(error) if error.code() != Some("NOPERM") => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(connection)
}

fn closed(failures: u32, error: RedisError) -> State {
    let rest = FIRST_REST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_REST);
    let until = Instant::now() + jittered(rest);
    State::Closed { failures, rest: Some((until, error)) }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A question is asked on this connection, or one was answered.
    fn note(&self, asked_on: u64, is_answer: bool) {
        if let State::Open { number, unanswered, .. } = &mut *self.lock()
            && *number == asked_on
        {
            if is_answer {
                *unanswered = None;
                return;
            }
            let now = Instant::now();
            let since = unanswered.get_or_insert(Unanswered { first: now, later: None });
            if since.later.is_none() && now - since.first >= SILENCE {
                since.later = Some(now);
            }
        }
    }

    /// Whoever asks next opens it anew. One that broke soon after it was opened rests first, but for the first time.
    fn broke(&self, broken: u64, error: RedisError) {
        let mut state = self.lock();
        if let State::Open { connection, number, since, failures, .. } = &*state
            && *number == broken
        {
            // A cluster's server is one of several, and its connections look for it by themselves.
            if !matches!(connection, Connection::Cluster(_)) {
                self.far_end.breaks.fetch_add(1, Ordering::AcqRel);
            }
            *state = match (since.elapsed() < LONGEST_REST, *failures) {
                (true, 0) => State::Closed { failures: 1, rest: None },
                (true, failures) => closed(failures + 1, error),
                (false, _) => State::Closed { failures: 0, rest: None },
            };
        }
    }
}

/// A user's end of a line. It sees the errors go by, and has the line opened anew after those that need it. Any call
/// may be given up: its answer is then passed over.
#[derive(Clone)]
pub(super) struct Link {
    connection: Connection,
    number: u64,
    line: Arc<Shared>,
}

impl Link {
    /// Asks, and reads the answer.
    pub(super) async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, LowerError> {
        let answer = command.query_async(self).await;
        answer.map_err(|error| self.not_an_answer(error))
    }

    /// Whoever is answered what he has not asked is on a line where answers have got out of step with questions, as
    /// after something on the way has swallowed one. Nothing that it says is of use any more.
    pub(super) fn is_out_of_step(&self) {
        let error = io::Error::other("it was answered what had not been asked");
        self.line.broke(self.number, error.into());
    }

    fn not_an_answer(&self, error: RedisError) -> LowerError {
        if error.kind() == ErrorKind::UnexpectedReturnType {
            self.is_out_of_step();
        }
        failed(error)
    }

    /// The same with several commands, about one key.
    pub(super) async fn ask_all<T: FromRedisValue>(
        &mut self,
        commands: &Pipeline,
    ) -> Result<T, LowerError> {
        let answers = commands.query_async(self).await;
        answers.map_err(|error| self.not_an_answer(error))
    }

    /// Asks the server that has this key. In a cluster some commands go to all primaries otherwise.
    pub(super) async fn ask_where<T: FromRedisValue>(
        &mut self,
        key: &str,
        command: Cmd,
    ) -> Result<T, LowerError> {
        let Connection::Cluster(cluster) = &mut self.connection else {
            return self.ask(&command).await;
        };
        let route = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
        let answer = cluster.route_command(command, RoutingInfo::SingleNode(route)).await;
        self.look_at(&answer);
        T::from_redis_value(answer.map_err(failed)?).map_err(|error| failed(error.into()))
    }

    fn look_at(&self, answer: &Result<Value, RedisError>) {
        match answer {
            Ok(Value::ServerError(error)) => self.look_at_error(&error.clone().into()),
            Ok(_) => {}
            Err(error) => self.look_at_error(error),
        }
    }

    fn look_at_error(&self, error: &RedisError) {
        if let Some(refusal) = Refusal::of(error) {
            self.line.far_end.refusals.count(refusal);
        }
        // A cluster's connection looks for the primary by itself.
        let is_looked_after = matches!(
            (error.kind(), &self.connection),
            (ErrorKind::Server(_), Connection::Cluster(_))
        );
        if ends_line(error) && !is_looked_after {
            self.line.broke(self.number, error.clone());
        }
    }
}

/// Whether nothing is asked any more on a line after this.
fn ends_line(error: &RedisError) -> bool {
    match (Refusal::of(error), error.kind()) {
        (Some(refusal), _) => refusal.ends_line(),
        (None, ErrorKind::Io | ErrorKind::Parse) => true,
        (None, _) => error.is_unrecoverable_error(),
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            self.line.note(self.number, false);
            let answer = match &mut self.connection {
                Connection::One(one) => one.send_packed_command(command).await,
                Connection::Cluster(cluster) => cluster.req_packed_command(command).await,
                #[cfg(all(test, not(shuttle)))]
                Connection::Simulated(wire) => wire.ask(command).await,
            };
            self.line.note(self.number, true);
            self.look_at(&answer);
            answer
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            self.line.note(self.number, false);
            let answers = match &mut self.connection {
                Connection::One(one) => one.send_packed_commands(commands, offset, count).await,
                Connection::Cluster(cluster) => {
                    cluster.req_packed_commands(commands, offset, count).await
                }
                #[cfg(all(test, not(shuttle)))]
                Connection::Simulated(wire) => wire.ask_all(commands).await,
            };
            self.line.note(self.number, true);
            match &answers {
                Ok(answers) => {
                    let errors = answers.iter().filter_map(|answer| match answer {
                        Value::ServerError(error) => Some(error),
                        _ => None,
                    });
                    for error in errors {
                        self.look_at_error(&error.clone().into());
                    }
                }
                Err(error) => self.look_at_error(error),
            }
            answers
        })
    }

    fn get_db(&self) -> i64 {
        match &self.connection {
            Connection::One(one) => one.get_db(),
            Connection::Cluster(cluster) => cluster.get_db(),
            #[cfg(all(test, not(shuttle)))]
            Connection::Simulated(_) => 0,
        }
    }
}

/// Whether it was asked on a line that is over.
pub(super) fn is_broken_line(error: &LowerError) -> bool {
    match error {
        LowerError::Failed(cause) => cause.downcast_ref().is_some_and(ends_line),
        _ => false,
    }
}

/// What a cache is told of it.
pub(super) fn failed(error: RedisError) -> LowerError {
    match Refusal::of(&error) {
        // Somebody else has put something under this key.
        Some(Refusal::WrongType) => LowerError::Unreadable,
        Some(refusal) if refusal.is_of_writes() => LowerError::TakesNoWrites(Box::new(error)),
        _ => LowerError::Failed(Box::new(error)),
    }
}
