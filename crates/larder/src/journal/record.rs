//! Record: the bytes of a journal, and what is made of them however they are damaged.
//!
//! ```text
//! file    header  record  record  …
//! record  mark (4)  length of the body (4)  sum of the body (8)  body
//! body    1  number (8)  payload            an entry
//!         2  numbers (8 each)               entries that are done
//! ```
//!
//! Numbers are little-endian. The sum is SipHash-2-4 with a key of zeros: against accidents, not against people.

use std::collections::BTreeMap;

use siphasher::sip::SipHasher24;

pub(super) const HEADER: &[u8] = b"larder outbox 1\n";

const MARK: [u8; 4] = [0xc5, b'l', b'r', b'\n'];
/// Before the body.
const FRAME_BYTES: usize = 16;
const ENTRY: u8 = 1;
const DONE: u8 = 2;

/// What the bytes of a file say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// The entries that are not done, by their numbers.
    pub(super) live: BTreeMap<u64, Vec<u8>>,
    /// The last number that was given.
    pub(super) last: u64,
    /// So far the file is sound.
    pub(super) sound_bytes: usize,
    /// So many bytes behind that are no whole record, and none follows them: a write was cut short there, or somebody has cut
    /// off the end.
    pub(super) torn_bytes: usize,
    /// There are records behind bytes that are none: some that were written are lost. A write that was cut short leaves
    /// none behind it.
    pub(super) is_damaged: bool,
}

/// So many bytes an entry with a payload takes.
pub(super) fn bytes_of(payload: &[u8]) -> usize {
    FRAME_BYTES + 9 + payload.len()
}

pub(super) fn put_entry(bytes: &mut Vec<u8>, number: u64, payload: &[u8]) {
    put(bytes, ENTRY, &[&number.to_le_bytes(), payload]);
}

pub(super) fn put_done(bytes: &mut Vec<u8>, numbers: &[u64]) {
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    put(bytes, DONE, &[&numbers]);
}

fn put(bytes: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let mut body = vec![kind];
    parts.iter().for_each(|part| body.extend_from_slice(part));
    // An entry of 4 GiB is refused long before it comes here.
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&MARK);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&sum(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
}

fn sum(body: &[u8]) -> u64 {
    SipHasher24::new().hash(body)
}

/// Reads a whole file. `None`: it is no journal of this version.
pub(super) fn read(bytes: &[u8]) -> Option<Read> {
    let mut read = Read { sound_bytes: HEADER.len(), ..Read::default() };
    let Some(records) = bytes.strip_prefix(HEADER) else {
        // Its beginning was not written to the end.
        read.sound_bytes = 0;
        read.torn_bytes = bytes.len();
        return HEADER.starts_with(bytes).then_some(read);
    };
    let mut rest = records;
    while let Some((body, after)) = next(rest) {
        read.is_damaged |= !read.take(body);
        rest = after;
    }
    read.sound_bytes = bytes.len() - rest.len();
    // Zeros are what a crash leaves of a file that was to grow.
    read.torn_bytes = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
        rest = &rest[at..];
        match next(rest) {
            Some((body, after)) => {
                read.is_damaged = true;
                read.take(body);
                rest = after;
            }
            None => rest = &rest[1..],
        }
    }
    Some(read)
}

/// The body of the record that these bytes begin with, and what comes after it.
fn next(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(&MARK)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (said, rest) = rest.split_first_chunk()?;
    let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    (sum(body) == u64::from_le_bytes(*said)).then_some((body, rest))
}

impl Read {
    /// False: it was written by somebody who knew more kinds.
    fn take(&mut self, body: &[u8]) -> bool {
        let numbers = |bytes: &[u8]| -> Vec<u64> {
            bytes.as_chunks().0.iter().map(|number| u64::from_le_bytes(*number)).collect()
        };
        match body {
            [ENTRY, rest @ ..] if rest.len() >= 8 => {
                let (number, payload) = rest.split_at(8);
                for number in numbers(number) {
                    self.live.insert(number, payload.to_vec());
                    self.last = self.last.max(number);
                }
                true
            }
            [DONE, rest @ ..] => {
                numbers(rest).iter().for_each(|number| _ = self.live.remove(number));
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(entries: u64) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        (1..=entries).for_each(|number| put_entry(&mut bytes, number, &[0xaa; 8]));
        bytes
    }

    fn numbers(read: &Read) -> Vec<u64> {
        read.live.keys().copied().collect()
    }

    #[test]
    fn what_is_done_is_not_read_again() {
        let mut bytes = file(4);
        put_done(&mut bytes, &[2, 3, 99]);
        put_entry(&mut bytes, 5, b"five");
        let read = read(&bytes).unwrap();
        assert_eq!((numbers(&read), read.last), (vec![1, 4, 5], 5));
        assert_eq!(read.live[&5], b"five");
        assert_eq!((read.sound_bytes, read.is_damaged), (bytes.len(), false));
    }

    #[test]
    fn a_write_that_was_cut_short_anywhere_costs_what_it_had_not_written() {
        let whole = file(3);
        let record = bytes_of(&[0; 8]);
        for length in 0..whole.len() {
            let read = read(&whole[..length]).unwrap();
            let left = length.saturating_sub(HEADER.len()) / record;
            assert_eq!(read.live.len(), left, "{length}");
            assert!(!read.is_damaged, "{length}");
            // What a crash leaves in place of what it had not written.
            let zeros = [&whole[..length], &[0; 100][..]].concat();
            if length >= HEADER.len() {
                assert_eq!(super::read(&zeros).unwrap(), read, "{length}");
            }
            let is_whole = length == 0
                || length >= HEADER.len() && (length - HEADER.len()).is_multiple_of(record);
            assert_eq!(read.torn_bytes == 0, is_whole, "{length}");
        }
    }

    #[test]
    fn damage_before_the_end_is_seen_and_what_lies_behind_it_is_read() {
        let whole = file(3);
        let record = bytes_of(&[0; 8]);
        for at in HEADER.len()..HEADER.len() + record {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            let read = read(&bytes).unwrap();
            assert_eq!((numbers(&read), read.is_damaged), (vec![2, 3], true), "{at}");
        }
    }

    #[test]
    fn another_file_is_none() {
        for bytes in [&b"larder outbox 2\n"[..], b"[shared]\n", &[0; 64]] {
            assert_eq!(read(bytes), None);
        }
        assert_eq!(read(b"").unwrap(), Read::default());
    }

    proptest! {
        #[test]
        fn whatever_bytes_follow_nothing_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            entries in 0..3_u64,
        ) {
            let read = read(&[file(entries), bytes].concat()).unwrap();
            prop_assert!(read.live.len() >= entries as usize);
        }
    }
}
