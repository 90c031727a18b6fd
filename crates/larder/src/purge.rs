//! Purge: what is no longer true, how it goes, and what has been done about it.

pub(crate) mod follow;
pub(crate) mod glob;
pub(crate) mod judge;
pub(crate) mod last;
pub(crate) mod log;
pub(crate) mod tags;

use std::{fmt, sync::Arc, time::SystemTime};

pub use self::{
    follow::{MadePurge, PurgeFollower},
    glob::{Glob, GlobError},
};
use crate::{key::CacheKey, tier::lower::Position};

/// A position in the log of purges: the number of the last that a fetch, or a reader, knows of.
pub(crate) type Fence = u64;

/// A purge to be made: what it names, and what it leaves of that.
///
/// ```
/// use larder::{Cache, Purge};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), larder::PurgeError> {
/// let cache = Cache::<String>::builder().build();
/// let receipt = cache.purge(Purge::tag("posts").hard()).await?;
/// println!("{receipt}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// What it names.
    pub scope: Scope,
    /// What it leaves of that.
    pub mode: Mode,
    /// The outermost tier whose answer [`Cache::purge`](crate::Cache::purge) waits for. Every tier gets
    /// the purge in any case.
    pub wait: Tier,
    /// Who asks for it, and what it is called. For whoever follows the purges ([`PurgeFollower`]).
    pub asked: Option<Asked>,
}

/// Who has asked for a purge, and what it is called: words for records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What it is called; several that were asked for at once have one name.
    pub id: Arc<str>,
    /// Who.
    pub by: Arc<str>,
    /// By which caches further in or out it has come here, the first one first, with commas between them: each by the name
    /// that it has while it runs. Empty: it was asked for here.
    pub came_by: Arc<str>,
}

/// What a purge names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// The entry under this key.
    Key(String),
    /// Every entry whose key begins so. Looks at every key: tags are cheaper.
    Prefix(String),
    /// Every entry whose key this pattern fits. Looks at every key, once. Tiers below know beginnings only: there it is
    /// all that begins as the pattern does up to its first star, and so it is for other processes.
    Glob(Glob),
    /// Every entry that carries this tag, however many those are: a single step.
    Tag(String),
    /// Every entry.
    Everything,
}

/// What a purge leaves of the entries that it names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are stale: served while they are refreshed, or if the origin fails, as far as their stale
    /// windows allow.
    #[default]
    Soft,
    /// They are gone.
    Hard,
}

/// Where copies are kept, from the inside out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Tier {
    /// In this process.
    #[default]
    Memory,
    /// Beneath many processes.
    Shared,
    /// Outside, before all of them.
    Cdn,
}

impl Purge {
    /// The soft purge of one key; [`hard`](Purge::hard) makes it what [`Cache::remove`](crate::Cache::remove) does.
    pub fn key<'k>(key: impl Into<CacheKey<'k>>) -> Self {
        Purge::of(Scope::Key(key.into().into()))
    }

    /// The soft purge of every key that begins so.
    pub fn prefix<'k>(prefix: impl Into<CacheKey<'k>>) -> Self {
        Purge::of(Scope::Prefix(prefix.into().into()))
    }

    /// The soft purge of every key that this pattern fits.
    pub fn glob(glob: Glob) -> Self {
        Purge::of(Scope::Glob(glob))
    }

    /// The soft purge of every entry that carries this tag.
    pub fn tag(tag: impl Into<String>) -> Self {
        Purge::of(Scope::Tag(tag.into()))
    }

    /// The soft purge of everything.
    pub fn everything() -> Self {
        Purge::of(Scope::Everything)
    }

    fn of(scope: Scope) -> Self {
        Purge { scope, mode: Mode::default(), wait: Tier::default(), asked: None }
    }

    /// The same, and nothing is left of what it names.
    pub fn hard(self) -> Self {
        self.mode(Mode::Hard)
    }

    /// The same in this mode.
    pub fn mode(self, mode: Mode) -> Self {
        Purge { mode, ..self }
    }

    /// The same, and whoever asks for it waits until this tier has answered.
    pub fn wait(self, tier: Tier) -> Self {
        Purge { wait: tier, ..self }
    }

    /// The same, and this is told to whoever follows the purges.
    pub fn asked(self, asked: Asked) -> Self {
        Purge { asked: Some(asked), ..self }
    }
}

/// What has been done about a purge when [`Cache::purge`](crate::Cache::purge) returns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// What was purged.
    pub scope: Scope,
    /// How.
    pub mode: Mode,
    /// Its number in the cache's log of purges. A later purge has a higher one, whatever it names.
    pub number: u64,
    /// When it got the number, by the system's clock.
    pub at: SystemTime,
    /// How many entries in memory could still be served until then. `None` where they are not counted: a
    /// purge by tag looks for none.
    pub entries: Option<usize>,
    /// How far each tier is that the cache has, from the inside out.
    pub tiers: Vec<TierReceipt>,
}

/// How far one tier is with a purge.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierReceipt {
    /// Which tier.
    pub tier: Tier,
    /// How far it is.
    pub state: TierState,
    /// What is purged there, where that is more than [was named](Receipt::scope): a [pattern](Scope::Glob) is the prefix
    /// up to its first star in tiers below memory, and so in all that share them.
    pub scope: Option<Scope>,
    /// Of a tier that has acknowledged it: where it is in that tier's log. Whoever has done all up to there has done it. Of
    /// purges that were sent in one call this is the last one's place, so its own number may be lower. After the tier has lost
    /// something, another log (another [generation](Position::generation)) says nothing of it.
    pub position: Option<Position>,
    /// Of a tier that has acknowledged it: whether a replica has it. `None` where nobody has asked, or been told.
    pub replication: Option<Replication>,
    /// Of a tier that has acknowledged it, and may yet lose it: why.
    pub doubt: Option<Doubt>,
    /// Of a tier that has not acknowledged it: whether it is on disk here. `None` where there is no file for it
    /// ([`Builder::outbox`](crate::Builder::outbox)).
    pub outbox: Option<OnDisk>,
}

/// Whether what a tier has acknowledged survives the loss of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replication {
    /// There is one server, and no replica of it, nor has one been seen for an hour.
    Single,
    /// A replica has it.
    Replicated,
    /// No replica has said in time that it has it, or those that there were are gone. A server that is lost now may take it away. Those who have read it
    /// append it again; where there is an outbox on disk it stays there until a replica has it.
    Unreplicated,
}

/// Why a tier may lose what it has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// The server takes writes though too few of its replicas answer: cut off from them, it acknowledges what a failover
    /// loses. More than half of all servers have it where `min-replicas-to-write` is more than (n − 1) / 2 of n replicas;
    /// it is less, or cannot be seen.
    MinReplicasToWrite,
}

/// Whether a purge that waits to be sent is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDisk {
    /// It is: it outlives this process.
    Yes,
    /// It is in memory alone.
    No {
        /// Why, for people.
        reason: String,
    },
}

impl Scope {
    /// What tiers below memory purge for it, where that is more.
    pub(crate) fn below(&self) -> Option<Scope> {
        match self {
            Scope::Glob(glob) if glob.prefix().is_empty() => Some(Scope::Everything),
            Scope::Glob(glob) => Some(Scope::Prefix(glob.prefix().to_owned())),
            Scope::Key(_) | Scope::Prefix(_) | Scope::Tag(_) | Scope::Everything => None,
        }
    }
}

impl TierReceipt {
    /// One of which there is no more to say.
    pub(crate) fn of(tier: Tier, state: TierState) -> Self {
        TierReceipt {
            tier,
            state,
            scope: None,
            position: None,
            replication: None,
            doubt: None,
            outbox: None,
        }
    }
}

impl Replication {
    /// The word for it: `single`, `replicated` or `unreplicated`.
    pub fn as_str(self) -> &'static str {
        match self {
            Replication::Single => "single",
            Replication::Replicated => "replicated",
            Replication::Unreplicated => "unreplicated",
        }
    }
}

impl Doubt {
    /// What there is to say: `may lose acknowledged purges: min-replicas-to-write`.
    pub fn as_str(self) -> &'static str {
        match self {
            Doubt::MinReplicasToWrite => "may lose acknowledged purges: min-replicas-to-write",
        }
    }
}

/// `on disk`, or `not on disk: ` and why.
impl fmt::Display for OnDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OnDisk::Yes => f.write_str("on disk"),
            OnDisk::No { reason } => write!(f, "not on disk: {reason}"),
        }
    }
}

/// `shared applied by 3 of 3 (unreplicated)`.
impl fmt::Display for TierReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its position is for programs.
        let TierReceipt { tier, state, scope, position: _, replication, doubt, outbox } = self;
        write!(f, "{tier} {state}")?;
        let notes = [
            scope.as_ref().map(|scope| format!("there {scope}")),
            replication.map(|replication| replication.as_str().to_owned()),
            doubt.map(|doubt| format!("the server {}", doubt.as_str())),
            outbox.as_ref().map(ToString::to_string),
        ];
        let notes: Vec<_> = notes.into_iter().flatten().collect();
        if notes.is_empty() { Ok(()) } else { write!(f, " ({})", notes.join("; ")) }
    }
}

/// How far a tier is with a purge.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TierState {
    /// It holds in so many of the tier's parts (instances, nodes): nothing older than it is served there as
    /// fresh (soft), or at all (hard), to anybody who asks from now on.
    Applied {
        /// In so many it holds.
        by: usize,
        /// That is how many there are.
        of: usize,
    },
    /// So many have said that it holds, and of the others none can still serve what is older: they have not heard from
    /// the tier for so long that they no longer go by what they know.
    Lapsed {
        /// So many have said it.
        by: usize,
        /// That is how many there are.
        of: usize,
        /// Those who have not; of many, some.
        missing: Vec<String>,
    },
    /// It is written down here, and will be sent: on disk, where there is a file for it
    /// ([`Builder::outbox`](crate::Builder::outbox)), else in memory.
    Queued,
    /// It is on its way, and nothing has come back.
    Sent,
    /// The tier has said that it has it. Whether it holds in all of the tier's parts nobody has waited for.
    Confirmed,
    /// The tier could not be told.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

/// Why a purge was not made. Nothing was purged then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PurgeError {
    /// It was to wait for a tier that the cache does not have.
    #[error("there is no tier {tier} to wait for")]
    NoTier {
        /// Which one.
        tier: Tier,
    },
}

impl Mode {
    /// The word for it: `soft` or `hard`.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Soft => "soft",
            Mode::Hard => "hard",
        }
    }
}

impl Tier {
    /// The word for it: `memory`, `shared` or `cdn`.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Memory => "memory",
            Tier::Shared => "shared",
            Tier::Cdn => "cdn",
        }
    }
}

impl TierState {
    /// The word for it: `applied`, `lapsed`, `queued`, `sent`, `confirmed` or `failed`.
    pub fn as_str(&self) -> &'static str {
        match self {
            TierState::Applied { .. } => "applied",
            TierState::Lapsed { .. } => "lapsed",
            TierState::Queued => "queued",
            TierState::Sent => "sent",
            TierState::Confirmed => "confirmed",
            TierState::Failed { .. } => "failed",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `key /posts/1`, `prefix /posts`, `glob /posts/*`, `tag posts` or `everything`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Key(key) => write!(f, "key {key}"),
            Scope::Prefix(prefix) => write!(f, "prefix {prefix}"),
            Scope::Glob(glob) => write!(f, "glob {glob}"),
            Scope::Tag(tag) => write!(f, "tag {tag}"),
            Scope::Everything => f.write_str("everything"),
        }
    }
}

impl fmt::Display for TierState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            TierState::Applied { by, of } => write!(f, " by {by} of {of}"),
            TierState::Lapsed { by, of, missing } => {
                write!(f, " by {by} of {of}, without {}", missing.join(", "))
            }
            TierState::Failed { reason } => write!(f, ": {reason}"),
            TierState::Queued | TierState::Sent | TierState::Confirmed => Ok(()),
        }
    }
}

/// In one line: `purge 17, key /posts/1, hard, entries 1: memory applied by 1 of 1`.
impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "purge {}, {}, {}", self.number, self.scope, self.mode)?;
        if let Some(entries) = self.entries {
            write!(f, ", entries {entries}")?;
        }
        f.write_str(":")?;
        for (nth, receipt) in self.tiers.iter().enumerate() {
            let comma = if nth == 0 { "" } else { "," };
            write!(f, "{comma} {receipt}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_reads_as_one_line() {
        let tiers = [
            (Tier::Memory, TierState::Applied { by: 1, of: 1 }),
            (Tier::Shared, TierState::Sent),
            (Tier::Cdn, TierState::Failed { reason: "no answer".to_owned() }),
        ];
        let receipt = Receipt {
            scope: Scope::Tag("posts".to_owned()),
            mode: Mode::Hard,
            number: 17,
            at: SystemTime::UNIX_EPOCH,
            entries: None,
            tiers: tiers.map(|(tier, state)| TierReceipt::of(tier, state)).into(),
        };
        let tiers = "memory applied by 1 of 1, shared sent, cdn failed: no answer";
        assert_eq!(receipt.to_string(), format!("purge 17, tag posts, hard: {tiers}"));
        let counted = Receipt { entries: Some(3), ..receipt };
        assert_eq!(counted.to_string(), format!("purge 17, tag posts, hard, entries 3: {tiers}"));
        let shared = TierReceipt {
            replication: Some(Replication::Unreplicated),
            doubt: Some(Doubt::MinReplicasToWrite),
            ..TierReceipt::of(Tier::Shared, TierState::Confirmed)
        };
        let notes = "unreplicated; the server may lose acknowledged purges: min-replicas-to-write";
        assert_eq!(shared.to_string(), format!("shared confirmed ({notes})"));
    }

    #[test]
    fn a_tier_below_purges_what_a_pattern_begins_with_and_says_so() {
        let below = |glob: &str| Scope::Glob(Glob::new(glob).unwrap()).below();
        assert_eq!(below("//h/a*.html"), Some(Scope::Prefix("//h/a".to_owned())));
        assert_eq!(below("*.html"), Some(Scope::Everything));
        assert_eq!(Scope::Tag("posts".to_owned()).below(), None);
        let shared = TierReceipt {
            scope: below("//h/a*.html"),
            ..TierReceipt::of(Tier::Shared, TierState::Sent)
        };
        assert_eq!(shared.to_string(), "shared sent (there prefix //h/a)");
    }
}
