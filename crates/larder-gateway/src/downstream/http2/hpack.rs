//! HPACK (RFC 7541), as far as it takes to see what h2 does not tell of a header block.
//!
//! h2 drops pseudo-fields in trailers, its URI drops a fragment in `:path` and makes up a path where there
//! is none, all in silence (RFC 9113 §8.1, §8.3.1). To read a block, all blocks before it must have been read, so
//! this keeps a table like h2's, but only of what the entries weigh and what kind they are.

use std::collections::VecDeque;

/// What both sides begin with, and what we never change (RFC 9113 §6.5.2).
const TABLE_BYTES: usize = 4096;
/// What an entry weighs beside its bytes (RFC 7541 §4.1).
const ENTRY_BYTES: usize = 32;

/// How long the names of the static table are (RFC 7541, Appendix A).
const STATIC_NAMES: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14,
    16, 13, 12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10,
    25, 17, 10, 4, 3, 16,
];

#[derive(Debug)]
pub(super) struct Decoder {
    /// Newest first.
    entries: VecDeque<TableEntry>,
    bytes: usize,
    limit: usize,
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct TableEntry {
    kind: Kind,
    name_bytes: usize,
    value_bytes: usize,
    has_fragment: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Field,
    Path,
    OtherPseudo,
}

/// What a block holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Any field whose name begins with a colon.
    pub(super) has_pseudo: bool,
    pub(super) has_path: bool,
    /// A `#` in `:path`.
    pub(super) has_fragment: bool,
    /// What all fields weigh (RFC 9113 §6.5.2); values of the static table are not counted.
    pub(super) bytes: usize,
}

/// What cannot be read. From here on no block can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

impl Decoder {
    pub(super) fn new() -> Self {
        Decoder { entries: VecDeque::new(), bytes: 0, limit: TABLE_BYTES, text: Vec::new() }
    }

    /// Reads a whole block.
    pub(super) fn read(&mut self, mut block: &[u8]) -> Result<Seen, Unreadable> {
        let mut seen = Seen::default();
        let mut is_first = true;
        while let Some(first) = block.first() {
            let entry = match first {
                0b1000_0000.. => {
                    let index = integer(&mut block, 7)?;
                    self.entry(index)?
                }
                0b0100_0000.. => {
                    let entry = self.literal(&mut block, 6)?;
                    self.insert(entry);
                    entry
                }
                0b0010_0000.. => {
                    let limit = integer(&mut block, 5)?;
                    // Only at the beginning (§4.2).
                    if !is_first || limit > TABLE_BYTES {
                        return Err(Unreadable);
                    }
                    self.limit = limit;
                    self.evict(0);
                    continue;
                }
                _ => self.literal(&mut block, 4)?,
            };
            is_first = false;
            seen.has_pseudo |= entry.kind != Kind::Field;
            seen.has_path |= entry.kind == Kind::Path;
            seen.has_fragment |= entry.has_fragment;
            seen.bytes = seen.bytes.saturating_add(entry.bytes());
        }
        // What one large block needed is not kept.
        self.text.clear();
        self.text.shrink_to(256);
        Ok(seen)
    }

    fn entry(&self, index: usize) -> Result<TableEntry, Unreadable> {
        let index = index.checked_sub(1).ok_or(Unreadable)?;
        if let Some(name_bytes) = STATIC_NAMES.get(index) {
            let kind = match index {
                3 | 4 => Kind::Path,
                0..14 => Kind::OtherPseudo,
                _ => Kind::Field,
            };
            let name_bytes = usize::from(*name_bytes);
            return Ok(TableEntry { kind, name_bytes, value_bytes: 0, has_fragment: false });
        }
        self.entries.get(index - STATIC_NAMES.len()).copied().ok_or(Unreadable)
    }

    fn literal(&mut self, block: &mut &[u8], prefix: u32) -> Result<TableEntry, Unreadable> {
        let (kind, name_bytes) = match integer(block, prefix)? {
            0 => {
                let name = string(block, &mut self.text)?;
                let kind = match name {
                    b":path" => Kind::Path,
                    [b':', ..] => Kind::OtherPseudo,
                    _ => Kind::Field,
                };
                (kind, name.len())
            }
            index => {
                let named = self.entry(index)?;
                (named.kind, named.name_bytes)
            }
        };
        let value = string(block, &mut self.text)?;
        let has_fragment = kind == Kind::Path && value.contains(&b'#');
        Ok(TableEntry { kind, name_bytes, value_bytes: value.len(), has_fragment })
    }

    fn insert(&mut self, entry: TableEntry) {
        self.evict(entry.bytes());
        // A larger one than the table leaves it empty (§4.4).
        if entry.bytes() <= self.limit {
            self.bytes += entry.bytes();
            self.entries.push_front(entry);
        }
    }

    fn evict(&mut self, for_bytes: usize) {
        while self.bytes + for_bytes > self.limit {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.bytes -= oldest.bytes();
        }
    }
}

impl TableEntry {
    fn bytes(&self) -> usize {
        self.name_bytes + self.value_bytes + ENTRY_BYTES
    }
}

/// §5.1. Numbers that nothing here can be as long as are refused.
fn integer(block: &mut &[u8], prefix: u32) -> Result<usize, Unreadable> {
    let (first, mut rest) = block.split_first().ok_or(Unreadable)?;
    let most = (1 << prefix) - 1;
    let mut value = usize::from(*first) & most;
    if value == most {
        for shift in (0..).step_by(7) {
            let (next, after) = rest.split_first().ok_or(Unreadable)?;
            rest = after;
            if shift > 21 {
                return Err(Unreadable);
            }
            value += usize::from(next & 0x7f) << shift;
            if next & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Ok(value)
}

/// §5.2. `text` is where it is decoded to, if it must be.
fn string<'a: 't, 't>(block: &mut &'a [u8], text: &'t mut Vec<u8>) -> Result<&'t [u8], Unreadable> {
    let is_huffman = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(block, 7)?;
    let (string, rest) = block.split_at_checked(length).ok_or(Unreadable)?;
    *block = rest;
    if is_huffman {
        text.clear();
        huffman(string, text)?;
        Ok(text)
    } else {
        Ok(string)
    }
}

/// How many bits each symbol's code has, the end of the string being the last (RFC 7541, Appendix B).
/// The code is a canonical one: the lengths say all of it.
const CODE_BITS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const SHORTEST: usize = 5;
const LONGEST: usize = 30;

/// The code, sorted by length.
struct Code {
    symbols: [u16; 257],
    /// By length: the first code of it, where its symbol stands, and the first 32 bits that belong to
    /// a longer code.
    first: [u32; LONGEST + 1],
    place: [usize; LONGEST + 1],
    beyond: [u64; LONGEST + 1],
}

static CODE: Code = sorted();

const fn sorted() -> Code {
    let mut code = Code {
        symbols: [0; 257],
        first: [0; LONGEST + 1],
        place: [0; LONGEST + 1],
        beyond: [0; LONGEST + 1],
    };
    let (mut bits, mut place, mut next) = (1, 0, 0);
    while bits <= LONGEST {
        code.first[bits] = next;
        code.place[bits] = place;
        let mut symbol = 0;
        while symbol < CODE_BITS.len() {
            if CODE_BITS[symbol] as usize == bits {
                code.symbols[place] = symbol as u16;
                place += 1;
                next += 1;
            }
            symbol += 1;
        }
        code.beyond[bits] = (next as u64) << (32 - bits);
        next <<= 1;
        bits += 1;
    }
    code
}

fn huffman(coded: &[u8], text: &mut Vec<u8>) -> Result<(), Unreadable> {
    let (mut window, mut count) = (0_u64, 0_usize);
    for byte in coded {
        window = window << 8 | u64::from(*byte);
        count += 8;
        while count >= SHORTEST {
            // The bits that are there, at the upper end of 32.
            let bits = (window << (64 - count)) >> 32;
            let length = (SHORTEST..LONGEST).find(|length| bits < CODE.beyond[*length]);
            let length = length.unwrap_or(LONGEST);
            if length > count {
                break;
            }
            let code = (bits >> (32 - length)) as usize - CODE.first[length] as usize;
            let symbol = CODE.symbols[CODE.place[length] + code];
            // The end of the string may not stand inside it (§5.2).
            let symbol = u8::try_from(symbol).map_err(|_| Unreadable)?;
            text.push(symbol);
            count -= length;
        }
    }
    // What is left is padding: fewer bits than a byte, all ones (§5.2).
    let padding = (1 << count) - 1;
    if count < 8 && window & padding == padding { Ok(()) } else { Err(Unreadable) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        for (coded, expected) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ] {
            let mut text = Vec::new();
            huffman(&bytes(coded), &mut text).unwrap();
            assert_eq!(text, expected.as_bytes());
        }
        // Appendix C.4: three requests on one connection, and what the table weighs after each.
        let mut reader = Decoder::new();
        for (block, weight) in [
            ("828684418cf1e3c2e5f23a6ba0ab90f4ff", 57),
            ("828684be5886a8eb10649cbf", 110),
            ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", 164),
        ] {
            let seen = reader.read(&bytes(block)).unwrap();
            assert_eq!(
                unweighed(seen),
                Seen { has_pseudo: true, has_path: true, ..Seen::default() }
            );
            assert_eq!(reader.bytes, weight);
        }
    }

    fn unweighed(seen: Seen) -> Seen {
        Seen { bytes: 0, ..seen }
    }

    #[test]
    fn every_symbol_is_decoded_from_its_own_code() {
        for symbol in 0..=255_u8 {
            let length = usize::from(CODE_BITS[usize::from(symbol)]);
            let place = CODE.symbols.iter().position(|other| *other == u16::from(symbol)).unwrap();
            let code = CODE.first[length] as usize + place - CODE.place[length];
            let padded = ((code as u64) << (40 - length)) | ((1 << (40 - length)) - 1);
            let coded = &padded.to_be_bytes()[3..][..length.div_ceil(8)];
            let mut text = Vec::new();
            huffman(coded, &mut text).unwrap();
            assert_eq!(text, [symbol]);
        }
    }

    #[test]
    fn what_no_sender_may_write_is_unreadable() {
        for (block, fault) in [
            ("80", "index 0"),
            ("be", "an entry that is not there"),
            ("ffffffffff01", "a number without end"),
            ("ff", "half a number"),
            ("4003", "half a string"),
            ("823fe11f", "a table's size in the middle"),
            ("3fe21f", "a table larger than allowed"),
            ("0082f1ff00", "padding of a whole byte"),
            ("0081f000", "padding of zeros"),
            ("0084ffffffff00", "the end of the string inside it"),
        ] {
            assert_eq!(Decoder::new().read(&bytes(block)), Err(Unreadable), "{fault}");
        }
        assert!(Decoder::new().read(&bytes("3fe11f82")).is_ok());
    }

    #[test]
    fn a_fragment_and_a_pseudo_field_are_seen_however_they_are_written() {
        let literal = |first: u8, name: &str, value: &str| {
            let mut block = vec![first];
            for text in [name, value] {
                if !text.is_empty() {
                    block.push(u8::try_from(text.len()).unwrap());
                    block.extend(text.as_bytes());
                }
            }
            block
        };
        let path = Seen { has_pseudo: true, has_path: true, has_fragment: true, ..Seen::default() };
        let read = |reader: &mut Decoder, block: &[u8]| reader.read(block).map(unweighed);
        // By the static table's name, and by its own; not indexed, never indexed, and indexed.
        for block in [
            literal(0x04, "", "/a#b"),
            literal(0x14, "", "/#"),
            literal(0x44, "", "/a#b"),
            literal(0x00, ":path", "#"),
            literal(0x40, ":path", "/?#"),
        ] {
            assert_eq!(read(&mut Decoder::new(), &block), Ok(path), "{block:?}");
        }
        // As an entry of the table, and by the name of one.
        let mut reader = Decoder::new();
        reader.read(&literal(0x40, ":path", "/a")).unwrap();
        assert!(!reader.read(&[0x80 | 62]).unwrap().has_fragment);
        assert_eq!(read(&mut reader, &literal(0x40 | 62, "", "/a#b")), Ok(path));
        assert_eq!(read(&mut reader, &[0x80 | 62]), Ok(path));
        // Elsewhere it is a value like others.
        let other = literal(0x00, "x", "#");
        assert_eq!(Decoder::new().read(&other), Ok(Seen { bytes: 34, ..Seen::default() }));
        let authority = Decoder::new().read(&literal(0x00, ":authority", "#")).unwrap();
        assert_eq!(unweighed(authority), Seen { has_pseudo: true, ..Seen::default() });
    }

    #[test]
    fn entries_leave_the_table_as_their_weight_says() {
        let mut reader = Decoder::new();
        // A value of 127 + 1 + (29 << 7) bytes.
        let block = [vec![0x40, 1, b'x', 0x7f, 0x81, 0x1d], vec![b'v'; 3840]].concat();
        reader.read(&block).unwrap();
        assert_eq!(reader.bytes, 1 + 3840 + ENTRY_BYTES);
        // One that does not fit beside it takes its place.
        reader.read(&[&block[..], &[0x40, 1, b'y', 1, b'v']].concat()).unwrap();
        assert_eq!(reader.entries.len(), 2);
        reader.read(&[0x20]).unwrap();
        assert_eq!((reader.entries.len(), reader.bytes), (0, 0));
        // And nothing is kept where there is no room.
        reader.read(&[0x40, 1, b'y', 1, b'v']).unwrap();
        assert_eq!(reader.read(&[0x80 | 62]), Err(Unreadable));
    }
}
