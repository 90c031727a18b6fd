//! Repeat: a call that a vendor may have had though nobody knows it, and what is kept of it, so that it is made again as it
//! was and under its name. A vendor that knows calls by their names does it once. Pure.
//!
//! What stands in a call is not to be found again by chance: after a restart purges come back one by one, and what is due
//! together then is not what was due together before. So it is written down before the call is made.

use std::sync::Arc;

use super::driver::Wish;

/// The first byte; a purge begins with another.
const FORMAT: u8 = 0x11;
/// A call about more is not kept: it is made again under another name, which costs a call and loses nothing.
pub(super) const MOST_PARTS: usize = 8192;

/// What a purge is called beyond the end of its process.
pub(super) type Name = [u8; 16];

/// The name of a purge that is kept as these bytes.
pub(super) fn name(kept: &[u8]) -> Name {
    shortened(blake3::hash(kept))
}

/// A purge's part in a call: the wish at this place of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) of: Name,
    pub(super) place: u32,
    /// Nothing older was on its way any more when the call was first made.
    pub(super) was_clear: bool,
}

/// A call as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// The CDN, by its settings.
    pub(super) cdn: Box<str>,
    pub(super) batch: Arc<str>,
    /// Of the wishes: by other settings the same purges may mean others.
    pub(super) digest: Name,
    /// Whose each wish is.
    pub(super) wishes: Vec<Vec<Part>>,
}

/// What tells these wishes, in this order, from any others.
pub(super) fn digest(wishes: &[Wish]) -> Name {
    let mut hasher = blake3::Hasher::new();
    for wish in wishes {
        let text = format!("{wish:?}");
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    shortened(hasher.finalize())
}

fn shortened(hash: blake3::Hash) -> Name {
    let mut name = [0; 16];
    name.copy_from_slice(&hash.as_bytes()[..16]);
    name
}

impl Kept {
    /// Whether these bytes are to be read as a call.
    pub(super) fn is_one(bytes: &[u8]) -> bool {
        bytes.first() == Some(&FORMAT)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        for text in [&*self.cdn, &*self.batch] {
            put(&mut bytes, text.len());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&self.digest);
        for parts in &self.wishes {
            put(&mut bytes, parts.len());
            for Part { of, place, was_clear } in parts {
                bytes.extend_from_slice(of);
                bytes.extend_from_slice(&place.to_le_bytes());
                bytes.push(u8::from(*was_clear));
            }
        }
        bytes
    }

    /// `None`: it cannot be read, and so is made again under another name.
    pub(super) fn decode(bytes: &[u8]) -> Option<Kept> {
        let [FORMAT, rest @ ..] = bytes else { return None };
        let mut rest = rest;
        let (cdn, batch) = (text(&mut rest)?.into(), text(&mut rest)?.into());
        let digest = *take::<16>(&mut rest)?;
        let (mut wishes, mut all) = (Vec::new(), 0);
        while !rest.is_empty() {
            let count = length(&mut rest)?;
            all += count;
            if count == 0 || all > MOST_PARTS {
                return None;
            }
            let mut parts = Vec::with_capacity(count);
            for _ in 0..count {
                let (of, place) = (*take::<16>(&mut rest)?, u32::from_le_bytes(*take(&mut rest)?));
                let [was_clear @ (0 | 1)] = *take::<1>(&mut rest)? else { return None };
                parts.push(Part { of, place, was_clear: was_clear == 1 });
            }
            wishes.push(parts);
        }
        (!wishes.is_empty()).then_some(Kept { cdn, batch, digest, wishes })
    }
}

fn put(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(taken)
}

fn length(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*take(rest)?)).ok()
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = length(rest)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use larder::Mode;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::cdn::driver::What;

    fn any_part() -> impl Strategy<Value = Part> {
        any::<(Name, u32, bool)>().prop_map(|(of, place, was_clear)| Part { of, place, was_clear })
    }

    proptest! {
        #[test]
        fn a_call_is_read_as_it_was_kept(
            (cdn, batch, digest) in any::<(String, String, Name)>(),
            wishes in vec(vec(any_part(), 1..4), 1..5),
        ) {
            let kept = Kept { cdn: cdn.into(), batch: batch.into(), digest, wishes };
            let bytes = kept.encode();
            prop_assert!(Kept::is_one(&bytes));
            prop_assert_eq!(Kept::decode(&bytes), Some(kept));
        }

        #[test]
        fn whatever_bytes_there_are_nothing_panics(bytes in vec(any::<u8>(), 0..96)) {
            Kept::decode(&bytes);
            Kept::decode(&[&[FORMAT][..], &bytes].concat());
        }
    }

    #[test]
    fn other_wishes_or_another_order_are_another_call() {
        let wish = |tag: &str, mode| Wish { what: What::Tag(tag.to_owned()), mode };
        let (a, b) = (wish("a", Mode::Hard), wish("b", Mode::Hard));
        let all = [
            vec![a.clone()],
            vec![b.clone()],
            vec![a.clone(), b.clone()],
            vec![b.clone(), a.clone()],
            vec![wish("a", Mode::Soft)],
        ];
        let digests: std::collections::HashSet<Name> =
            all.iter().map(|wishes| digest(wishes)).collect();
        assert_eq!(digests.len(), all.len());
        assert_eq!(digest(&[a.clone(), b.clone()]), digest(&[a, b]));
    }
}
