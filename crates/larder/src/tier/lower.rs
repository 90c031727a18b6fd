//! What lies below memory: a tier that several processes share.
//!
//! `redis::Redis` is one over a network, [`InProcess`] one for tests and for one process.
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
//! - A record is a [`Head`] and a body, small ones in the head, larger ones in pieces, of which the head may carry the
//!   beginning: that can be handed on while the first piece is on its way. The pieces are written
//!   first, under a name that nobody knows yet; the head is written last, and makes them part of the cache.
//! - A purge that is appended to the log gets a number there, its [`Position`]. A head carries the position at
//!   which its fetch began, its *fence*. A record is older than every purge with a later number that names it.
//!
//! Whoever reads judges for himself, by what he knows of the log. A cache *follows* it, and *renews* its trust: it
//! says how far it has read, and is told where the log ends. What it knows then is enough to go by for
//! [`Settings::max_incoherence`], in memory and below. Without trust, a read of heads brings the end of the log with
//! it.
//!
//! # What a tier promises
//!
//! 1. Numbers of one log only grow, and none is given twice. A log that has lost something, or begins anew, has another
//!    *generation*, and none comes back.
//! 2. Once [`append`](LowerTier::append) has answered, whatever is asked for later with a part of the log has the purge
//!    in it, and the position that [`renew`](Readers::renew) gives is not before it. Of the caller's own purges nothing is
//!    promised: it knows them.
//! 3. What it no longer knows of its log it says: [`Tail::whole_since`].
//! 4. A record that is read has the head and the age that it was committed with, or is older.
//! 5. [`holds`](Readers::holds) counts every reader that has renewed and has not left, for an hour at least.
//!
//! That [`commit`](LowerTier::commit) refuses what has been purged saves room and decides nothing: readers judge.
//!
//! Answers may be late, lost, and out of order, and records may vanish at any time.
//!
//! Each cache needs a tier, or a name space of one, of its own: a purge by key names the key in all of it.

mod faults;
mod in_process;
mod outbox_file;

use std::{error::Error, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use siphasher::sip::SipHasher24;

pub use self::{
    faults::{Call, Point},
    in_process::{InProcess, Snapshot},
    outbox_file::OutboxFile,
};
pub use crate::journal::OutboxError;
use crate::{
    freshness::Lifetime,
    purge::{Doubt, Mode, Replication, Scope},
};

/// What a tier will answer. Dropping it before it is ready leaves open whether the call takes effect.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, LowerError>> + Send + 'a>>;

/// A tier below memory. The cache gives each call a time ([`Settings::budget`]), and takes one that fails for a
/// miss.
pub trait LowerTier: Send + Sync + 'static {
    /// The heads of all records under `key`, and this part of the log. One plain read: it is asked at each miss in
    /// memory.
    fn heads<'a>(&'a self, key: &'a str, log: LogPart) -> Answering<'a, Heads>;

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

    /// How safe what the log has up to `position` is at the tier itself. Where it has replicas, it waits for one of them
    /// for a moment. A tier that says nothing has none.
    fn copies(&self, position: Position) -> Answering<'_, Copies> {
        let _ = position;
        Box::pin(async { Ok(Copies { replication: Replication::Single, doubt: None }) })
    }

    /// What there is to say of the tier without asking it.
    fn figures(&self) -> TierFigures {
        TierFigures::default()
    }

    /// What the log has after `since`. `None`: all there is.
    fn tail(&self, since: Option<Position>) -> Answering<'_, Tail>;

    /// Its list of those who read it. Without one nobody follows the log: what is in memory is purged there only when
    /// a miss has brought the end of the log. Always the same answer.
    fn readers(&self) -> Option<&dyn Readers> {
        None
    }

    /// The right to fetch what is `wanted` under `key`, until it is given back. If its holder vanishes, it ends
    /// `length` after it was last renewed, which is the tier's business. It saves fetches and decides nothing; other
    /// names of what is wanted, of a few words each, are other rights.
    /// A purge of the key, of a prefix of it or of everything may end it. What is granted comes with the heads as
    /// they were afterwards, with this part of the log.
    fn lease<'a>(
        &'a self,
        key: &'a str,
        wanted: &'a str,
        log: LogPart,
        length: Duration,
    ) -> Answering<'a, LeaseAnswer>;
}

/// What a tier does that knows who reads it.
pub trait Readers: Send + Sync {
    /// What the log has after `since`, as soon as there is something, or after `most` in any case. Asked again and
    /// again, by one caller at a time.
    fn follow(&self, since: Position, most: Duration) -> Answering<'_, Tail>;

    /// Says that all that `reader` has in memory is judged by the log up to `read` from now on, and gives the position
    /// at which the log ends.
    fn renew<'a>(&'a self, reader: &'a Reader, read: Option<Position>) -> Answering<'a, Position>;

    /// Nothing is served by `reader` any more.
    fn leave<'a>(&'a self, reader: &'a Reader) -> Answering<'a, ()>;

    /// Waits no longer for readers that go by this name: one that was killed would be waited for, for as long as it
    /// is known. One that is only silent is a reader again as soon as it says something. What one that is forgotten
    /// [`InAnyCase`](Forget::InAnyCase) may still serve no purge may pass over: none is said to hold until that is over.
    fn forget<'a>(&'a self, name: &'a str, whom: Forget) -> Answering<'a, Forgotten> {
        let _ = (name, whom);
        Box::pin(async { Err(LowerError::Failed("it forgets no readers".into())) })
    }

    /// How many readers have said that they judge by what the log has up to `position`, or by a log that came after
    /// it. Waits until all have, or `most`.
    fn holds(&self, position: Position, most: Duration) -> Answering<'_, Holds>;
}

/// Which part of the log a read is to bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogPart {
    /// None: the reader knows enough of it.
    Nothing,
    /// What comes after this position. `None`: all there is.
    After(Option<Position>),
}

/// A cache that reads a tier's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// A random number, another one after each start.
    pub id: u64,
    /// What people call it: its host and process, say.
    pub name: String,
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
    /// The part of the log that was asked for, as it was after the call began.
    pub tail: Option<Tail>,
    /// So many more lie there that are not what they should be: damaged, moved, or written by somebody else.
    pub unreadable: u64,
}

/// The end of a log.
#[derive(Clone, Debug)]
pub struct Tail {
    /// Every purge with a later number than this, up to `position`, is in `purges` or in `folded`, or another one with
    /// a later number that names as much and leaves no more. Of earlier ones the log may have lost some: who has
    /// not read as far has a gap.
    pub whole_since: u64,
    /// What is known of purges that are no longer in the log one by one. Where there are some, whoever has not read as
    /// far has a gap as well in what is not judged by its key and its tags alone, as is so in memory.
    pub folded: Vec<Folded>,
    /// In the order of their numbers.
    pub purges: Vec<Logged>,
    /// Where the log ends.
    pub position: Position,
}

/// What is known of all purges that named one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// What they named.
    pub scope: FoldedScope,
    /// The number of the last hard one; 0 if there was none.
    pub hard: u64,
    /// Of the soft ones, the number of the last of some, and how long ago the first of those was appended. In the
    /// order of their numbers.
    pub soft: Vec<(u64, Duration)>,
}

/// What purges named that are remembered together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoldedScope {
    /// Every key in this [`bucket`].
    Keys(u16),
    /// Every tag in this [`bucket`].
    Tags(u16),
    /// A prefix.
    Prefix(String),
    /// Everything.
    Everything,
}

/// The bucket of a key or a tag, of which there are 65,536: the last 16 bits of its SipHash-2-4 with a key of zeros,
/// so that all versions and platforms agree.
pub fn bucket(name: &str) -> u16 {
    (SipHasher24::new().hash(name.as_bytes()) & 0xffff) as u16
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

/// Things that one purge names.
pub(crate) const MAX_SCOPES: usize = 256;

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
        /// So it begins. This, or nothing, comes with its head, and is in no piece.
        begin: Bytes,
        /// The rest of it lies in so many pieces.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holds {
    /// For so many.
    pub by: usize,
    /// That is how many there are.
    pub of: usize,
    /// The names of the others; of many, some.
    pub missing: Vec<String>,
}

/// Which readers of a name are forgotten ([`Readers::forget`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forget {
    /// Those that have been silent for so long that they serve nothing on trust.
    #[default]
    IfSilent,
    /// All.
    InAnyCase,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forgotten {
    /// So many are no longer waited for.
    Readers(u64),
    /// None was: each of that name is alive. The one that has been silent for longest said something so long ago.
    Alive(Duration),
    /// There is none of that name.
    Unknown,
}

/// How safe it is at a tier that has acknowledged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Whether a replica has it.
    pub replication: Replication,
    /// What may take it away all the same.
    pub doubt: Option<Doubt>,
}

/// What a tier says of itself, as it last heard it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierFigures {
    /// How often it lost what it had acknowledged, and got it back from those who had read it.
    pub forks: u64,
    /// How many readers it knows.
    pub readers: u64,
    /// How many of them have said something lately.
    pub readers_alive: u64,
    /// How many replicas it has.
    pub replicas: u64,
    /// Why it may lose what it has acknowledged, as it was when that was last asked: with a purge.
    pub doubt: Option<Doubt>,
    /// Whether it is finding out what it has lost: until it knows, it tells nobody of its log.
    pub is_reconciling: bool,
    /// For how long a server goes on, once a replica has taken its place, before it stops for want of replicas. Until then
    /// those who reach it alone renew their trust there. Zero where it has none, or never stops.
    pub replication_lag: Duration,
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
    /// It is finding out what it has lost, and answers again when it knows. Says nothing against it.
    #[error("the lower tier is finding out what it has lost")]
    Reconciling,
    /// What was asked for is not there. Says nothing against the tier.
    #[error("the lower tier no longer has this piece")]
    Gone,
    /// What is there is not what should be: damaged, moved, or written by somebody else. Says nothing against the
    /// tier.
    #[error("what the lower tier has of this piece is unreadable")]
    Unreadable,
    /// It takes no writes, and answers reads: it is full, or too few of its replicas are there. Says nothing against reads.
    #[error("the lower tier takes no writes")]
    TakesNoWrites(#[source] Box<dyn Error + Send + Sync>),
    /// It could not do it.
    #[error("the lower tier failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

/// Letters of a reason.
const MAX_REASON: usize = 300;

impl LowerError {
    /// Whether it says something against the tier.
    pub(crate) fn is_failure(&self) -> bool {
        !matches!(self, LowerError::Gone | LowerError::Unreadable | LowerError::Reconciling)
    }

    /// It and what is behind it, in one line of a few words, whatever a server has said.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            let cause = error.to_string();
            // Some say themselves what is behind them.
            if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
            source = error.source();
        }
        let words = text.split(|letter: char| letter.is_whitespace() || letter.is_control());
        let mut line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        if let Some((end, _)) = line.char_indices().nth(MAX_REASON) {
            line.truncate(end);
            line.push('…');
        }
        line
    }
}

/// Whether a tier answers a cache ([`Cache::lower_health`](crate::Cache::lower_health)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// The last call was answered, or there has been none. Of a tier that knows its readers: the last that said how far
    /// the log is read, or had a purge in it. Single reads may still fail; they are counted.
    Answers,
    /// Since the last answer every such call has failed.
    Fails {
        /// For so long.
        lasts: Duration,
        /// What the last one said, for people.
        reason: String,
    },
}

/// How a cache uses the tier below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long one call may take that a reader waits for: 50 ms. Others have a second.
    pub budget: Duration,
    /// After so many failures in a row the tier is left alone: 5.
    pub failures: u32,
    /// For so long, then one call tries whether it is back: 1 s.
    pub rest: Duration,
    /// Purges that wait to be acknowledged below: 16,384, or fewer that name 16 MiB. One more, and they all become
    /// one hard purge of everything; until that is acknowledged, nothing below is used.
    pub max_outstanding: usize,
    /// Records that are on their way down at once: 64. One more is not written.
    pub max_writes: usize,
    /// The bytes of those, most of which are in memory anyway: 64 MiB. What would be more is not written.
    pub max_write_bytes: usize,
    /// For how long a fetch has a key to itself among all processes, if its process vanishes: 3 s. Less than
    /// [`lease_wait`](Settings::lease_wait), so that of those who wait then one fetches, and not all. A tier in use by
    /// several processes renews it while the fetch goes on.
    pub lease: Duration,
    /// How long a fetch waits for that of another process at most: 5 s.
    pub lease_wait: Duration,
    /// How long [`Cache::purge`](crate::Cache::purge) waits for the tier, if it is to: 5 s. Once the tier has
    /// acknowledged the purge, it waits until that holds for all who read the tier, as long as that takes
    /// ([`max_incoherence`](Settings::max_incoherence) and its margin at most).
    /// [`Cache::purge_within`](crate::Cache::purge_within) says how long both may take together.
    pub purge_wait: Duration,
    /// For how long what is in memory, and what is known of the log, is gone by after the tier has last said where
    /// that ends: 10 s. So long a cache that has lost the tier goes on as if it had it; and a purge holds for one that
    /// does not answer when this and [`max_incoherence_margin`](Settings::max_incoherence_margin) are over. Of tiers
    /// that know their readers. At most 30 minutes.
    pub max_incoherence: Duration,
    /// What is waited beyond that, for what is under way and for clocks that run at other speeds: 2 s.
    pub max_incoherence_margin: Duration,
    /// What becomes of what is in memory after that.
    pub unsure: Unsure,
}

/// What becomes of an entry of which nobody can tell any more whether another process has purged it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsure {
    /// It is fetched anew, and what was fetched is used for [`Settings::max_incoherence`].
    #[default]
    Fetch,
    /// It is stale, and is served as its stale windows allow, until the tier has not been heard of for 55 minutes: a
    /// purge may wait for it no longer than an hour. Before the tier has been heard of nothing is served.
    ServeStale,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            budget: Duration::from_millis(50),
            failures: 5,
            rest: Duration::from_secs(1),
            max_outstanding: 1 << 14,
            max_writes: 64,
            max_write_bytes: 64 << 20,
            lease: Duration::from_secs(3),
            lease_wait: Duration::from_secs(5),
            purge_wait: Duration::from_secs(5),
            max_incoherence: Duration::from_secs(10),
            max_incoherence_margin: Duration::from_secs(2),
            unsure: Unsure::default(),
        }
    }
}

impl Position {
    /// So many purges this one is beyond what has been done up to `done`.
    pub(crate) fn behind(self, done: Option<Position>) -> u64 {
        let done = done.filter(|done| done.generation == self.generation);
        self.number.saturating_sub(done.map_or(0, |done| done.number))
    }
}

impl Folded {
    /// The number of the last of them.
    pub fn newest(&self) -> u64 {
        self.soft.iter().map(|(number, _)| *number).fold(self.hard, u64::max)
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
            Scope::Glob(glob) => key.starts_with(glob.prefix()),
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

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_a_few_words_and_says_nothing_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("a parse error: {0}")]
        struct Outer(#[source] std::num::ParseIntError);

        let of_digits = "x".parse::<u8>().unwrap_err();
        let error = LowerError::Failed(Box::new(Outer(of_digits)));
        let said = "the lower tier failed: a parse error: invalid digit found in string";
        assert_eq!(error.with_causes(), said);
        let error = LowerError::Failed("one\r\n2026 ERROR\x1b[31m two\t\n".into());
        assert_eq!(error.with_causes(), "the lower tier failed: one 2026 ERROR [31m two");
        let error = LowerError::Failed("ä".repeat(100_000).into());
        assert_eq!(error.with_causes().chars().count(), MAX_REASON + 1);
    }
}
