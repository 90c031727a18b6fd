//! Fields: the field lines of a head, however they are held.
//!
//! A head is read in three places: as a map, where it is on its way through a service; as the lines of
//! a connection's buffer, where a hit must not cost a map; and as one block of bytes, where it is
//! stored. The rules are the same for all, so they read through this.

use std::{fmt, ops::Range};

use bytes::{BufMut, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, header::ValueIter};

/// The fields of one head, borrowed. A name may stand in several lines, whose order counts; names are
/// compared without regard to case.
#[derive(Clone, Copy)]
pub struct Fields<'a>(Held<'a>);

#[derive(Clone, Copy)]
enum Held<'a> {
    Map { map: &'a HeaderMap, names: NameFilter },
    Read { lines: &'a [FieldLine<'a>], names: NameFilter },
    Block(&'a FieldBlock),
}

/// One line as it was read: a name as the sender wrote it, and its value without the white space
/// around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldLine<'a> {
    /// A token.
    pub name: &'a [u8],
    /// No control characters but the tab.
    pub value: &'a [u8],
}

/// Which names may be there: a set bit says perhaps, a clear one certainly not. A request has ten lines
/// and is asked for a dozen names that it mostly lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameFilter(u64);

impl NameFilter {
    const fn bit(name: &[u8]) -> u64 {
        let ([first, ..], [.., last]) = (name, name) else { return 0 };
        // So spread, what browsers send falls on no bit of a name that the rules ask each request for.
        let letters = (*first | 0x20) as usize * 16 + (*last | 0x20) as usize * 17;
        1 << ((name.len() + letters) % 64)
    }

    pub(crate) const fn of(names: &[&str]) -> NameFilter {
        let (mut bits, mut at) = (0, 0);
        while at < names.len() {
            bits |= NameFilter::bit(names[at].as_bytes());
            at += 1;
        }
        NameFilter(bits)
    }

    pub(crate) const fn or(self, other: NameFilter) -> NameFilter {
        NameFilter(self.0 | other.0)
    }

    pub(crate) fn add(&mut self, name: &[u8]) {
        self.0 |= NameFilter::bit(name);
    }

    pub(crate) fn may_have(self, name: &[u8]) -> bool {
        self.0 & NameFilter::bit(name) != 0
    }
}

/// A map's own name for this one. To go through the few there are costs less than to parse and hash
/// one that is mostly not there.
fn name_in<'a>(map: &'a HeaderMap, names: NameFilter, name: &str) -> Option<&'a HeaderName> {
    if !names.may_have(name.as_bytes()) {
        return None;
    }
    map.keys().find(|there| is_called(there, name))
}

fn is_called(there: &HeaderName, name: &str) -> bool {
    let there = there.as_str();
    there == name || there.eq_ignore_ascii_case(name)
}

impl<'a> Fields<'a> {
    /// Lines as they were read.
    pub fn of_lines(lines: &'a [FieldLine<'a>]) -> Fields<'a> {
        let mut names = NameFilter::default();
        for line in lines {
            names.add(line.name);
        }
        Fields(Held::Read { lines, names })
    }

    /// Whether these are a request's that says nothing the rules would ask it for, whatever it is asked
    /// for: no directives, credentials, cookies, preconditions and ranges. What a response varies by is
    /// another question. `false`: perhaps.
    pub(crate) fn ask_for_nothing(self) -> bool {
        const RULES_ASK_FOR: NameFilter = NameFilter::of(&[
            "authorization",
            "cache-control",
            "cookie",
            "if-match",
            "if-modified-since",
            "if-none-match",
            "if-range",
            "if-unmodified-since",
            "pragma",
            "range",
        ]);
        match self.0 {
            Held::Block(_) => false,
            Held::Read { .. } | Held::Map { .. } => !self.may_have(RULES_ASK_FOR),
        }
    }

    /// Whether any of these names may be there. `false`: certainly not, told by one look at all of them.
    #[inline]
    pub(crate) fn may_have(self, any: NameFilter) -> bool {
        match self.0 {
            Held::Read { names, .. } | Held::Map { names, .. } => names.0 & any.0 != 0,
            Held::Block(_) => true,
        }
    }

    /// Whether there is a line of this name.
    pub fn contains(self, name: &str) -> bool {
        match self.0 {
            Held::Map { map, names } => name_in(map, names, name).is_some(),
            Held::Read { .. } | Held::Block(_) => self.lines(name).next().is_some(),
        }
    }

    /// The value of the first line of this name.
    pub fn first(self, name: &str) -> Option<&'a [u8]> {
        match self.0 {
            Held::Map { names, .. } if !names.may_have(name.as_bytes()) => None,
            // The first of a name comes first, and need not be looked up by it once more.
            Held::Map { map, .. } => map
                .iter()
                .find(|(there, _)| is_called(there, name))
                .map(|(_, value)| value.as_bytes()),
            Held::Read { .. } | Held::Block(_) => self.lines(name).next(),
        }
    }

    /// The values of all lines of this name (in small letters), in their order.
    #[inline]
    pub fn lines(self, name: &str) -> Lines<'a, '_> {
        Lines(match self.0 {
            Held::Map { map, names } => match name_in(map, names, name) {
                Some(name) => Rest::Map(map.get_all(name).iter()),
                None => Rest::Read { lines: &[], name: &[] },
            },
            Held::Read { lines, names } if names.may_have(name.as_bytes()) => {
                Rest::Read { lines, name: name.as_bytes() }
            }
            Held::Read { .. } => Rest::Read { lines: &[], name: &[] },
            Held::Block(block) => Rest::Block { lines: block.iter(), name: name.as_bytes() },
        })
    }

    /// Every line. Names are in small letters, unless the sender's own are what is held.
    pub fn iter(self) -> impl Iterator<Item = FieldLine<'a>> {
        let (map, read, block) = match self.0 {
            Held::Map { map, .. } => (Some(map), None, None),
            Held::Read { lines, .. } => (None, Some(lines), None),
            Held::Block(block) => (None, None, Some(block)),
        };
        let of_map = map.into_iter().flatten();
        let of_map = of_map.map(|(name, value)| FieldLine {
            name: name.as_str().as_bytes(),
            value: value.as_bytes(),
        });
        let of_block = block.into_iter().flat_map(FieldBlock::iter);
        of_map.chain(read.into_iter().flatten().copied()).chain(of_block)
    }

    /// The same as a map of its own. Lines that no map can hold are left out; there are none in a map
    /// nor in a block.
    pub fn to_map(self) -> HeaderMap {
        let mut map = HeaderMap::new();
        match self.0 {
            Held::Map { map, .. } => return map.clone(),
            Held::Block(block) => {
                // One copy, of which all values are slices.
                let block = Bytes::copy_from_slice(&block.0);
                for line in BlockLines(&block) {
                    let name = HeaderName::from_bytes(line.name);
                    let value = HeaderValue::from_maybe_shared(block.slice_ref(line.value));
                    if let (Ok(name), Ok(value)) = (name, value) {
                        map.append(name, value);
                    }
                }
                return map;
            }
            Held::Read { .. } => {}
        }
        for line in self.iter() {
            let name = HeaderName::from_bytes(line.name);
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line.value)) {
                map.append(name, value);
            }
        }
        map
    }
}

impl<'a> From<&'a HeaderMap> for Fields<'a> {
    fn from(map: &'a HeaderMap) -> Self {
        let mut names = NameFilter::default();
        map.keys().for_each(|name| names.add(name.as_str().as_bytes()));
        Fields(Held::Map { map, names })
    }
}

impl<'a> From<&'a FieldBlock> for Fields<'a> {
    fn from(block: &'a FieldBlock) -> Self {
        Fields(Held::Block(block))
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes);
        f.debug_map().entries(self.iter().map(|line| (text(line.name), text(line.value)))).finish()
    }
}

/// The values of one name.
pub struct Lines<'a, 'n>(Rest<'a, 'n>);

enum Rest<'a, 'n> {
    Map(ValueIter<'a, HeaderValue>),
    Read { lines: &'a [FieldLine<'a>], name: &'n [u8] },
    Block { lines: BlockLines<'a>, name: &'n [u8] },
}

impl<'a> Iterator for Lines<'a, '_> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.0 {
            Rest::Map(values) => values.next().map(HeaderValue::as_bytes),
            Rest::Read { lines, name } => {
                while let [line, rest @ ..] = *lines {
                    *lines = rest;
                    if line.name.len() == name.len() && line.name.eq_ignore_ascii_case(name) {
                        return Some(line.value);
                    }
                }
                None
            }
            Rest::Block { lines, name } => {
                lines.find(|line| line.name == *name).map(|line| line.value)
            }
        }
    }
}

/// Fields as they go onto the wire of HTTP/1.1, in one block of bytes: names in small letters, a colon
/// and a space, the value, CRLF. Whoever answers with them as they are copies the block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldBlock(Box<[u8]>);

impl FieldBlock {
    /// The lines.
    pub fn iter(&self) -> BlockLines<'_> {
        BlockLines(&self.0)
    }

    /// The lines of a part of a block, and where in it each of them lies with what ends it.
    pub(crate) fn spans(block: &[u8]) -> impl Iterator<Item = (FieldLine<'_>, Range<usize>)> {
        let mut lines = BlockLines(block);
        std::iter::from_fn(move || {
            let start = block.len() - lines.0.len();
            let line = lines.next()?;
            Some((line, start..block.len() - lines.0.len()))
        })
    }

    /// The block.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FieldBlock {
    /// Lays out these fields, those that are `first` before all others, and tells where those end. The
    /// lines of one name stay in their order; that between names means nothing (RFC 9110 §5.3).
    pub(crate) fn laid_out(
        map: &HeaderMap,
        first: impl Fn(&HeaderName) -> bool,
    ) -> (FieldBlock, usize) {
        let bytes =
            |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
        let mut block = Vec::with_capacity(map.iter().map(bytes).sum());
        let mut write = |of_the_first: bool| {
            for (name, value) in map.iter().filter(|(name, _)| first(name) == of_the_first) {
                block.extend_from_slice(name.as_str().as_bytes());
                block.extend_from_slice(b": ");
                block.extend_from_slice(value.as_bytes());
                block.extend_from_slice(b"\r\n");
            }
            block.len()
        };
        let first_end = write(true);
        write(false);
        (FieldBlock(block.into()), first_end)
    }
}

impl From<&HeaderMap> for FieldBlock {
    fn from(map: &HeaderMap) -> Self {
        FieldBlock::laid_out(map, |_| true).0
    }
}

/// The lines of a block.
#[derive(Clone, Debug)]
pub struct BlockLines<'a>(&'a [u8]);

impl<'a> Iterator for BlockLines<'a> {
    type Item = FieldLine<'a>;

    fn next(&mut self) -> Option<FieldLine<'a>> {
        // No name has a colon in it, and no value the end of a line.
        let end = memchr::memchr(b'\r', self.0)?;
        let (line, rest) = self.0.split_at(end);
        self.0 = rest.get(2..).unwrap_or_default();
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        Some(FieldLine { name: &line[..colon], value: line.get(colon + 2..).unwrap_or_default() })
    }
}

/// Writes a number in decimal digits, as it stands in a field.
pub fn write_number(number: u64, out: &mut impl BufMut) {
    out.put_slice(digits(number, &mut [0; 20]));
}

/// The same at the end of a text.
pub fn push_number(number: u64, out: &mut String) {
    out.extend(digits(number, &mut [0; 20]).iter().map(|digit| char::from(*digit)));
}

/// Reads a decimal number; one too large for u64 counts as the largest, since no body is that long
/// (RFC 9110 §14.1.2 asks that large numbers do no harm).
pub(crate) fn read_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number: u64, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    }))
}

fn digits(mut number: u64, place: &mut [u8; 20]) -> &[u8] {
    let mut at = place.len();
    loop {
        at -= 1;
        place[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &place[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A few names, so that many repeat, and values with what is allowed and odd.
    fn any_fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
        let name = "(cache-control|cookie|x-a|x-b|etag|via)";
        let value = vec(
            prop_oneof![Just(b':'), Just(b' '), Just(b'\t'), 0x21..=0x7e_u8, 0x80..=0xff_u8],
            0..9,
        );
        vec((name, value), 0..8)
    }

    fn map_of(fields: &[(String, Vec<u8>)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(value.trim_ascii()).unwrap());
        }
        map
    }

    proptest! {
        #[test]
        fn however_they_are_held_they_say_the_same(fields in any_fields(), shout in any::<bool>()) {
            let map = map_of(&fields);
            let block = FieldBlock::from(&map);
            let names: Vec<String> = fields
                .iter()
                .map(|(name, _)| if shout { name.to_uppercase() } else { name.clone() })
                .collect();
            let lines: Vec<FieldLine<'_>> = fields
                .iter()
                .zip(&names)
                .map(|((_, value), name)| FieldLine { name: name.as_bytes(), value: value.trim_ascii() })
                .collect();
            let (of_map, of_block) = (Fields::from(&map), Fields::from(&block));
            let read = Fields::of_lines(&lines);
            for name in ["cache-control", "cookie", "x-a", "x-b", "etag", "via", "age"] {
                let expected: Vec<_> = of_map.lines(name).collect();
                prop_assert_eq!(read.lines(name).collect::<Vec<_>>(), expected.clone());
                prop_assert_eq!(of_block.lines(name).collect::<Vec<_>>(), expected.clone());
                for held in [of_map, of_block, read] {
                    prop_assert_eq!(held.contains(name), !expected.is_empty());
                    prop_assert_eq!(held.first(name), expected.first().copied());
                }
            }
            prop_assert_eq!(of_block.to_map(), map.clone());
            prop_assert_eq!(read.to_map(), map);
        }
    }

    #[test]
    fn a_block_is_what_stands_on_the_wire() {
        let map = map_of(&[("etag".to_owned(), b"\"1\"".to_vec()), ("x-a".to_owned(), Vec::new())]);
        assert_eq!(FieldBlock::from(&map).as_bytes(), b"etag: \"1\"\r\nx-a: \r\n");
    }
}
