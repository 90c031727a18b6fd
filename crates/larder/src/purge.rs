//! Purge: what is no longer true, how it goes, and what has been done about it.

pub(crate) mod judge;
pub(crate) mod last;
pub(crate) mod log;
pub(crate) mod tags;

use std::{fmt, time::SystemTime};

use crate::key::CacheKey;

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
}

/// What a purge names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// The entry under this key.
    Key(String),
    /// Every entry whose key begins so. Looks at every key: tags are cheaper.
    Prefix(String),
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

    /// The soft purge of every entry that carries this tag.
    pub fn tag(tag: impl Into<String>) -> Self {
        Purge::of(Scope::Tag(tag.into()))
    }

    /// The soft purge of everything.
    pub fn everything() -> Self {
        Purge::of(Scope::Everything)
    }

    fn of(scope: Scope) -> Self {
        Purge { scope, mode: Mode::default(), wait: Tier::default() }
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
    /// It is written down here, and will be sent.
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

/// `key /posts/1`, `prefix /posts`, `tag posts` or `everything`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Key(key) => write!(f, "key {key}"),
            Scope::Prefix(prefix) => write!(f, "prefix {prefix}"),
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
        for (nth, TierReceipt { tier, state }) in self.tiers.iter().enumerate() {
            let comma = if nth == 0 { "" } else { "," };
            write!(f, "{comma} {tier} {state}")?;
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
            tiers: tiers.map(|(tier, state)| TierReceipt { tier, state }).into(),
        };
        let tiers = "memory applied by 1 of 1, shared sent, cdn failed: no answer";
        assert_eq!(receipt.to_string(), format!("purge 17, tag posts, hard: {tiers}"));
        let counted = Receipt { entries: Some(3), ..receipt };
        assert_eq!(counted.to_string(), format!("purge 17, tag posts, hard, entries 3: {tiers}"));
    }
}
