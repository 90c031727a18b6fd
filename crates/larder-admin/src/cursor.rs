//! Cursor: where a page ends, in a word that the next question gives back.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use larder::listing::Place;

/// A place in an order over several caches. Of entries with the same rank and key, that of the cache that was named first
/// comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) place: Place,
    pub(crate) cache: usize,
}

/// Longer ones were not made here.
const LONGEST: usize = 1 << 20;

impl Cursor {
    pub(crate) fn to_word(&self) -> String {
        let Cursor { place: Place { rank, key }, cache } = self;
        let mut bytes = rank.to_be_bytes().to_vec();
        bytes.extend(u16::try_from(*cache).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend(key.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None`: it is none.
    pub(crate) fn of_word(word: &str) -> Option<Cursor> {
        let bytes = (word.len() <= LONGEST).then(|| URL_SAFE_NO_PAD.decode(word).ok()).flatten()?;
        let (rank, rest) = bytes.split_first_chunk::<8>()?;
        let (cache, key) = rest.split_first_chunk::<2>()?;
        let key = std::str::from_utf8(key).ok()?.to_owned();
        let place = Place { rank: u64::from_be_bytes(*rank), key };
        Some(Cursor { place, cache: u16::from_be_bytes(*cache).into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_and_nothing_else_is_one() {
        for (rank, key, cache) in [(0, "", 0), (u64::MAX, "/é?&", 3), (7, "a b", 65_535)] {
            let cursor = Cursor { place: Place { rank, key: key.to_owned() }, cache };
            assert_eq!(Cursor::of_word(&cursor.to_word()), Some(cursor));
        }
        for word in ["", "x", "AAAA", "====", "AAAAAAAAAAAAAP8_"] {
            assert_eq!(Cursor::of_word(word), None, "{word}");
        }
    }
}
