//! Kept: the bytes of a purge in the file of what CDNs have still to be told.
//!
//! What cannot be read means everything, hard: it was a purge, and nobody knows of what.

use std::sync::Arc;

use larder::{Asked, Mode, Scope};

/// The first byte; the outbox of the shared tier begins its own with another.
const FORMAT: u8 = 0x10;

/// A purge that an earlier process has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) asked: Asked,
    pub(super) scopes: Vec<Scope>,
    pub(super) mode: Mode,
    /// The CDNs that it was for, by their settings, where that was written down.
    pub(super) cdns: Vec<String>,
}

/// `asked`: by which name it is remembered.
pub(super) fn encode(scopes: &[Scope], mode: Mode, asked: &Asked) -> Vec<u8> {
    let mut bytes = vec![FORMAT, u8::from(mode == Mode::Hard)];
    put(&mut bytes, b'i', &asked.id);
    put(&mut bytes, b'b', &asked.by);
    if !asked.came_by.is_empty() {
        put(&mut bytes, b'w', &asked.came_by);
    }
    for scope in scopes {
        match scope {
            Scope::Key(key) => put(&mut bytes, b'k', key),
            Scope::Prefix(prefix) => put(&mut bytes, b'p', prefix),
            Scope::Glob(glob) => put(&mut bytes, b'p', glob.prefix()),
            Scope::Tag(tag) => put(&mut bytes, b't', tag),
            _ => put(&mut bytes, b'e', ""),
        }
    }
    bytes
}

/// Writes down for which CDNs it is, behind what it is: who goes on with it may have others.
pub(super) fn put_cdns<'a>(bytes: &mut Vec<u8>, names: impl Iterator<Item = &'a str>) {
    names.for_each(|name| put(bytes, b'c', name));
}

/// The same purge, of everything: what it names is too long.
pub(super) fn widened(bytes: &[u8]) -> Vec<u8> {
    encode(&[Scope::Everything], Mode::Hard, &decode(bytes).asked)
}

fn put(bytes: &mut Vec<u8>, kind: u8, text: &str) {
    bytes.push(kind);
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

pub(super) fn decode(bytes: &[u8]) -> Kept {
    read(bytes).unwrap_or_else(everything)
}

/// A purge that stands for some that cannot be read.
pub(super) fn everything() -> Kept {
    let (id, by) = ("damaged".into(), "a file that could not be read".into());
    let asked = Asked { id, by, came_by: Arc::default() };
    Kept { asked, scopes: vec![Scope::Everything], mode: Mode::Hard, cdns: Vec::new() }
}

fn read(bytes: &[u8]) -> Option<Kept> {
    let [FORMAT, mode, rest @ ..] = bytes else { return None };
    let mut rest = rest;
    let (mut id, mut by, mut came_by) = (None, None, String::new());
    let (mut scopes, mut cdns) = (Vec::new(), Vec::new());
    while let Some((kind, after)) = rest.split_first() {
        let (length, after) = after.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (text, after) = after.split_at_checked(length)?;
        let text = std::str::from_utf8(text).ok()?.to_owned();
        match kind {
            b'i' => id = Some(text),
            b'b' => by = Some(text),
            b'w' => came_by = text,
            b'k' => scopes.push(Scope::Key(text)),
            b'p' => scopes.push(Scope::Prefix(text)),
            b't' => scopes.push(Scope::Tag(text)),
            b'c' => cdns.push(text),
            b'e' => scopes.push(Scope::Everything),
            _ => return None,
        }
        rest = after;
    }
    let mode = match mode {
        0 => Mode::Soft,
        1 => Mode::Hard,
        _ => return None,
    };
    let asked = Asked { id: id?.into(), by: by?.into(), came_by: came_by.into() };
    Some(Kept { asked, scopes, mode, cdns })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_scope() -> impl Strategy<Value = Scope> {
        prop_oneof![
            ".*".prop_map(Scope::Key),
            ".*".prop_map(Scope::Prefix),
            ".*".prop_map(Scope::Tag),
            Just(Scope::Everything),
        ]
    }

    proptest! {
        #[test]
        fn a_purge_is_read_as_it_was_kept(
            scopes in proptest::collection::vec(any_scope(), 0..5),
            is_hard in any::<bool>(),
            (id, by, came_by) in any::<(String, String, String)>(),
            cdns in proptest::collection::vec(any::<String>(), 0..3),
        ) {
            let mode = if is_hard { Mode::Hard } else { Mode::Soft };
            let asked = Asked { id: id.into(), by: by.into(), came_by: came_by.into() };
            let mut bytes = encode(&scopes, mode, &asked);
            put_cdns(&mut bytes, cdns.iter().map(String::as_str));
            prop_assert_eq!(decode(&bytes), Kept { asked, scopes, mode, cdns });
        }

        #[test]
        fn whatever_bytes_there_are_nothing_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            decode(&bytes);
            decode(&[&[FORMAT, 1][..], &bytes].concat());
        }
    }

    #[test]
    fn what_cannot_be_read_means_everything() {
        for bytes in [&b""[..], b"\x01", b"\x10\x01", b"\x10\x02i\0\0\0\0\0\0\0\0"] {
            assert_eq!(decode(bytes).scopes, [Scope::Everything], "{bytes:?}");
        }
    }
}
