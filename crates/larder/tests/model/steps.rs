//! Steps: what is done to a cache, at random.

use proptest::{collection::vec, prelude::*};

/// Keys `a0` to `a3` and `b0` to `b3`.
pub(crate) const KEYS: u8 = 8;
const TAGS: u8 = 3;

pub(crate) type Key = u8;

pub(crate) fn name(key: Key) -> String {
    format!("{}{}", prefix(key / 4), key % 4)
}

pub(crate) fn prefix(number: u8) -> &'static str {
    ["a", "b"][usize::from(number)]
}

pub(crate) fn tag(number: u8) -> String {
    format!("tag {number}")
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Insert(Key, Put),
    Get(Key),
    /// A reader that brings a fetch along; if it is needed, `meanwhile` happens before it ends.
    Ask {
        key: Key,
        reply: Option<Put>,
        meanwhile: Vec<Step>,
    },
    Remove(Key, Mode),
    Take(Key),
    Touch {
        key: Key,
        secs: u64,
    },
    Compute(Key, Choice),
    /// A bit for each key that goes.
    RetainLocal(u8),
    Clear(Mode),
    PurgeTag(u8, Mode),
    PurgePrefix(u8, Mode),
    Advance {
        secs: u64,
    },
    Sweep,
    Resize {
        max_bytes: usize,
    },
}

/// What is made of a key.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    Keep,
    Store(Put),
    Remove,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    Soft,
    Hard,
}

/// What is to be stored.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub(crate) keep: Keep,
    /// A bit for each.
    pub(crate) tags: u8,
    pub(crate) heap_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    AsTheCacheSays,
    For(Windows),
    Not,
}

/// In seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Windows {
    pub(crate) ttl: u64,
    pub(crate) revalidate: u64,
    pub(crate) rescue: u64,
}

pub(crate) fn windows() -> impl Strategy<Value = Windows> {
    (0..20_u64, 0..20_u64, 0..40_u64).prop_map(|(ttl, revalidate, rescue)| Windows {
        ttl,
        revalidate,
        rescue,
    })
}

fn put(max_heap_bytes: usize) -> impl Strategy<Value = Put> {
    let keep = prop_oneof![
        4 => Just(Keep::AsTheCacheSays),
        4 => windows().prop_map(Keep::For),
        1 => Just(Keep::Not),
    ];
    (keep, 0..1_u8 << TAGS, 0..max_heap_bytes).prop_map(|(keep, tags, heap_bytes)| Put {
        keep,
        tags,
        heap_bytes,
    })
}

/// Values of up to `max_heap_bytes`, and bounds from `max_bytes`.
pub(crate) fn steps(
    max_heap_bytes: usize,
    max_bytes: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<Step>> {
    let mode = || prop_oneof![Just(Mode::Soft), Just(Mode::Hard)];
    let choice = prop_oneof![
        1 => Just(Choice::Keep),
        3 => put(max_heap_bytes).prop_map(Choice::Store),
        1 => Just(Choice::Remove),
    ];
    let simple = prop_oneof![
        6 => (0..KEYS, put(max_heap_bytes)).prop_map(|(key, put)| Step::Insert(key, put)),
        6 => (0..KEYS).prop_map(Step::Get),
        2 => (0..KEYS, mode()).prop_map(|(key, mode)| Step::Remove(key, mode)),
        1 => (0..KEYS).prop_map(Step::Take),
        2 => (0..KEYS, 0..20_u64).prop_map(|(key, secs)| Step::Touch { key, secs }),
        2 => (0..KEYS, choice).prop_map(|(key, choice)| Step::Compute(key, choice)),
        1 => any::<u8>().prop_map(Step::RetainLocal),
        1 => mode().prop_map(Step::Clear),
        3 => (0..TAGS, mode()).prop_map(|(tag, mode)| Step::PurgeTag(tag, mode)),
        1 => (0..2_u8, mode()).prop_map(|(prefix, mode)| Step::PurgePrefix(prefix, mode)),
        6 => (0..15_u64).prop_map(|secs| Step::Advance { secs }),
        1 => Just(Step::Sweep),
        1 => max_bytes.prop_map(|max_bytes| Step::Resize { max_bytes }),
    ]
    .boxed();
    let reply = prop_oneof![2 => put(max_heap_bytes).prop_map(Some), 1 => Just(None)];
    let ask = (0..KEYS, reply, vec(simple.clone(), 0..3))
        .prop_map(|(key, reply, meanwhile)| Step::Ask { key, reply, meanwhile });
    vec(prop_oneof![1 => simple, 1 => ask], 1..80)
}
