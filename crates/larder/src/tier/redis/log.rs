//! Log: the bytes of a purge in the log, and of what is remembered of purges together.
//!
//! All versions of Larder read the same log. What one of them cannot read means everything, hard.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    purge::{Mode, Scope},
    tier::lower::{Folded, FoldedScope, LowerPurge, PurgeId, bucket},
};

/// The first byte of an entry.
const FORMAT: u8 = 1;

/// A purge as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    is_hard: bool,
    scopes: Vec<WrittenScope>,
}

/// The order of these is what is written. One more goes to the end.
#[derive(Serialize, Deserialize)]
enum WrittenScope {
    Key(String),
    Prefix(String),
    Tag(String),
    Everything,
}

/// What a purge names and leaves.
pub(super) fn encode(purge: &LowerPurge) -> Vec<u8> {
    let written = |scope: &Scope| match scope {
        Scope::Key(key) => WrittenScope::Key(key.clone()),
        Scope::Prefix(prefix) => WrittenScope::Prefix(prefix.clone()),
        // A version that does not know a scope takes it for everything, hard.
        Scope::Glob(glob) => WrittenScope::Prefix(glob.prefix().to_owned()),
        Scope::Tag(tag) => WrittenScope::Tag(tag.clone()),
        Scope::Everything => WrittenScope::Everything,
    };
    let scopes = purge.scopes.iter().map(written).collect();
    let written = Written { is_hard: purge.mode == Mode::Hard, scopes };
    // Without its bytes it would be read as everything, hard.
    postcard::to_extend(&written, vec![FORMAT]).unwrap_or_default()
}

/// The purge with this id that was written so.
pub(super) fn decode(id: PurgeId, bytes: &[u8]) -> LowerPurge {
    let written = match bytes {
        [FORMAT, rest @ ..] => postcard::take_from_bytes::<Written>(rest).ok(),
        _ => None,
    };
    let whole = written.filter(|(_, rest)| rest.is_empty()).map(|(written, _)| written);
    let Some(Written { is_hard, scopes }) = whole else {
        return LowerPurge { id, scopes: vec![Scope::Everything], mode: Mode::Hard };
    };
    let scope = |written| match written {
        WrittenScope::Key(key) => Scope::Key(key),
        WrittenScope::Prefix(prefix) => Scope::Prefix(prefix),
        WrittenScope::Tag(tag) => Scope::Tag(tag),
        WrittenScope::Everything => Scope::Everything,
    };
    let mode = if is_hard { Mode::Hard } else { Mode::Soft };
    LowerPurge { id, scopes: scopes.into_iter().map(scope).collect(), mode }
}

/// The fields under which a purge is remembered, each once.
pub(super) fn fences(purge: &LowerPurge) -> BTreeSet<String> {
    let field = |scope: &Scope| match scope {
        Scope::Key(key) => format!("k:{}", bucket(key)),
        Scope::Tag(tag) => format!("t:{}", bucket(tag)),
        Scope::Prefix(prefix) => format!("p:{prefix}"),
        Scope::Glob(glob) => format!("p:{}", glob.prefix()),
        Scope::Everything => "e".to_owned(),
    };
    purge.scopes.iter().map(field).collect()
}

/// What is remembered under a field, at this time of the server's; `end`: where the log ends.
pub(super) fn folded(field: &[u8], value: &[u8], now_ms: u64, end: u64) -> Folded {
    let read = || Some((scope(field)?, numbers(value, now_ms)?));
    let (scope, (hard, soft)) = read().unwrap_or((FoldedScope::Everything, (end, Vec::new())));
    Folded { scope, hard, soft }
}

fn scope(field: &[u8]) -> Option<FoldedScope> {
    let field = str::from_utf8(field).ok()?;
    Some(match field.split_once(':') {
        None if field == "e" => FoldedScope::Everything,
        Some(("k", bucket)) => FoldedScope::Keys(bucket.parse().ok()?),
        Some(("t", bucket)) => FoldedScope::Tags(bucket.parse().ok()?),
        Some(("p", prefix)) => FoldedScope::Prefix(prefix.to_owned()),
        _ => return None,
    })
}

type Numbers = (u64, Vec<(u64, Duration)>);

fn numbers(value: &[u8], now_ms: u64) -> Option<Numbers> {
    let (hard, soft) = str::from_utf8(value).ok()?.split_once(';')?;
    let pair = |pair: &str| {
        let (number, at_ms) = pair.split_once(':')?;
        let age = now_ms.saturating_sub(at_ms.parse().ok()?);
        Some((number.parse().ok()?, Duration::from_millis(age)))
    };
    let soft = soft.split(',').filter(|pair| !pair.is_empty()).map(pair);
    Some((hard.parse().ok()?, soft.collect::<Option<_>>()?))
}

/// How the log names a purge.
pub(super) fn id_text(id: PurgeId) -> String {
    format!("{:016x}{:016x}", id.source, id.number)
}

/// One that is not ours is nobody's.
pub(super) fn parse_id(text: &[u8]) -> PurgeId {
    let read = || {
        let id = u128::from_str_radix(str::from_utf8(text).ok()?, 16).ok()?;
        Some(PurgeId { source: (id >> 64) as u64, number: id as u64 })
    };
    read().unwrap_or(PurgeId { source: 0, number: 0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: PurgeId = PurgeId { source: 0xfedc_ba98_7654_3210, number: 7 };

    fn any_scope() -> impl Strategy<Value = Scope> {
        prop_oneof![
            any::<String>().prop_map(Scope::Key),
            any::<String>().prop_map(Scope::Prefix),
            any::<String>().prop_map(Scope::Tag),
            Just(Scope::Everything),
        ]
    }

    fn everything() -> LowerPurge {
        LowerPurge { id: ID, scopes: vec![Scope::Everything], mode: Mode::Hard }
    }

    proptest! {
        #[test]
        fn a_purge_is_read_as_it_was_written(
            scopes in proptest::collection::vec(any_scope(), 0..8),
            is_hard in any::<bool>(),
        ) {
            let purge = LowerPurge { id: ID, scopes, mode: if is_hard { Mode::Hard } else { Mode::Soft } };
            prop_assert_eq!(decode(parse_id(id_text(ID).as_bytes()), &encode(&purge)), purge);
        }

        #[test]
        fn whatever_bytes_there_are_nothing_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            number in any::<u64>(),
        ) {
            let read = decode(parse_id(&bytes), &bytes);
            prop_assert!(!bytes.is_empty() || read.scopes == [Scope::Everything]);
            folded(&bytes, &bytes, number, number);
        }
    }

    #[test]
    fn what_cannot_be_read_means_everything_hard() {
        let purge = LowerPurge { id: ID, scopes: vec![Scope::Tag("a".into())], mode: Mode::Soft };
        let written = encode(&purge);
        let later = [&[FORMAT + 1], &written[1..]].concat();
        let longer = [&written[..], &[0]].concat();
        let unknown_scope = [FORMAT, 0, 1, 9];
        for bytes in [&later[..], &longer, &written[..written.len() - 1], &unknown_scope, &[]] {
            assert_eq!(decode(ID, bytes), everything(), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_remembered_is_read_with_its_age_and_the_unreadable_is_everything_there_was() {
        let age = Duration::from_millis;
        let read = |field: &str, value: &str| folded(field.as_bytes(), value.as_bytes(), 1000, 99);
        let tags = read("t:513", "7;8:400,9:1200");
        let soft = vec![(8, age(600)), (9, age(0))];
        assert_eq!(tags, Folded { scope: FoldedScope::Tags(513), hard: 7, soft });
        let prefix = read("p:a:b", "7;");
        let scope = FoldedScope::Prefix("a:b".into());
        assert_eq!(prefix, Folded { scope, hard: 7, soft: Vec::new() });
        let everything = Folded { scope: FoldedScope::Everything, hard: 99, soft: Vec::new() };
        for (field, value) in
            [("t:70000", "7;"), ("x:1", "7;"), ("", "7;"), ("e", ""), ("e", "7"), ("e", "7;8")]
        {
            assert_eq!(read(field, value), everything, "{field} {value}");
        }
    }

    #[test]
    fn two_names_of_one_bucket_are_remembered_once() {
        let scopes =
            vec![Scope::Key("a".into()), Scope::Key("a".into()), Scope::Prefix("a:".into())];
        let fields = fences(&LowerPurge { id: ID, scopes, mode: Mode::Soft });
        assert_eq!(fields, BTreeSet::from([format!("k:{}", bucket("a")), "p:a:".to_owned()]));
    }
}
