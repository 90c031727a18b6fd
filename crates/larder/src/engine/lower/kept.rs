//! Kept: the bytes of a purge in the outbox's file.
//!
//! What cannot be read means everything, hard: it was a purge, and nobody knows of what.

use std::time::{Duration, SystemTime};

use crate::{
    purge::{Mode, Scope},
    sync,
    tier::lower::{LowerPurge, PurgeId},
};

/// The first byte.
const FORMAT: u8 = 1;

/// A purge that an earlier process has left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) purge: LowerPurge,
    /// When it was made. A system's clock may step: this decides for how long stale answers are served, and nothing else.
    pub(super) at: SystemTime,
}

pub(super) fn encode(purge: &LowerPurge, at: SystemTime) -> Vec<u8> {
    let millis = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&purge.id.source.to_le_bytes());
    bytes.extend_from_slice(&purge.id.number.to_le_bytes());
    bytes.extend_from_slice(&(millis as u64).to_le_bytes());
    bytes.push(u8::from(purge.mode == Mode::Hard));
    for scope in &purge.scopes {
        let (kind, name) = match scope {
            Scope::Key(key) => (b'k', key.as_str()),
            Scope::Prefix(prefix) => (b'p', prefix.as_str()),
            Scope::Glob(glob) => (b'p', glob.prefix()),
            Scope::Tag(tag) => (b't', tag.as_str()),
            Scope::Everything => (b'e', ""),
        };
        bytes.push(kind);
        bytes.extend_from_slice(&(name.len() as u64).to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Kept {
    read(bytes).unwrap_or_else(|| Kept { purge: everything(), at: SystemTime::now() })
}

/// A purge that stands for some that cannot be read.
pub(super) fn everything() -> LowerPurge {
    let id = PurgeId { source: sync::random() as u64, number: 1 };
    LowerPurge { id, scopes: vec![Scope::Everything], mode: Mode::Hard }
}

fn read(bytes: &[u8]) -> Option<Kept> {
    let rest = bytes.strip_prefix(&[FORMAT])?;
    let (source, rest) = number_and_rest(rest)?;
    let (number, rest) = number_and_rest(rest)?;
    let (millis, rest) = number_and_rest(rest)?;
    let (mode, mut rest) = match rest {
        [0, rest @ ..] => (Mode::Soft, rest),
        [1, rest @ ..] => (Mode::Hard, rest),
        _ => return None,
    };
    let mut scopes = Vec::new();
    while let [kind, after @ ..] = rest {
        let (length, after) = number_and_rest(after)?;
        let (name, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        let name = str::from_utf8(name).ok()?.to_owned();
        scopes.push(match kind {
            b'k' => Scope::Key(name),
            b'p' => Scope::Prefix(name),
            b't' => Scope::Tag(name),
            b'e' => Scope::Everything,
            _ => return None,
        });
        rest = after;
    }
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))?;
    Some(Kept { purge: LowerPurge { id: PurgeId { source, number }, scopes, mode }, at })
}

fn number_and_rest(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_scope() -> impl Strategy<Value = Scope> {
        prop_oneof![
            any::<String>().prop_map(Scope::Key),
            any::<String>().prop_map(Scope::Prefix),
            any::<String>().prop_map(Scope::Tag),
            Just(Scope::Everything),
        ]
    }

    proptest! {
        #[test]
        fn a_purge_is_read_as_it_was_kept(
            scopes in proptest::collection::vec(any_scope(), 0..8),
            is_hard in any::<bool>(),
            (source, number, millis) in any::<(u64, u64, u32)>(),
        ) {
            let mode = if is_hard { Mode::Hard } else { Mode::Soft };
            let purge = LowerPurge { id: PurgeId { source, number }, scopes, mode };
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(millis.into());
            let bytes = encode(&purge, at);
            prop_assert_eq!(decode(&bytes), Kept { purge, at });
            // Cut short it is read as what it is, or as one of fewer names only where it ends between two.
            for length in 0..26 {
                prop_assert_eq!(decode(&bytes[..length]).purge.scopes, vec![Scope::Everything]);
            }
        }

        #[test]
        fn whatever_bytes_there_are_nothing_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            decode(&bytes);
        }
    }
}
