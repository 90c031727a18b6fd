//! Listing: what a cache holds, told in order and a piece at a time, without holding anybody up.
//!
//! A list goes over all entries once, some at a time under a read lock, and keeps the first of them by an order: as many
//! as were asked for, so a million entries take no more memory than a thousand. What comes after those is asked for with
//! [`ListQuery::after`]. It takes as long as looking at all entries
//! does (`benches/listing.rs` measures it), so it is for a thread on which nobody waits.
//!
//! ```
//! use larder::{
//!     Cache,
//!     listing::{ListQuery, Order},
//! };
//!
//! let cache = Cache::<String>::builder().build();
//! cache.insert("short", "x".to_owned());
//! cache.insert("long", "x".repeat(1000));
//! let listed = cache.list(&ListQuery::new(Order::Bytes, 1));
//! assert_eq!((listed.rows[0].key.as_str(), listed.total, listed.beyond), ("long", 2, 1));
//! ```

use std::time::{Duration, Instant, SystemTime};

use crate::purge::{Mode, Scope};

/// In which order entries are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Order {
    /// By key, byte for byte.
    Key,
    /// What weighs most first.
    Bytes,
    /// What was fetched longest ago first.
    Age,
    /// What was asked for most first.
    Heat,
    /// What took longest to fetch first.
    Cost,
    /// What is fresh no longer, or will soon be, first.
    Expires,
}

/// A place in an order: that of an entry. Of those with one rank, the key decides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// What comes first is less. What it means depends on the order (by [`Bytes`](Order::Bytes): `u64::MAX` less what the
    /// entry weighs); it is the same each time, as long as the entry is, and so it is in all caches of a process.
    pub rank: u64,
    /// The entry's key.
    pub key: String,
}

/// Which entries are listed, and how many.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListQuery {
    /// In which order.
    pub order: Order,
    /// Only those that each of these names, as a purge would. None: all entries.
    pub scopes: Vec<Scope>,
    /// Only those after this place. `None`: from the beginning.
    pub after: Option<Place>,
    /// Whether an entry at that very place is one of them.
    pub is_inclusive: bool,
    /// So many rows at most.
    pub most: usize,
    /// Their keys take so many bytes at most; one row there is in any case. Default 4 MiB.
    pub most_bytes: usize,
    /// Then it ends, with what it has seen until then. `None`: it sees all.
    pub until: Option<Instant>,
}

impl ListQuery {
    /// All entries, from the beginning.
    pub fn new(order: Order, most: usize) -> ListQuery {
        let most_bytes = 4 << 20;
        ListQuery {
            order,
            scopes: Vec::new(),
            after: None,
            is_inclusive: false,
            most,
            most_bytes,
            until: None,
        }
    }
}

/// What was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// The first after the place that was asked for, in order.
    pub rows: Vec<Place>,
    /// How many entries are named, before and after that place.
    pub total: u64,
    /// What those weigh.
    pub bytes: u64,
    /// How many are named that come after the last row.
    pub beyond: u64,
    /// Whether all was seen: otherwise time was over, and others may belong between the rows.
    pub is_complete: bool,
    /// When it began. What was stored or went since is among the rows or not.
    pub began: SystemTime,
}

/// What an entry is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeldState {
    /// It answers.
    Fresh,
    /// It answers while it is asked for anew.
    StaleUsable,
    /// It answers only where the origin fails.
    Rescue,
    /// It answers nobody any more, and goes when it is swept or when room is needed.
    Over,
    /// The same because of a hard purge by tag.
    Purged,
}

impl HeldState {
    /// The word for it: `fresh`, `stale-usable`, `rescue`, `over` or `purged`.
    pub fn as_str(self) -> &'static str {
        match self {
            HeldState::Fresh => "fresh",
            HeldState::StaleUsable => "stale-usable",
            HeldState::Rescue => "rescue",
            HeldState::Over => "over",
            HeldState::Purged => "purged",
        }
    }
}

/// How often an entry was asked for of late, as far as that is remembered. A cache that evicts what was
/// [used least recently](crate::Eviction::Lru) keeps no count: all are cold there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Heat {
    /// Not since it was stored, or since room was needed last.
    Cold,
    /// One to three times.
    Warm,
    /// More often.
    Hot,
}

impl Heat {
    pub(crate) fn of(marks: u8) -> Heat {
        match marks {
            0 => Heat::Cold,
            1..=3 => Heat::Warm,
            _ => Heat::Hot,
        }
    }

    /// The word for it: `cold`, `warm` or `hot`.
    pub fn as_str(self) -> &'static str {
        match self {
            Heat::Cold => "cold",
            Heat::Warm => "warm",
            Heat::Hot => "hot",
        }
    }
}

/// How far the end of something's freshness is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It is fresh for so long.
    Left(Duration),
    /// It has not been for so long.
    OverFor(Duration),
}

impl Freshness {
    pub(crate) fn of(lifetime: Duration, age: Duration) -> Freshness {
        match lifetime.checked_sub(age) {
            Some(left) if !left.is_zero() => Freshness::Left(left),
            _ => Freshness::OverFor(age.saturating_sub(lifetime)),
        }
    }

    /// The same where a soft purge came so long ago.
    pub(crate) fn marked_stale(self, ago: Duration) -> Freshness {
        match self {
            Freshness::Left(_) => Freshness::OverFor(ago),
            Freshness::OverFor(over) => Freshness::OverFor(over.max(ago)),
        }
    }

    /// In seconds; less than none once it is over.
    pub fn seconds(self) -> f64 {
        match self {
            Freshness::Left(left) => left.as_secs_f64(),
            Freshness::OverFor(over) => -over.as_secs_f64(),
        }
    }
}

/// An entry, without its value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Held {
    /// Under which it is stored.
    pub key: String,
    /// What it weighs, overhead included.
    pub bytes: u64,
    /// How long ago it was fetched, or made at its origin.
    pub age: Duration,
    /// What it is good for, purges considered.
    pub state: HeldState,
    /// How long it is fresh, or has not been.
    pub freshness: Freshness,
    /// For so long after that it answers while it is asked for anew.
    pub stale_while_revalidate: Duration,
    /// For so long after that it answers where the origin fails.
    pub stale_if_error: Duration,
    /// By which a purge finds it; one whose name is not known is `#` and a number.
    pub tags: Vec<String>,
    /// What fetching it took.
    pub cost: Duration,
    /// How often it was asked for.
    pub heat: Heat,
    /// How many responses lie there, told apart by `Vary`; one value of a library's cache.
    pub variants: usize,
}

/// The entries that carry a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TagTotals {
    /// The tag; `#` and a number where its name is not known.
    pub tag: String,
    /// How many carry it.
    pub entries: u64,
    /// What those weigh: an entry counts in each of its tags.
    pub bytes: u64,
    /// Its last purge that is remembered.
    pub last_purge: Option<TagPurge>,
}

/// The last purge of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TagPurge {
    /// When, where that is still remembered.
    pub at: Option<SystemTime>,
    /// What it left.
    pub mode: Mode,
}

/// The tags of all entries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedTags {
    /// Those on the most entries and those that weigh most, so many of each at most; what weighs most first.
    pub tags: Vec<TagTotals>,
    /// How many tags there are.
    pub total: u64,
    /// So many tags of entries were not counted, because there are more tags than are told apart
    /// (262,144).
    pub left_out: u64,
    /// When it began.
    pub began: SystemTime,
}

/// What a purge would touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Touched {
    /// So many entries that can still be served.
    pub entries: u64,
    /// What those weigh.
    pub bytes: u64,
}
