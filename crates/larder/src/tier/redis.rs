//! Redis: a lower tier on Redis 7, Valkey, or what speaks as they do: one server, Sentinel, or Cluster.
//!
//! ```no_run
//! use larder::{Cache, codec::Text, redis::Redis};
//!
//! # fn main() -> Result<(), larder::redis::ConnectError> {
//! let tier = Redis::connect("redis://127.0.0.1")?;
//! let cache = Cache::<String>::builder().lower(tier, Text).build();
//! # Ok(())
//! # }
//! ```
//!
//! A call is under way as long as its caller waits. Without an answer it may still take effect.

// What lies there is in `names`; how each call of a tier is made, in `data` (records and bodies), `lease`, and `control`
// (the log and its readers).

mod address;
mod connect;
mod control;
mod copies;
mod data;
mod fork;
pub mod instances;
mod lease;
mod log;
mod names;
mod readers;
mod record;
mod refusal;
mod script;
mod seen;
mod time;
#[cfg(all(test, not(shuttle)))]
mod without_rules;
pub mod worklist;

use std::{fmt, sync::Arc, time::Duration};

use ::redis::RedisError;
use bytes::Bytes;

#[cfg(all(test, not(shuttle)))]
pub(crate) use self::script::call_of;
use self::{
    address::Address, connect::Lines, control::Control, lease::Messages, names::Names,
    record::Seal, time::ServerTime,
};
use super::lower::{
    Answering, BodyId, Commit, Copies, Forget, Forgotten, Heads, Holds, LeaseAnswer, LogPart,
    LowerPurge, LowerTier, Piece, Position, Reader, Readers, Record, Tail, TierFigures,
};

/// A lower tier on a server of Redis or Valkey, or several. Clones are one tier, with its connections; they are opened
/// when they are first needed, by the runtime that needs them.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    lines: Lines,
    names: Names,
    seal: Seal,
    time: ServerTime,
    messages: Messages,
    control: Control,
}

/// How to reach a server, and what to do there.
#[derive(Clone)]
pub struct RedisOptions {
    url: String,
    namespace: String,
    username: Option<String>,
    password: Option<String>,
    sentinel_username: Option<String>,
    sentinel_password: Option<String>,
    ca_certificate: Option<Vec<u8>>,
    key: Option<[u8; 32]>,
    max_incoherence: Duration,
}

/// Why options name no server. None of its texts has a part of the URL in it: that may hold a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is none of a server.
    #[error("the URL of the server is of no use: {0}")]
    Url(&'static str),
    /// A name space is made of other letters, or is too long.
    #[error("a name space is 1 to 64 letters, digits, '_', '-' and '.'")]
    Namespace,
    /// The client of Redis does not take it.
    #[error("the server cannot be reached so")]
    Rejected(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What the client of Redis says of a URL has nothing of it in it either.
fn rejected(error: RedisError) -> ConnectError {
    ConnectError::Rejected(Box::new(error))
}

impl Redis {
    /// The tier on this server, in the name space `larder`. Opens nothing.
    ///
    /// | URL | what it names |
    /// | --- | --- |
    /// | `redis://[user:password@]host[:port][/database]` | one server |
    /// | `rediss://…` | the same over TLS, as all of the following may be |
    /// | `redis+sentinel://host:port,host:port/NAME[/database]` | the server that these sentinels say is the primary of NAME |
    /// | `redis+cluster://host:port,host:port` | a cluster, of which these servers are some |
    ///
    /// # Errors
    ///
    /// The URL is none of these.
    pub fn connect(url: &str) -> Result<Redis, ConnectError> {
        Redis::options(url).connect()
    }

    /// How often a replica of the server has not acknowledged purges in time. The server has them; should it be lost
    /// now, those who have read them know them.
    pub fn unreplicated(&self) -> u64 {
        self.0.control.unreplicated()
    }

    /// What its servers have said in place of answers, and how often: `loading`, `read_only`, `master_down`, `unblocked`,
    /// `full`, `no_replicas`, `not_on_disk`, `busy`, `cluster_down`, `moving`, `no_script`, `forbidden`, `wrong_type`, `other`;
    /// each of them, also those that were never said.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.lines.refusals().counts()
    }

    /// The same, with more to say.
    pub fn options(url: &str) -> RedisOptions {
        RedisOptions {
            url: url.to_owned(),
            namespace: "larder".to_owned(),
            username: None,
            password: None,
            sentinel_username: None,
            sentinel_password: None,
            ca_certificate: None,
            key: None,
            max_incoherence: Duration::from_secs(10),
        }
    }
}

impl RedisOptions {
    /// Caches of one name space share values and purges; those of others know nothing of them. `larder` if nothing is
    /// said; 1 to 64 letters, digits, `_`, `-` and `.`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The user, in place of the URL's.
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// The password, in place of the URL's.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The user of the sentinels, which have users of their own. Without one, their usual user.
    pub fn sentinel_username(mut self, username: impl Into<String>) -> Self {
        self.sentinel_username = Some(username.into());
        self
    }

    /// The password of the sentinels, which is not that of the server.
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_password = Some(password.into());
        self
    }

    /// Of `rediss://`: believe what these certificates (PEM) vouch for, in place of those that browsers believe.
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_certificate = Some(pem.into());
        self
    }

    /// Sign what is written, and believe nothing that is not signed with this key: whoever can write to the server
    /// cannot make a cache serve bytes of his own. He can still bring back what was signed once, and delete.
    pub fn key(mut self, key: [u8; 32]) -> Self {
        self.key = Some(key);
        self
    }

    /// The longest [`Settings::max_incoherence`](crate::lower::Settings::max_incoherence) of all caches above this tier,
    /// in all processes: 10 s.
    pub fn max_incoherence(mut self, longest: Duration) -> Self {
        self.max_incoherence = longest;
        self
    }

    /// The tier. Opens nothing.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub fn connect(self) -> Result<Redis, ConnectError> {
        let address = Address::new(&self)?;
        self.at(address)
    }

    /// The tier on a server that is simulated.
    #[cfg(all(test, not(shuttle)))]
    pub(crate) fn simulated(self, wire: crate::simulation::Wire) -> Redis {
        self.at(Address::simulated(wire)).expect("its name space is one")
    }

    fn at(self, address: Address) -> Result<Redis, ConnectError> {
        let names = Names::new(&self.namespace)?;
        let lines = Lines::new(address);
        let seal = Seal::new(&self.namespace, self.key.as_ref());
        Ok(Redis(Arc::new(Shared {
            lines,
            names,
            seal,
            time: ServerTime::default(),
            messages: Messages::default(),
            control: Control::new(self.max_incoherence),
        })))
    }
}

impl LowerTier for Redis {
    fn heads<'a>(&'a self, key: &'a str, log: LogPart) -> Answering<'a, Heads> {
        Box::pin(self.0.heads(key, log))
    }

    fn piece(&self, body: BodyId, index: u32) -> Answering<'_, Bytes> {
        Box::pin(self.0.piece(body, index))
    }

    fn write(&self, piece: Piece) -> Answering<'_, ()> {
        Box::pin(self.0.write(piece))
    }

    fn commit<'a>(&'a self, key: &'a str, record: Record, most: usize) -> Answering<'a, Commit> {
        Box::pin(self.0.commit(key, record, most))
    }

    fn discard(&self, body: BodyId, pieces: u32) -> Answering<'_, ()> {
        Box::pin(self.0.discard(body, pieces))
    }

    fn append<'a>(&'a self, purges: &'a [LowerPurge]) -> Answering<'a, Position> {
        Box::pin(self.0.append(purges))
    }

    fn copies(&self, position: Position) -> Answering<'_, Copies> {
        Box::pin(self.0.copies(position))
    }

    fn figures(&self) -> TierFigures {
        self.0.control.seen().figures()
    }

    fn tail(&self, since: Option<Position>) -> Answering<'_, Tail> {
        Box::pin(self.0.tail(since))
    }

    fn readers(&self) -> Option<&dyn Readers> {
        Some(self)
    }

    fn lease<'a>(
        &'a self,
        key: &'a str,
        wanted: &'a str,
        log: LogPart,
        length: Duration,
    ) -> Answering<'a, LeaseAnswer> {
        Box::pin(self.0.lease(key, wanted, log, length))
    }
}

impl Readers for Redis {
    fn follow(&self, since: Position, most: Duration) -> Answering<'_, Tail> {
        Box::pin(self.0.follow(since, most))
    }

    fn renew<'a>(&'a self, reader: &'a Reader, read: Option<Position>) -> Answering<'a, Position> {
        Box::pin(self.0.renew(reader, read))
    }

    fn leave<'a>(&'a self, reader: &'a Reader) -> Answering<'a, ()> {
        Box::pin(self.0.leave(reader))
    }

    fn forget<'a>(&'a self, name: &'a str, whom: Forget) -> Answering<'a, Forgotten> {
        Box::pin(self.0.forget(name, whom))
    }

    fn holds(&self, position: Position, most: Duration) -> Answering<'_, Holds> {
        Box::pin(self.0.holds(position, most))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { lines, names, .. } = &*self.0;
        f.debug_struct("Redis")
            .field("servers", lines)
            .field("namespace", &names.namespace())
            .finish_non_exhaustive()
    }
}

/// Where it is, for people, as `127.0.0.1:6379`. Without the user and the password.
impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.lines, f)
    }
}

/// Without the URL and what else may hold a secret.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("namespace", &self.namespace)
            .field("is_signed", &self.key.is_some())
            .finish_non_exhaustive()
    }
}
