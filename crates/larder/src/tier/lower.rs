//! What lies below memory: a tier that several processes share.
//!
//! **The shape of all of this may still change**, until a tier over a network has been built on it.
//!
//! ```
//! use larder::{Cache, Clock, codec::Text, lower::InProcess};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let below = InProcess::new(Clock::system());
//! let one = Cache::<String>::builder().lower(below.clone(), Text).build();
//! let other = Cache::<String>::builder().lower(below, Text).build();
//! one.get_or_fetch("key", async || "fetched once".to_owned()).await;
//! # one.shut_down(std::time::Duration::from_secs(5)).await; // what is still to be written is written
//! let found = other.get_or_fetch("key", async || -> String { unreachable!("it is below") }).await;
//! assert_eq!(found, "fetched once");
//! # }
//! ```
//!
//! A tier keeps *records* and one *log* of purges.
//!
//! - A record is a [`Head`] and a body, small ones in the head, larger ones in pieces. The pieces are written
//!   first, under a name that nobody knows yet; the head is written last, and makes them part of the cache.
//! - A purge that is appended to the log gets a number there, its [`Position`]. A head carries the position at
//!   which its fetch began, its *fence*. A record is older than every purge with a later number that names it.
//!
//! Whoever reads judges for himself, by what he knows of the log. So that he knows enough, each read of heads
//! brings the end of the log with it.
//!
//! # What a tier promises
//!
//! 1. Numbers of one log only grow. A log that has lost something, or begins anew, has another *generation*, and
//!    none comes back.
//! 2. Once [`append`](LowerTier::append) and then [`holds`](LowerTier::holds) have answered, whatever is asked for
//!    later with a tail has the purge in it. Of the caller's own purges nothing is promised: it knows them.
//! 3. What it no longer knows of its log it says: [`Tail::whole_since`].
//! 4. A record that is read has the head and the age that it was committed with, or is older.
//!
//! That [`commit`](LowerTier::commit) refuses what has been purged saves room and decides nothing: readers judge.
//!
//! Answers may be late, lost, and out of order, and records may vanish at any time.
//!
//! Each cache needs a tier, or a name space of one, of its own: a purge by key names the key in all of it.

mod faults;
mod in_process;

use std::{future::Future, pin::Pin, time::Duration};

use bytes::Bytes;

pub use self::{
    faults::{Call, Point},
    in_process::InProcess,
};
use crate::{
    freshness::Lifetime,
    purge::{Mode, Scope},
};

/// What a tier will answer. Dropping it before it is ready leaves open whether the call takes effect.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, LowerError>> + Send + 'a>>;

/// A tier below memory. The cache gives each call a time ([`Settings::budget`]), and takes one that fails for a
/// miss.
pub trait LowerTier: Send + Sync + 'static {
    /// The heads of all records under `key`, and what the log has after `since`. One plain read: it is asked at
    /// each miss in memory. `None`: all of the log that there is.
    fn heads<'a>(&'a self, key: &'a str, since: Option<Position>) -> Answering<'a, Heads>;

    /// One piece of a body.
    fn piece(&self, body: BodyId, index: u32) -> Answering<'_, Bytes>;

    /// Writes one piece of a body that no head names yet.
    fn write(&self, piece: Piece) -> Answering<'_, ()>;

    /// Makes a record of what has been written, in place of the one of its key that has the same
    /// [`variant`](Head::variant), and keeps the pieces that its head names as long as the record. They may be those
    /// of the record whose place it takes: a response that was confirmed has another head and the same body. Refused,
    /// as far as the tier can tell, if the log has a purge after the head's fence that names it, or may have had one,
    /// or if the pieces are not there. Of the key's records `most` stay, the last to be committed: readers read
    /// them all at once.
    fn commit<'a>(&'a self, key: &'a str, record: Record, most: usize) -> Answering<'a, Commit>;

    /// Lets go the pieces of a body that no head will name.
    fn discard(&self, body: BodyId, pieces: u32) -> Answering<'_, ()>;

    /// Appends purges to the log, all or none of them, and gives the position of the last. One whose
    /// [`id`](LowerPurge::id) the log has already is not appended again.
    fn append<'a>(&'a self, purges: &'a [LowerPurge]) -> Answering<'a, Position>;

    /// Waits until what the log has up to `position` holds for all who read this tier. The caller says how
    /// long, by dropping it. A tier that does not know its readers answers for itself.
    fn holds(&self, position: Position) -> Answering<'_, Holds> {
        _ = position;
        Box::pin(async { Ok(Holds { by: 1, of: 1 }) })
    }

    /// What the log has after `since`. `None`: all there is.
    fn tail(&self, since: Option<Position>) -> Answering<'_, Tail>;

    /// The right to fetch what is `wanted` under `key`, for `length` or until it is given back. It saves fetches and
    /// decides nothing; other names of what is wanted, of a few words each, are other rights.
    /// A purge of the key, of a prefix of it or of everything ends it. What is granted comes with the heads as
    /// they were afterwards, with the tail after `since`.
    fn lease<'a>(
        &'a self,
        key: &'a str,
        wanted: &'a str,
        since: Option<Position>,
        length: Duration,
    ) -> Answering<'a, LeaseAnswer>;
}

/// A position in the log of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which log. Positions of two generations have nothing to do with each other.
    pub generation: u128,
    /// How many purges the log had so far.
    pub number: u64,
}

/// What a read of heads brings.
#[derive(Clone, Debug)]
pub struct Heads {
    /// The records of the key, one for each variant, in no order.
    pub records: Vec<Record>,
    /// What the log had when they were read, or before.
    pub tail: Tail,
}

/// The end of a log.
#[derive(Clone, Debug)]
pub struct Tail {
    /// Every purge with a later number than this, up to `position`, is in `purges`, or another one with a later
    /// number that names as much and leaves no more. Of earlier ones the log may have lost some: who has not
    /// read as far has a gap.
    pub whole_since: u64,
    /// In the order of their numbers.
    pub purges: Vec<Logged>,
    /// Where the log ends.
    pub position: Position,
}

/// A purge in a log.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Its number.
    pub number: u64,
    /// The purge.
    pub purge: LowerPurge,
    /// How long ago it was appended.
    pub age: Duration,
}

/// A purge as a lower tier gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowerPurge {
    /// Whose it is, so that it may be sent again.
    pub id: PurgeId,
    /// What it names; at most 256.
    pub scopes: Vec<Scope>,
    /// What it leaves of that.
    pub mode: Mode,
}

/// By this a purge is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PurgeId {
    /// The cache that made it, as a random number.
    pub source: u64,
    /// Its number there.
    pub number: u64,
}

/// A record, with its age.
#[derive(Clone, Debug)]
pub struct Record {
    /// What is known of it.
    pub head: Head,
    /// How long ago its fetch ended: when it is committed as its writer knows it, and when it is read as the
    /// tier knows it. A tier may tell more than the truth, never less.
    pub age: Duration,
}

/// What is known of a record without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which of the key's records this is. A cache of values has one, `""`.
    pub variant: String,
    /// Where the log was when its fetch began, or before.
    pub fence: Position,
    /// How long it is good for, counted from the end of its fetch. After that a tier may let it go.
    pub lifetime: Lifetime,
    /// What its fetch cost in time.
    pub cost: Duration,
    /// The tags it carries, at most 256.
    pub tags: Vec<String>,
    /// What the bytes of `extra` and of the body mean. One that a reader does not know is a miss.
    pub format: String,
    /// What else its writer wants to know without reading the body.
    pub extra: Bytes,
    /// The value.
    pub body: Body,
}

/// A record's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A small one comes with its head.
    Whole(Bytes),
    /// A larger one lies apart.
    Pieces {
        /// Under this name.
        id: BodyId,
        /// In so many pieces.
        pieces: u32,
        /// So long is it as a whole.
        bytes: u64,
    },
}

/// The name of a body: 128 random bits, chosen by its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BodyId(pub u128);

/// A part of a body on its way into a tier.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Whose.
    pub body: BodyId,
    /// The first has 0.
    pub index: u32,
    /// What is in it.
    pub bytes: Bytes,
    /// After that time it is of no use.
    pub keep: Duration,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// It can be read.
    Stored,
    /// A purge came in between.
    Refused,
}

/// For how many of a tier's readers a purge holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holds {
    /// For so many.
    pub by: usize,
    /// That is how many there are.
    pub of: usize,
}

/// Who may fetch.
pub enum LeaseAnswer {
    /// The caller.
    Granted {
        /// While this is not dropped.
        lease: Lease,
        /// Read after it was granted.
        heads: Heads,
    },
    /// Somebody else.
    Held {
        /// For so long, if nothing else happens.
        until: Duration,
        /// Ready when it may be had, or earlier.
        ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    },
}

/// The right to fetch a key. Dropping it gives it back.
pub struct Lease(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Lease {
    /// `give_back` runs when it is dropped. It must not wait.
    pub fn new(give_back: impl FnOnce() + Send + Sync + 'static) -> Self {
        Lease(Some(Box::new(give_back)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(give_back) = self.0.take() {
            give_back();
        }
    }
}

/// Why a lower tier has not answered. To a reader of the cache it is a miss.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// It took longer than it may. It may still take effect.
    #[error("the lower tier took longer than {budget:?}")]
    TookTooLong {
        /// How long it may take.
        budget: Duration,
    },
    /// It failed several times in a row and is not asked for a while.
    #[error("the lower tier is left alone after failures")]
    LeftAlone,
    /// Its log is another one at each call.
    #[error("the lower tier begins its log anew at each call")]
    Unsteady,
    /// What was asked for is not there. Says nothing against the tier.
    #[error("the lower tier no longer has this piece")]
    Gone,
    /// It could not do it.
    #[error("the lower tier failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How a cache uses the tier below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long one call may take: 250 ms.
    pub budget: Duration,
    /// After so many failures in a row the tier is left alone: 5.
    pub failures: u32,
    /// For so long, then one call tries whether it is back: 1 s.
    pub rest: Duration,
    /// Purges that wait to be acknowledged below: 1024. One more, and they all become one hard purge of
    /// everything; until that is acknowledged, nothing below is used.
    pub max_outstanding: usize,
    /// Records that are on their way down at once: 64. One more is not written.
    pub max_writes: usize,
    /// The bytes of those, most of which are in memory anyway: 64 MiB. What would be more is not written.
    pub max_write_bytes: usize,
    /// For how long a fetch has a key to itself among all processes, if its process vanishes: 30 s.
    pub lease: Duration,
    /// How long a fetch waits for that of another process at most: 5 s.
    pub lease_wait: Duration,
    /// How long [`Cache::purge`](crate::Cache::purge) waits for the tier, if it is to: 5 s.
    pub purge_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            budget: Duration::from_millis(250),
            failures: 5,
            rest: Duration::from_secs(1),
            max_outstanding: 1024,
            max_writes: 64,
            max_write_bytes: 64 << 20,
            lease: Duration::from_secs(30),
            lease_wait: Duration::from_secs(5),
            purge_wait: Duration::from_secs(5),
        }
    }
}

impl LowerPurge {
    /// Whether it names what is stored under `key` and carries `tags`.
    pub fn names(&self, key: &str, tags: &[String]) -> bool {
        self.scopes.iter().any(|scope| match scope {
            Scope::Tag(tag) => tags.contains(tag),
            scope => scope.names_key(key),
        })
    }

    /// Whether it names all that is stored under `key`, whatever tags that carries.
    pub fn names_key(&self, key: &str) -> bool {
        self.scopes.iter().any(|scope| scope.names_key(key))
    }
}

impl Scope {
    fn names_key(&self, key: &str) -> bool {
        match self {
            Scope::Key(named) => named == key,
            Scope::Prefix(prefix) => key.starts_with(prefix.as_str()),
            Scope::Tag(_) => false,
            Scope::Everything => true,
        }
    }
}

impl BodyId {
    /// A name that no other body has.
    pub fn random() -> Self {
        BodyId(crate::sync::random())
    }
}
