//! Record: the bytes of a record's head, and of a piece of a body.
//!
//! ```text
//! "LR"  version  how  [length, if packed: 4 bytes]  what is in it, packed or not   sum: 16 or 32 bytes
//! ```
//!
//! The sum is over the name space, the place where the bytes belong, and all that stands before it. So bytes that lie
//! under another key, as another variant, or in another body are not taken for what they are not. Without a key it is
//! XXH3 (128 bits), which finds what happened by chance, in a tenth of the time; with one it is BLAKE3, a signature, and
//! who has not that key can make none.
//!
//! What is in a head is its description in [postcard](https://postcard.jamesmunns.com), then `extra`, then the body if
//! that lies in it, or the beginning of one that lies in pieces.

use std::{cell::RefCell, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;
use zstd::bulk::{Compressor, Decompressor};

use crate::{
    freshness::Lifetime,
    rules::Rule,
    tier::lower::{Body, BodyId, Head, Position},
};

const MAGIC: [u8; 2] = *b"LR";
/// Of all that is said here.
const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const PACKED: u8 = 1;

/// Less than this is not worth packing.
const LEAST_PACKED: usize = 1 << 10;
/// More than this is not packed: it would have to be unpacked as a whole.
const MOST_PACKED: usize = 4 << 20;
/// The fastest: a tier is beside the network.
const LEVEL: i32 = 1;
/// As the cache promises.
const MAX_TAGS: usize = 256;

/// They are not what belongs there: damaged, moved, of another version, or not signed with this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not what belongs there")]
pub(super) struct Unreadable;

/// Where bytes belong.
#[derive(Clone, Copy)]
enum Place<'a> {
    Head { key: &'a str, variant: &'a str },
    Piece { body: BodyId, index: u32 },
}

/// Writes and reads the bytes of one name space.
pub(super) struct Seal {
    /// With the name space in it.
    begun: Sum,
}

/// A sum of bytes that goes on.
#[derive(Clone)]
enum Sum {
    Check(Box<Xxh3>),
    Signature(Box<blake3::Hasher>),
}

/// What stands before `extra` and the body.
#[derive(Serialize, Deserialize)]
struct Description {
    /// When its fetch ended, by the server's clock, since 1970.
    fetched: Duration,
    generation: u128,
    number: u64,
    ttl: Duration,
    stale_while_revalidate: Duration,
    stale_if_error: Duration,
    cost: Duration,
    tags: Vec<String>,
    format: String,
    extra_bytes: u64,
    body: DescriptionBody,
}

#[derive(Serialize, Deserialize)]
enum DescriptionBody {
    /// What is left.
    Whole,
    /// What is left is how it begins.
    Pieces { id: u128, pieces: u32, bytes: u64 },
}

impl Seal {
    pub(super) fn new(namespace: &str, key: Option<&[u8; 32]>) -> Self {
        let mut begun = match key {
            // One that is used for nothing else.
            Some(key) => {
                let key = blake3::derive_key("larder redis records 1", key);
                Sum::Signature(Box::new(blake3::Hasher::new_keyed(&key)))
            }
            None => Sum::Check(Box::new(Xxh3::new())),
        };
        begun.update_text(namespace);
        Seal { begun }
    }

    /// A head whose fetch ended at `fetched` by the server's clock.
    pub(super) fn write_head(&self, key: &str, head: &Head, fetched: Duration) -> Vec<u8> {
        let (body, inside) = match &head.body {
            Body::Whole(bytes) => (DescriptionBody::Whole, &bytes[..]),
            Body::Pieces { id, begin, pieces, bytes } => {
                let (pieces, bytes) = (*pieces, *bytes);
                (DescriptionBody::Pieces { id: id.0, pieces, bytes }, &begin[..])
            }
        };
        let description = Description {
            fetched,
            generation: head.fence.generation,
            number: head.fence.number,
            ttl: head.lifetime.ttl(),
            stale_while_revalidate: head.lifetime.revalidate_window(),
            stale_if_error: head.lifetime.rescue_window(),
            cost: head.cost,
            tags: head.tags.clone(),
            format: head.format.clone(),
            extra_bytes: head.extra.len() as u64,
            body,
        };
        let mut content = Vec::with_capacity(256 + head.extra.len() + inside.len());
        content = postcard::to_extend(&description, content)
            .expect("numbers and texts in memory can be written");
        content.extend_from_slice(&head.extra);
        content.extend_from_slice(inside);
        self.write(Place::Head { key, variant: &head.variant }, &content)
    }

    /// The head that lies there, and when its fetch ended.
    pub(super) fn read_head(
        &self,
        key: &str,
        variant: String,
        bytes: Vec<u8>,
    ) -> Result<(Head, Duration), Unreadable> {
        let content = self.read(Place::Head { key, variant: &variant }, bytes)?;
        let (description, rest) =
            postcard::take_from_bytes::<Description>(&content).map_err(|_| Unreadable)?;
        let rest = content.slice_ref(rest);
        let extra_bytes = usize::try_from(description.extra_bytes).map_err(|_| Unreadable)?;
        if extra_bytes > rest.len() || description.tags.len() > MAX_TAGS {
            return Err(Unreadable);
        }
        let (extra, rest) = (rest.slice(..extra_bytes), rest.slice(extra_bytes..));
        let body = match description.body {
            DescriptionBody::Whole => Body::Whole(rest),
            DescriptionBody::Pieces { id, pieces, bytes } if rest.len() as u64 <= bytes => {
                Body::Pieces { id: BodyId(id), begin: rest, pieces, bytes }
            }
            DescriptionBody::Pieces { .. } => return Err(Unreadable),
        };
        let Description { generation, number, .. } = description;
        let head = Head {
            variant,
            fence: Position { generation, number },
            lifetime: Lifetime::fresh_for(description.ttl)
                .stale_while_revalidate(description.stale_while_revalidate)
                .stale_if_error(description.stale_if_error),
            cost: description.cost,
            tags: description.tags,
            format: description.format,
            extra,
            body,
        };
        Ok((head, description.fetched))
    }

    pub(super) fn write_piece(&self, body: BodyId, index: u32, bytes: &[u8]) -> Vec<u8> {
        self.write(Place::Piece { body, index }, bytes)
    }

    pub(super) fn read_piece(
        &self,
        body: BodyId,
        index: u32,
        bytes: Vec<u8>,
    ) -> Result<Bytes, Unreadable> {
        self.read(Place::Piece { body, index }, bytes)
    }

    fn write(&self, place: Place<'_>, content: &[u8]) -> Vec<u8> {
        let packed = pack(content);
        let mut bytes = Vec::with_capacity(8 + content.len() + self.begun.length());
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        match packed {
            Some((length, packed)) => {
                bytes.push(PACKED);
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(&packed);
            }
            None => {
                bytes.push(PLAIN);
                bytes.extend_from_slice(content);
            }
        }
        self.sum(place, &bytes).append_to(&mut bytes);
        bytes
    }

    /// Nothing is unpacked before the sum is right.
    fn read(&self, place: Place<'_>, bytes: Vec<u8>) -> Result<Bytes, Unreadable> {
        let bytes = Bytes::from(bytes);
        let end = bytes.len().checked_sub(self.begun.length()).ok_or(Unreadable)?;
        if !self.sum(place, &bytes[..end]).is(&bytes[end..]) && Rule::BytesAreChecked.holds() {
            return Err(Unreadable);
        }
        match bytes[..end] {
            [b'L', b'R', VERSION, PLAIN, ..] => Ok(bytes.slice(4..end)),
            [b'L', b'R', VERSION, PACKED, a, b, c, d, ref packed @ ..] => {
                unpack(u32::from_le_bytes([a, b, c, d]), packed)
            }
            _ => Err(Unreadable),
        }
    }

    fn sum(&self, place: Place<'_>, bytes: &[u8]) -> Sum {
        let mut sum = self.begun.clone();
        match place {
            Place::Head { key, variant } => {
                sum.update(b"h");
                sum.update_text(key);
                sum.update_text(variant);
            }
            Place::Piece { body: BodyId(id), index } => {
                sum.update(b"b");
                sum.update(&id.to_le_bytes());
                sum.update(&index.to_le_bytes());
            }
        }
        sum.update(bytes);
        sum
    }
}

impl Sum {
    fn length(&self) -> usize {
        match self {
            Sum::Check(_) => 16,
            Sum::Signature(_) => blake3::OUT_LEN,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Sum::Check(sum) => sum.update(bytes),
            Sum::Signature(sum) => _ = sum.update(bytes),
        }
    }

    /// With its length, so that no two lists of texts are one.
    fn update_text(&mut self, text: &str) {
        self.update(&(text.len() as u64).to_le_bytes());
        self.update(text.as_bytes());
    }

    fn append_to(&self, bytes: &mut Vec<u8>) {
        match self {
            Sum::Check(sum) => bytes.extend_from_slice(&sum.digest128().to_le_bytes()),
            Sum::Signature(sum) => bytes.extend_from_slice(sum.finalize().as_bytes()),
        }
    }

    fn is(&self, written: &[u8]) -> bool {
        match self {
            Sum::Check(sum) => sum.digest128().to_le_bytes() == written,
            // Comparing two of these takes the same time wherever they differ.
            Sum::Signature(sum) => {
                blake3::Hash::from_slice(written).is_ok_and(|written| sum.finalize() == written)
            }
        }
    }
}

thread_local! {
    /// What it works with is half a megabyte.
    static PACKING: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL).ok());
    static UNPACKING: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

/// What is smaller by a tenth at least, with the length of what was packed.
fn pack(content: &[u8]) -> Option<(u32, Vec<u8>)> {
    if !(LEAST_PACKED..=MOST_PACKED).contains(&content.len()) {
        return None;
    }
    let length = u32::try_from(content.len()).ok()?;
    let packed = PACKING.with_borrow_mut(|packing| packing.as_mut()?.compress(content).ok())?;
    (packed.len() <= content.len() - content.len() / 10).then_some((length, packed))
}

fn unpack(length: u32, packed: &[u8]) -> Result<Bytes, Unreadable> {
    let length = usize::try_from(length).map_err(|_| Unreadable)?;
    if length > MOST_PACKED {
        return Err(Unreadable);
    }
    let content = UNPACKING.with_borrow_mut(|unpacking| {
        unpacking.as_mut().and_then(|unpacking| unpacking.decompress(packed, length).ok())
    });
    content.filter(|content| content.len() == length).map(Bytes::from).ok_or(Unreadable)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// That of what is not signed.
    const SUM: usize = 16;

    fn seal() -> Seal {
        Seal::new("larder", None)
    }

    fn duration() -> impl Strategy<Value = Duration> {
        (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Duration::new(secs, nanos))
    }

    /// Some that shrink when packed, and some that do not.
    fn bytes() -> impl Strategy<Value = Bytes> {
        prop_oneof![
            vec(any::<u8>(), 0..3000).prop_map(Bytes::from),
            (any::<u8>(), 0..100_000_usize).prop_map(|(byte, count)| vec![byte; count].into()),
        ]
    }

    fn body() -> impl Strategy<Value = Body> {
        prop_oneof![
            bytes().prop_map(Body::Whole),
            (any::<(u128, u32, u32)>(), bytes()).prop_map(|((id, pieces, rest), begin)| {
                let bytes = begin.len() as u64 + u64::from(rest);
                Body::Pieces { id: BodyId(id), begin, pieces, bytes }
            }),
        ]
    }

    fn head() -> impl Strategy<Value = Head> {
        let texts = (any::<String>(), vec(any::<String>(), 0..8), any::<String>());
        let times = (duration(), duration(), duration(), duration());
        let fence = any::<(u128, u64)>();
        (texts, times, fence, bytes(), body()).prop_map(|(texts, times, fence, extra, body)| Head {
            variant: texts.0,
            fence: Position { generation: fence.0, number: fence.1 },
            lifetime: Lifetime::fresh_for(times.0)
                .stale_while_revalidate(times.1)
                .stale_if_error(times.2),
            cost: times.3,
            tags: texts.1,
            format: texts.2,
            extra,
            body,
        })
    }

    fn some_head() -> Head {
        Head {
            variant: String::new(),
            fence: Position { generation: 7, number: 8 },
            lifetime: Lifetime::fresh_for(Duration::from_secs(60)),
            cost: Duration::ZERO,
            tags: vec!["tag".to_owned()],
            format: "bytes".to_owned(),
            extra: Bytes::new(),
            body: Body::Whole(Bytes::from_static(b"the body")),
        }
    }

    const FETCHED: Duration = Duration::from_secs(1_700_000_000);

    fn signed() -> Seal {
        Seal::new("larder", Some(&[1; 32]))
    }

    proptest! {
        #[test]
        fn a_head_that_is_written_is_read(
            head in head(), key: String, fetched in duration(), is_signed: bool,
        ) {
            let seal = if is_signed { signed() } else { seal() };
            let bytes = seal.write_head(&key, &head, fetched);
            let read = seal.read_head(&key, head.variant.clone(), bytes);
            prop_assert_eq!(read, Ok((head, fetched)));
        }

        #[test]
        fn a_piece_that_is_written_is_read(content in bytes(), id: u128, index: u32) {
            let bytes = signed().write_piece(BodyId(id), index, &content);
            prop_assert_eq!(signed().read_piece(BodyId(id), index, bytes), Ok(content));
        }

        #[test]
        fn no_bytes_are_taken_for_a_record(bytes: Vec<u8>) {
            prop_assert_eq!(seal().read_head("key", String::new(), bytes.clone()), Err(Unreadable));
            prop_assert_eq!(seal().read_piece(BodyId(1), 0, bytes), Err(Unreadable));
        }

        /// Whoever knows no key can still make sums where there is none.
        #[test]
        fn no_content_with_a_right_sum_makes_it_panic(content: Vec<u8>, how: u8) {
            let place = Place::Head { key: "key", variant: "" };
            let mut bytes = [&MAGIC[..], &[VERSION, how % 3], &content].concat();
            seal().sum(place, &bytes).append_to(&mut bytes);
            seal().read_head("key", String::new(), bytes).ok();
        }

        #[test]
        fn a_record_with_a_byte_changed_is_unreadable(
            place: prop::sample::Index, by in 1..=255_u8, is_signed: bool,
        ) {
            let seal = if is_signed { signed() } else { seal() };
            let mut bytes = seal.write_head("key", &some_head(), FETCHED);
            let place = place.index(bytes.len());
            bytes[place] ^= by;
            prop_assert_eq!(seal.read_head("key", String::new(), bytes), Err(Unreadable));
        }

        #[test]
        fn a_record_that_is_cut_is_unreadable(length: prop::sample::Index, is_signed: bool) {
            let seal = if is_signed { signed() } else { seal() };
            let mut bytes = seal.write_head("key", &some_head(), FETCHED);
            bytes.truncate(length.index(bytes.len()));
            prop_assert_eq!(seal.read_head("key", String::new(), bytes), Err(Unreadable));
        }
    }

    #[test]
    fn a_record_is_unreadable_where_it_does_not_belong() {
        let head = some_head();
        let bytes = signed().write_head("key", &head, FETCHED);
        let read = |seal: Seal, key: &str, variant: &str| {
            seal.read_head(key, variant.to_owned(), bytes.clone()).is_ok()
        };
        assert!(read(signed(), "key", ""));
        assert!(!read(signed(), "other key", ""));
        assert!(!read(signed(), "key", "other variant"));
        assert!(!read(signed(), "ke", "y"));
        assert!(!read(seal(), "key", ""), "signed, and nobody asks for it");
        assert!(!read(Seal::new("larder", Some(&[2; 32])), "key", ""));
        assert!(!read(Seal::new("other", Some(&[1; 32])), "key", ""));
        let unsigned = seal().write_head("key", &head, FETCHED);
        assert!(signed().read_head("key", String::new(), unsigned).is_err());
    }

    #[test]
    fn a_piece_is_unreadable_where_it_does_not_belong() {
        let bytes = seal().write_piece(BodyId(1), 2, b"piece");
        let read = |id, index| seal().read_piece(BodyId(id), index, bytes.clone()).is_ok();
        assert!(read(1, 2));
        assert!(!read(1, 3) && !read(2, 2));
        assert!(seal().read_head("", String::new(), bytes.clone()).is_err());
    }

    /// How many pieces are handed out that were moved, damaged, cut, or are of another name space or key.
    fn wrong_pieces_that_are_read() -> usize {
        let bytes = seal().write_piece(BodyId(1), 2, b"piece");
        let damaged = |at: usize| {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            damaged
        };
        let middle = 4 + b"pie".len();
        let seals = [Seal::new("other", None), Seal::new("larder", Some(&[1; 32]))];
        let foreign = seals.map(|seal| (1, 2, seal.write_piece(BodyId(1), 2, b"piece")));
        let cut = [&bytes[..middle], &bytes[middle + 1..]].concat();
        let moved = [(1, 3, bytes.clone()), (2, 2, bytes.clone())];
        let harmed = [(1, 2, damaged(middle)), (1, 2, damaged(bytes.len() - 1)), (1, 2, cut)];
        let all = moved.into_iter().chain(harmed).chain(foreign);
        all.filter(|(id, index, bytes)| {
            seal().read_piece(BodyId(*id), *index, bytes.clone()).is_ok()
        })
        .count()
    }

    #[test]
    fn a_piece_is_handed_out_only_where_it_is_what_was_written_by_its_rule() {
        assert_eq!(wrong_pieces_that_are_read(), 0);
        let _off = Rule::BytesAreChecked.turn_off();
        assert_eq!(wrong_pieces_that_are_read(), 7);
    }

    #[test]
    fn a_record_of_another_version_is_unreadable() {
        let place = Place::Head { key: "key", variant: "" };
        let mut bytes = seal().write_head("key", &some_head(), FETCHED);
        bytes.truncate(bytes.len() - SUM);
        bytes[2] = VERSION + 1;
        seal().sum(place, &bytes).append_to(&mut bytes);
        assert_eq!(seal().read_head("key", String::new(), bytes), Err(Unreadable));
    }

    #[test]
    fn what_shrinks_by_a_tenth_is_packed_and_nothing_else() {
        let length = |content: &[u8]| seal().write_piece(BodyId(1), 0, content).len();
        let (mut random, mut state) = (Vec::new(), 1_u64);
        for _ in 0..4096 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random.push((state >> 56) as u8);
        }
        assert!(length(&[b'a'; 4096]) < 200);
        assert_eq!(length(&random), 4 + 4096 + SUM);
        assert_eq!(length(&[b'a'; 1023]), 4 + 1023 + SUM, "too small");
        assert_eq!(length(&vec![b'a'; MOST_PACKED + 1]), 4 + MOST_PACKED + 1 + SUM, "too large");
    }

    #[test]
    fn what_says_that_it_is_larger_or_smaller_than_it_is_is_unreadable() {
        let packed = zstd::bulk::compress(&[b'a'; 4096], LEVEL).unwrap();
        let read = |length: u32| {
            let mut bytes =
                [&MAGIC[..], &[VERSION, PACKED], &length.to_le_bytes(), &packed].concat();
            let place = Place::Piece { body: BodyId(1), index: 0 };
            seal().sum(place, &bytes).append_to(&mut bytes);
            seal().read_piece(BodyId(1), 0, bytes).is_ok()
        };
        assert!(read(4096));
        assert!(!read(4095) && !read(4097) && !read(u32::MAX));
    }
}
