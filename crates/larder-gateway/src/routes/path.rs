//! Path: that of a request, and where its parts end.

/// The ends of so many parts are known, counted from the front. Routes are found by no more.
pub(super) const KNOWN_ENDS: usize = 8;

/// A path without a query.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    text: &'a str,
    /// Each is where a slash stands, or the text ends.
    ends: [u32; KNOWN_ENDS],
    /// So many of them there are.
    parts: usize,
}

impl<'a> Path<'a> {
    /// Written as services read it (`larder_policy::uri::as_read`).
    pub fn new(text: &'a str) -> Path<'a> {
        let mut path = Path { text, ..Path::empty() };
        // What a path begins with is a slash, and a part follows.
        let slashes = text.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'/');
        slashes.for_each(|(at, _)| path.end_part(at));
        if !text.is_empty() {
            path.end_part(text.len());
        }
        path
    }

    /// None yet.
    #[inline]
    pub(super) fn empty() -> Path<'a> {
        Path { text: "", ends: [0; KNOWN_ENDS], parts: 0 }
    }

    /// Makes this empty one the path in a target; its query. `None`: something in the path is encoded or should be, a part is
    /// empty, begins with a dot or has parameters. One look at each byte, and it is written where it is to stand.
    #[inline]
    pub(super) fn read_plain(&mut self, target: &'a str) -> Option<&'a str> {
        let bytes = target.as_bytes();
        if bytes.first() != Some(&b'/') {
            return None;
        }
        self.text = target;
        let mut query = "";
        for (at, &byte) in bytes.iter().enumerate().skip(1) {
            if !MATTERS[usize::from(byte)] {
                continue;
            }
            match byte {
                b'/' | b'.' if bytes[at - 1] == b'/' => return None,
                b'/' => self.end_part(at),
                b'.' => {}
                b'?' => {
                    (self.text, query) = (&target[..at], &target[at + 1..]);
                    break;
                }
                _ => return None,
            }
        }
        self.end_part(self.text.len());
        Some(query)
    }

    /// As it was given.
    pub(super) fn as_str(&self) -> &'a str {
        self.text
    }

    /// Where so many parts end, from the front. `None`: it has not as many, or they are not counted.
    #[inline]
    pub(super) fn end_of(&self, parts: usize) -> Option<usize> {
        let place = parts.checked_sub(1).filter(|_| parts <= self.parts)?;
        self.ends.get(place).map(|end| *end as usize)
    }

    /// Whether it has so many parts, of which those behind the first `known` have something in them. `parts` are fewer than
    /// have known ends.
    #[inline]
    pub(super) fn has(&self, known: usize, parts: usize) -> bool {
        let begins = |part: usize| if part == 0 { 0 } else { self.ends[part - 1] };
        self.parts == parts && (known..parts).all(|part| self.ends[part] > begins(part) + 1)
    }

    #[inline]
    fn end_part(&mut self, at: usize) {
        if let Some(end) = self.ends.get_mut(self.parts) {
            // No head of a request has as many bytes.
            *end = at as u32;
            self.parts += 1;
        }
    }
}

/// Whether a byte says something of a path's form.
const MATTERS: [bool; 256] = {
    let mut matters = [false; 256];
    let mut rest: &[u8] = b"/.?%;\\\"<>[]^`{|}";
    while let [byte, others @ ..] = rest {
        matters[*byte as usize] = true;
        rest = others;
    }
    matters
};

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(target: &str) -> Option<(Path<'_>, &str)> {
        let mut path = Path::empty();
        let query = path.read_plain(target)?;
        Some((path, query))
    }

    fn ends(path: Path<'_>) -> Vec<usize> {
        (1..=KNOWN_ENDS + 1).map_while(|parts| path.end_of(parts)).collect()
    }

    #[test]
    fn parts_end_at_the_next_slash_or_with_the_path() {
        for (text, all) in [
            ("/", &[1][..]),
            ("/a", &[2]),
            ("/a/", &[2, 3]),
            ("/ab/c", &[3, 5]),
            ("//", &[1, 2]),
            ("*", &[1]),
            ("", &[]),
        ] {
            assert_eq!(ends(Path::new(text)), all, "{text:?}");
            assert_eq!(Path::new(text).end_of(0), None);
        }
    }

    #[test]
    fn parts_are_counted_and_those_of_a_pattern_have_something_in_them() {
        for (text, known, parts, has) in [
            ("/", 0, 1, false),
            ("/a", 0, 1, true),
            ("/a", 1, 1, true),
            ("/a", 0, 2, false),
            ("/a/", 1, 2, false),
            ("/a/", 2, 2, true),
            ("/a/b", 1, 2, true),
            ("/a/b", 1, 1, false),
            ("//b", 0, 2, false),
            ("//b", 1, 2, true),
        ] {
            assert_eq!(Path::new(text).has(known, parts), has, "{text} {known} {parts}");
        }
    }

    #[test]
    fn no_more_ends_are_known_than_routes_are_found_by() {
        let long = "/a".repeat(KNOWN_ENDS + 3);
        let (plain, _) = plain(&long).unwrap();
        assert_eq!(ends(plain).len(), KNOWN_ENDS);
        assert_eq!(ends(Path::new(&long)), ends(plain));
        assert_eq!(plain.as_str(), long);
    }

    #[test]
    fn a_plain_path_is_read_as_any_other_and_what_is_not_plain_is_left() {
        for (target, parts) in [
            ("/", Some(("/", ""))),
            ("/a/b.c?x=/../%41;", Some(("/a/b.c", "x=/../%41;"))),
            ("/a?", Some(("/a", ""))),
            ("/a/?b?c", Some(("/a/", "b?c"))),
            ("", None),
            ("*", None),
            ("?", None),
            ("//a", None),
            ("/a//b", None),
            ("/a/.b", None),
            ("/..", None),
            ("/a;b", None),
            ("/%61", None),
            ("/{a}", None),
            ("/a\\b", None),
            ("/@a:b", Some(("/@a:b", ""))),
        ] {
            let plain = plain(target);
            assert_eq!(plain.map(|(path, query)| (path.as_str(), query)), parts, "{target}");
            if let Some((path, _)) = plain {
                assert_eq!(ends(path), ends(Path::new(path.as_str())), "{target}");
            }
        }
    }
}
