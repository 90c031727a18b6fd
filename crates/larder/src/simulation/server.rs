//! Server: what a server of Redis is to the tier: an identity, a clock, a replica, and bytes. What the tier asks of it
//! goes over a [`Line`], one command at a time.

use std::{
    collections::HashMap,
    io, mem,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use redis::{
    Arg, Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Script, ServerErrorKind, Value,
};
use tokio::time::Instant;

use super::{
    INSTANCES,
    dice::Dice,
    keyspace::{Keyspace, integer},
    link::{Line, pass},
    lua::{self, At},
    watch,
};
use crate::{
    purge::{Mode, Scope},
    redis::Redis,
    sync,
    tier::{
        lower::{Call, LowerPurge, PurgeId},
        redis::call_of,
    },
};

const LOG: &str = "{larder:larder}:log";
/// Its clock says this when a run begins.
const BEGIN: Duration = Duration::from_secs(1_700_000_000);

pub(crate) struct Server {
    began: Instant,
    state: Mutex<State>,
    /// Counts what those wait for who wait at the server.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    keys: Keyspace,
    /// By their hashes.
    scripts: HashMap<String, Arc<str>>,
    /// Another one after each start.
    life: u64,
    skew: Duration,
    /// So many commands were answered.
    answered: u64,
    /// What its replica has, if there is one, and of how many.
    replica: Option<(Keyspace, u64)>,
    is_lagging: bool,
}

impl Server {
    /// The tier on it, over this line.
    pub(super) fn tier(self: &Arc<Self>, line: &Arc<Line>, max_incoherence: Duration) -> Redis {
        let options = Redis::options("").max_incoherence(max_incoherence);
        options.simulated(Wire { line: Arc::clone(line), server: Arc::clone(self), life: 0 })
    }

    pub(super) fn new(began: Instant) -> Arc<Self> {
        let (changes, _) = watch::channel(0);
        Arc::new(Server { began, state: Mutex::default(), changes })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under it")
    }

    fn changed(&self) {
        self.changes.send_if_modified(|count| {
            *count += 1;
            true
        });
    }

    /// Another process, with these keys.
    fn start(&self, keys: impl FnOnce(&mut State) -> Keyspace) {
        {
            let mut state = self.lock();
            state.keys = keys(&mut state);
            state.life += 1;
            state.scripts.clear();
        }
        self.changed();
    }

    /// It has lost nothing.
    pub(super) fn restart(&self) {
        self.start(|state| mem::take(&mut state.keys));
    }

    /// What it calls its log, if it has one.
    pub(super) fn log(&self) -> Option<Vec<u8>> {
        let words = ["HGET", "{larder:larder}:ctl", "gen"].map(|word| word.as_bytes().to_vec());
        match self.lock().keys.answer(0, &words) {
            Ok(Value::BulkString(log)) => Some(log),
            _ => None,
        }
    }

    pub(super) fn copy(&self) -> Keyspace {
        self.lock().keys.clone()
    }

    pub(super) fn restore(&self, keys: Keyspace) {
        self.start(|_| keys);
    }

    /// The same without another start.
    pub(super) fn reload(&self, keys: Keyspace) {
        self.lock().keys = keys;
        self.changed();
    }

    /// Its replica has what it has now, unless it lags.
    pub(super) fn replicate(&self) {
        {
            let mut state = self.lock();
            if state.is_lagging {
                return;
            }
            state.replica = Some((state.keys.clone(), state.answered));
        }
        self.changed();
    }

    pub(super) fn lag(&self, is_lagging: bool) {
        self.lock().is_lagging = is_lagging;
    }

    /// A replica has what it has, mostly a little later.
    pub(super) fn has_replica(self: &Arc<Self>, dice: &mut Dice) {
        let (server, most) = (Arc::clone(self), [40, 400][dice.index(2)]);
        tokio::spawn(async move {
            loop {
                server.replicate();
                pass(server.began, INSTANCES, Duration::from_millis(most)).await;
            }
        });
    }

    /// Its replica takes its place.
    pub(super) fn fail_over(&self) {
        self.start(|state| match &state.replica {
            Some((keys, _)) => keys.clone(),
            None => mem::take(&mut state.keys),
        });
    }

    /// As a server does that is told to evict whatever it likes.
    pub(super) fn lose_log(&self) {
        self.lock().keys.forget("{larder:", "");
        self.changed();
    }

    pub(super) fn empty(&self) {
        self.lock().keys = Keyspace::default();
        self.changed();
    }

    pub(super) fn forget(&self) {
        self.lock().keys.forget("larder1:", "");
    }

    pub(super) fn lose_pieces(&self) {
        self.lock().keys.forget("larder1:", ":b:");
    }

    /// The log has no more than the last purges.
    pub(super) fn trim_log(&self, keep: usize) {
        let mut state = self.lock();
        let log = state.keys.log(LOG);
        while log.len() > keep {
            log.pop_first();
        }
    }

    /// The purge of the log that comes so long before the last one is gone.
    pub(super) fn make_hole(&self, before: usize) {
        let mut state = self.lock();
        let log = state.keys.log(LOG);
        if let Some(number) = log.keys().rev().nth(before).copied() {
            log.remove(&number);
        }
    }

    /// One bit of what is stored is another one.
    pub(super) fn damage(&self, dice: &mut Dice) {
        let mut state = self.lock();
        let mut stored = state.keys.stored();
        if stored.is_empty() {
            return;
        }
        let which = dice.index(stored.len());
        let bytes = &mut stored[which];
        let at = dice.index(bytes.len());
        bytes[at] ^= 1 << dice.below(8);
    }

    /// Two of what is stored change places.
    pub(super) fn swap(&self, dice: &mut Dice) {
        let mut state = self.lock();
        let mut stored = state.keys.stored();
        if stored.is_empty() {
            return;
        }
        let (one, other) = (dice.index(stored.len()), dice.index(stored.len()));
        let taken = mem::take(stored[one]);
        let put = mem::replace(stored[other], taken);
        if one != other {
            *stored[one] = put;
        }
    }

    /// Its clock steps.
    pub(super) fn step_forward(&self, by: Duration) {
        self.lock().skew += by;
    }

    async fn wait_until(&self, most: Duration, is_so: impl Fn(&mut State) -> bool) {
        let mut changes = self.changes.subscribe();
        let changed = async {
            loop {
                let seen = *changes.borrow();
                if is_so(&mut self.lock()) {
                    return;
                }
                // Its sender lives as long as this.
                changes.wait_for(|count| *count != seen).await.ok();
            }
        };
        sync::until(sync::after(Instant::now(), most), changed).await;
    }

    /// Answers on a connection that was opened to the server of this life.
    async fn answer(&self, life: u64, words: Vec<Vec<u8>>) -> RedisResult<Value> {
        let waits = |at: usize| Duration::from_millis(integer(&words[at]));
        match &words[0][..] {
            // XREAD COUNT 1 BLOCK ms STREAMS log since
            b"XREAD" => {
                let since = integer(&words[7]);
                let has_news = |state: &mut State| {
                    state.life != life
                        || state.keys.log(LOG).last_key_value().is_some_and(|it| *it.0 > since)
                };
                self.wait_until(waits(4), has_news).await;
            }
            // WAIT 1 ms
            b"WAIT" => {
                let answered = self.lock().answered;
                let has_copy = |state: &mut State| {
                    state.replica.as_ref().is_some_and(|(_, of)| *of >= answered)
                };
                self.wait_until(waits(2), has_copy).await;
            }
            _ => {}
        }
        let answer = {
            let mut state = self.lock();
            if state.life != life {
                return Err(lost());
            }
            let now = BEGIN + self.began.elapsed() + state.skew;
            state.answered += 1;
            state.answer(now.as_micros() as u64, &words)
        };
        if matches!(&words[0][..], b"EVAL" | b"EVALSHA") {
            self.changed();
        }
        answer
    }
}

impl State {
    fn answer(&mut self, now_us: u64, words: &[Vec<u8>]) -> RedisResult<Value> {
        match &words[0][..] {
            b"XREAD" => {
                let since = integer(&words[7]);
                let last = self.keys.log(LOG).last_key_value().map(|(last, _)| *last);
                Ok(last
                    .filter(|last| *last > since)
                    .map_or(Value::Nil, |_| Value::Array(Vec::new())))
            }
            b"WAIT" => {
                // The question itself is counted.
                let has = self.replica.as_ref().is_some_and(|(_, of)| *of + 1 >= self.answered);
                Ok(Value::Int(has.into()))
            }
            b"SCRIPT" => {
                let source = str::from_utf8(&words[2]).expect("it is a text");
                let hash = Script::new(source).get_hash().to_owned();
                self.scripts.insert(hash.clone(), source.into());
                Ok(Value::BulkString(hash.into_bytes()))
            }
            b"EVAL" => {
                let source = str::from_utf8(&words[1]).expect("it is a text");
                let hash = Script::new(source).get_hash().to_owned();
                self.scripts.insert(hash.clone(), source.into());
                self.run(now_us, &hash, words)
            }
            b"EVALSHA" => {
                let hash = String::from_utf8_lossy(&words[1]).into_owned();
                self.run(now_us, &hash, words)
            }
            _ => self.keys.answer(now_us, words).map_err(error),
        }
    }

    fn run(&mut self, now_us: u64, hash: &str, words: &[Vec<u8>]) -> RedisResult<Value> {
        let Some(source) = self.scripts.get(hash).map(Arc::clone) else {
            let kind = ErrorKind::Server(ServerErrorKind::NoScript);
            return Err(RedisError::from((kind, "no such script")));
        };
        let count = integer(&words[2]) as usize;
        let (keys, arguments) = words[3..].split_at(count);
        let (life, replicas) = (self.life, u8::from(self.replica.is_some()));
        let info = format!(
            "run_id:{life:040x}\r\nrole:master\r\nconnected_slaves:{replicas}\r\nmaster_replid:{life:040x}\r\n"
        );
        let at = At { keys: mem::take(&mut self.keys), now_us, info };
        let (at, answer) = lua::run((hash, &source), keys, arguments, at);
        self.keys = at.keys;
        answer.map_err(|refused| error(&refused))
    }
}

/// Two purges of more prefixes than a server remembers, which name nothing that there is.
pub(super) fn prefixes(number: u64) -> [LowerPurge; 2] {
    [0, 150].map(|first| {
        let scopes = (first..first + 150).map(|nth| Scope::Prefix(format!("none/{nth}/")));
        let id = PurgeId { source: 0, number: number.wrapping_add(first) };
        LowerPurge { id, scopes: scopes.collect(), mode: Mode::Hard }
    })
}

/// What a server says in place of an answer: a word, and more.
fn error(refused: &str) -> RedisError {
    let (code, detail) = refused.split_once(' ').unwrap_or((refused, ""));
    redis::make_extension_error(code.to_owned(), Some(detail.to_owned()))
}

fn lost() -> RedisError {
    io::Error::from(io::ErrorKind::ConnectionReset).into()
}

/// An instance's way to the server, and a connection on it.
#[derive(Clone)]
pub(crate) struct Wire {
    line: Arc<Line>,
    server: Arc<Server>,
    /// To the server of this life.
    life: u64,
}

impl Wire {
    /// Opens a connection.
    pub(crate) async fn connect(&self) -> RedisResult<Wire> {
        let server = Arc::clone(&self.server);
        let life = self.line.carry(Call::Discard, "connect", async move { server.lock().life });
        let life = life.await.ok_or_else(lost)?;
        Ok(Wire { life, ..self.clone() })
    }

    pub(crate) async fn ask(&self, command: &Cmd) -> RedisResult<Value> {
        let word = |word: Arg<&[u8]>| match word {
            Arg::Simple(bytes) => bytes.to_vec(),
            _ => b"0".to_vec(),
        };
        let words: Vec<_> = command.args_iter().map(word).collect();
        let (call, name) = what(&words);
        let (server, life) = (Arc::clone(&self.server), self.life);
        let answer = self.line.carry(call, &name, async move { server.answer(life, words).await });
        answer.await.unwrap_or_else(|| Err(lost()))
    }

    pub(crate) async fn ask_all(&self, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        let mut answers = Vec::new();
        for command in commands.cmd_iter() {
            answers.push(self.ask(command).await?);
        }
        Ok(answers)
    }
}

/// Which call of the tier a command is, and of what.
fn what(words: &[Vec<u8>]) -> (Call, String) {
    let name = String::from_utf8_lossy(words.get(1).map_or(b"", |word| word)).into_owned();
    let first_key = || String::from_utf8_lossy(words.get(3).map_or(b"", |word| word)).into_owned();
    match &words[0][..] {
        b"XREAD" => (Call::Follow, String::new()),
        b"HSCAN" => (Call::Heads, name),
        b"GET" => (Call::Piece, name),
        b"SET" if words.iter().any(|word| word == b"NX") => (Call::Lease, name),
        b"SET" => (Call::Write, name),
        // By its first key: what is dealt to a script does not change with its text.
        b"EVALSHA" => (call_of(&name).unwrap_or(Call::Commit), first_key()),
        b"EVAL" => (Call::Discard, first_key()),
        _ => (Call::Discard, name),
    }
}

#[cfg(test)]
mod tests {
    use std::array;

    use tokio::{
        runtime,
        time::{sleep, timeout},
    };

    use super::*;
    use crate::{
        simulation::process::UnderWay,
        tier::lower::{LeaseAnswer, LogPart, LowerTier},
    };

    #[test]
    fn who_waits_for_a_lease_goes_on_when_it_ends_though_another_has_it_at_once() {
        let mut builder = runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let _under_way = UnderWay::begin(1);
        runtime.block_on(async {
            let began = Instant::now();
            let server = Server::new(began);
            let [first, waits, next]: [Redis; INSTANCES] = array::from_fn(|instance| {
                server.tier(&Line::new(instance, 1, began), Duration::from_secs(4))
            });
            let ask = async |tier: &Redis| {
                let length = Duration::from_secs(10);
                tier.lease("key", "", LogPart::Nothing, length).await.unwrap()
            };
            let LeaseAnswer::Granted { lease, .. } = ask(&first).await else {
                panic!("it is free")
            };
            let LeaseAnswer::Held { ended, .. } = ask(&waits).await else { panic!("it is held") };
            let ended = tokio::spawn(ended);
            // It has looked once, and looks again in a quarter of a second.
            sleep(Duration::from_millis(50)).await;
            drop(lease);
            let _lease = loop {
                if let LeaseAnswer::Granted { lease, .. } = ask(&next).await {
                    break lease;
                }
            };
            assert!(!ended.is_finished(), "the other one was faster");
            timeout(Duration::from_secs(1), ended).await.expect("it goes on").unwrap();
        });
    }
}
