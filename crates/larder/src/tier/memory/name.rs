//! Name: an entry's key as its slot keeps it.
//!
//! Comparing keys is where a look-up waits for memory: a short key lies in the slot itself, on the
//! line that the look-up needs anyway, and needs no allocation of its own.

use crate::weigh::ALLOCATION_BYTES;

const SHORT: usize = 38;

pub(super) enum Name {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<str>),
}

impl Name {
    pub(super) fn new(key: &str) -> Self {
        if key.len() > SHORT {
            return Name::Long(key.into());
        }
        let mut bytes = [0; SHORT];
        bytes[..key.len()].copy_from_slice(key.as_bytes());
        Name::Short { len: key.len() as u8, bytes }
    }

    #[inline]
    pub(super) fn is(&self, key: &str) -> bool {
        match self {
            // By the length of the key asked for, which is known already, not by one that has yet to
            // come from memory: a comparison branches by length.
            Name::Short { len, bytes } => {
                key.len() <= SHORT
                    && begin_alike(bytes, key.as_bytes())
                    && usize::from(*len) == key.len()
            }
            Name::Long(long) => **long == *key,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Name::Short { len, bytes } => {
                str::from_utf8(&bytes[..usize::from(*len)]).expect("it was copied from a `str`")
            }
            Name::Long(long) => long,
        }
    }

    /// Bytes that a key of this length takes outside its slot.
    pub(super) fn heap_bytes(key: &str) -> usize {
        if key.len() > SHORT { key.len().saturating_add(ALLOCATION_BYTES) } else { 0 }
    }
}

/// Whether `bytes` begins with `key`, which is no longer. Keys differ in length from one look-up to the
/// next, so what branches by it, as a comparison of slices does, is often guessed wrong: here all of
/// 16 bytes and more take the same way, by their start, their middle and their end, which overlap.
#[inline]
fn begin_alike(bytes: &[u8; SHORT], key: &[u8]) -> bool {
    const { assert!(SHORT <= 3 * 16) };
    let Some(end) = key.len().checked_sub(16) else { return bytes[..key.len()] == *key };
    let is_alike = |at: usize| bytes[at..].first_chunk::<16>() == key[at..].first_chunk();
    is_alike(0) & is_alike(end / 2) & is_alike(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_length_is_its_key_and_no_other() {
        for len in [0, 1, SHORT - 1, SHORT, SHORT + 1, 1000] {
            let key = "ä".repeat(len / 2) + &"x".repeat(len % 2);
            let name = Name::new(&key);
            assert!(name.is(&key) && name.as_str() == key);
            assert!(!name.is(&(key.clone() + "x")));
            assert!(key.is_empty() || !name.is(&key[..key.floor_char_boundary(key.len() - 1)]));
        }
        assert_eq!(size_of::<Name>(), 40);
    }
}
