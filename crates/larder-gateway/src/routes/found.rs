//! Found: which routes were found of late. A route that many ask for is looked for once.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use http::Method;

/// So many are known to each thread, each at one of the two places that its hash says.
const ROWS: usize = 4096;
/// Longer ones, host and target together, are looked for each time.
const LONGEST: usize = 128;

/// What one thread knows: some 700 KiB at most, of which nothing is there before the first route is found.
#[derive(Debug, Default)]
pub(super) struct Found {
    rows: Box<[Row]>,
    hasher: RandomState,
}

/// Of a request what its route is found by, as it was read, where no field decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    /// The routes that are asked, and the method.
    of: u64,
    host: &'a [u8],
    target: &'a [u8],
}

#[derive(Clone, Debug, Default)]
struct Row {
    /// 0: there is none.
    of: u64,
    place: usize,
    host: usize,
    /// The host, and the target behind it.
    text: Vec<u8>,
}

impl<'a> Asking<'a> {
    /// Of the routes with this number, which is never 0. `None`: it is not to be remembered.
    #[inline]
    pub(super) fn of(
        routes: u64,
        method: &Method,
        host: &'a [u8],
        target: &'a [u8],
    ) -> Option<Asking<'a>> {
        let is_head = match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            _ => return None,
        };
        let is_short = host.len() + target.len() <= LONGEST;
        is_short.then_some(Asking { of: routes << 1 | is_head, host, target })
    }
}

impl Row {
    #[inline]
    fn is_of(&self, asking: Asking<'_>) -> bool {
        self.of == asking.of && {
            let (host, target) = self.text.split_at(self.host);
            target == asking.target && host == asking.host
        }
    }
}

/// Where what is found for a request is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowOf(usize);

impl Found {
    /// Which place was found for it, or where to remember it.
    #[inline]
    pub(super) fn place(&self, asking: Asking<'_>) -> Result<usize, RowOf> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(asking.target);
        hasher.write(asking.host);
        let at = hasher.finish() as usize % ROWS;
        let (first, second) = (self.rows.get(at).ok_or(RowOf(at))?, &self.rows[at ^ 1]);
        if first.is_of(asking) {
            return Ok(first.place);
        }
        if second.is_of(asking) { Ok(second.place) } else { Err(RowOf(at)) }
    }

    /// This place was found for it, and is the first to be looked at. What the second row was of before is looked for again.
    pub(super) fn remember(&mut self, RowOf(at): RowOf, asking: Asking<'_>, place: usize) {
        if self.rows.is_empty() {
            self.rows = vec![Row::default(); ROWS].into();
        }
        self.rows.swap(at, at ^ 1);
        let row = &mut self.rows[at];
        let Asking { of, host, target } = asking;
        (row.of, row.place, row.host) = (of, place, host.len());
        row.text.clear();
        row.text.extend_from_slice(host);
        row.text.extend_from_slice(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_found_again_for_the_same_and_nothing_else() {
        let mut found = Found::default();
        let get = Asking::of(1, &Method::GET, b"a.test", b"/p").unwrap();
        let row = found.place(get).unwrap_err();
        found.remember(row, get, 7);
        assert_eq!(found.place(get).ok(), Some(7));
        // Also where others have the same row.
        found.rows.fill(found.rows[row.0].clone());
        for (routes, method, host, target) in [
            (2, Method::GET, "a.test", "/p"),
            (1, Method::HEAD, "a.test", "/p"),
            (1, Method::GET, "a.tes", "t/p"),
            (1, Method::GET, "a.test/", "p"),
            (1, Method::GET, "", "a.test/p"),
            (1, Method::GET, "b.test", "/p"),
            (1, Method::GET, "a.test", "/p?"),
        ] {
            let other = Asking::of(routes, &method, host.as_bytes(), target.as_bytes()).unwrap();
            assert!(found.place(other).is_err(), "{other:?}");
        }
        assert_eq!(found.place(get).ok(), Some(7));
    }

    #[test]
    fn two_whose_places_are_the_same_are_both_known_and_the_third_takes_that_of_the_first() {
        let mut found = Found::default();
        let target = |number: usize| format!("/{number}");
        let place = |target: &str| {
            let asking = Asking::of(1, &Method::GET, b"a", target.as_bytes()).unwrap();
            let RowOf(at) = found.place(asking).unwrap_err();
            at
        };
        let first = place(&target(0));
        let same: Vec<_> =
            (0..).map(target).filter(|target| place(target) == first).take(3).collect();
        let ask = |target: &str, found: &mut Found, place| {
            let asking = Asking::of(1, &Method::GET, b"a", target.as_bytes()).unwrap();
            let known = found.place(asking);
            if let Err(row) = known {
                found.remember(row, asking, place);
            }
            known.ok()
        };
        assert_eq!([ask(&same[0], &mut found, 0), ask(&same[1], &mut found, 1)], [None, None]);
        assert_eq!(
            [ask(&same[0], &mut found, 0), ask(&same[1], &mut found, 1)],
            [Some(0), Some(1)]
        );
        assert_eq!(ask(&same[2], &mut found, 2), None);
        assert_eq!(
            [ask(&same[1], &mut found, 1), ask(&same[2], &mut found, 2)],
            [Some(1), Some(2)]
        );
        assert_eq!(ask(&same[0], &mut found, 0), None);
    }

    #[test]
    fn what_is_long_or_of_another_method_is_not_remembered() {
        let long = [b'/'; LONGEST];
        assert!(Asking::of(1, &Method::GET, b"", &long).is_some());
        assert!(Asking::of(1, &Method::GET, b"a", &long).is_none());
        assert!(Asking::of(1, &Method::POST, b"a", b"/").is_none());
    }

    #[test]
    fn it_takes_as_much_as_it_says_however_many_are_asked_for() {
        let mut found = Found::default();
        for number in 0..10_000 {
            let target = format!("/{number:0100}");
            let asking = Asking::of(1, &Method::GET, b"a.test", target.as_bytes()).unwrap();
            let row = found.place(asking).unwrap_err();
            found.remember(row, asking, number);
        }
        let texts = found.rows.iter().map(|row| row.text.capacity());
        assert!(texts.max() <= Some(LONGEST) && size_of::<Row>() * ROWS + LONGEST * ROWS < 730_000);
    }
}
