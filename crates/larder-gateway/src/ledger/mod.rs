//! Ledger: what the requests of each route have come to, and what is stored for it.
//!
//! A route has a row, which is found again by the route's words when the rules are replaced. The number of a row is also the
//! class by which the cache accounts for what is stored for the route. What belongs to routes that are gone from the file is
//! told as one, so that all rows together are all there was.
//!
//! ```text
//! plain hit ─▶ [hits: a cell of its thread's own]   ┐
//! answer ────▶ [row: verdict, reason, times, calls] ├─▶ [table: all rows, as they are now]
//! entry ─────▶ [the cache: entries, bytes by class] ┘
//! ```

mod hits;
mod row;
mod table;
mod times;
mod waits;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use larder::http::{HttpCache, policy::class::Class};

use self::hits::HitCells;
pub(crate) use self::{row::Row, table::Standing};
use crate::routes::Ways;

/// What fits no route. What the cache stores without a class is stored for it.
const OTHERWISE: u16 = 0;
/// What is known of routes that are gone, and of those for which there is no number.
const OTHER: u16 = 1;
/// What is stored for what fits no route where that has a bound of its own.
const OTHERWISE_BOUND: Class = Class::new(2);
/// The first number of a route.
const FIRST: u16 = 3;

/// The rows of all routes.
pub(crate) struct Ledger {
    cache: HttpCache,
    hits: Arc<HitCells>,
    otherwise: Arc<Row>,
    other: Arc<Row>,
    /// Which row is whose. Held while rules are replaced, and while all is read.
    book: Mutex<Book>,
}

struct Book {
    /// Of the routes of now.
    rows: HashMap<Arc<str>, Arc<Row>>,
    /// Of routes that are gone. A request may still be under way that counts there.
    gone: Vec<Arc<Row>>,
    /// Numbers of routes that are gone, of which something is stored.
    leftover: Vec<u16>,
    free: Vec<u16>,
    /// The next number that nobody has had. `None`: all were given out.
    next: Option<u16>,
    /// What each class may hold, of those that have a bound.
    bounds: HashMap<Class, u64>,
}

impl Ledger {
    pub(crate) fn new(cache: HttpCache) -> Ledger {
        let hits = Arc::new(HitCells::new());
        let row = |words: &str, number| Arc::new(Row::new(words.into(), number, Arc::clone(&hits)));
        let book = Book {
            rows: HashMap::new(),
            gone: Vec::new(),
            leftover: Vec::new(),
            free: Vec::new(),
            next: Some(FIRST),
            bounds: HashMap::new(),
        };
        Ledger {
            otherwise: row("otherwise", OTHERWISE),
            other: row("other", OTHER),
            book: Mutex::new(book),
            cache,
            hits,
        }
    }

    /// What fits no route, and what was refused before it was known which it fits.
    pub(crate) fn otherwise(&self) -> &Arc<Row> {
        &self.otherwise
    }

    /// The row of each of these ways, by its place; from now on these are the routes of the file. What is stored by the
    /// rules of a way is accounted for in its row, and bound as the way says.
    pub(crate) fn enter(&self, ways: &mut Ways) -> Vec<Arc<Row>> {
        let mut book = self.book();
        let mut before = std::mem::take(&mut book.rows);
        let count = ways.iter().count();
        let mut rows = Vec::with_capacity(count);
        let mut bounds = HashMap::new();
        for (place, way) in ways.iter_mut().enumerate() {
            let is_otherwise = place + 1 == count;
            let row = match is_otherwise {
                true => Arc::clone(&self.otherwise),
                false => {
                    let words = &way.name.words;
                    let same = book.rows.get(words).map(Arc::clone);
                    let row = same
                        .or_else(|| before.remove(words))
                        .or_else(|| book.come_back(words))
                        .unwrap_or_else(|| self.new_row(&mut book, words));
                    book.rows.insert(Arc::clone(words), Arc::clone(&row));
                    row
                }
            };
            let class = match (is_otherwise, way.max_memory) {
                (true, Some(_)) => OTHERWISE_BOUND,
                _ => row.class(),
            };
            if let Some(max_bytes) = way.max_memory.filter(|_| row.number != OTHER) {
                bounds.insert(class, max_bytes);
            }
            way.account_for(class);
            rows.push(row);
        }
        book.gone.extend(before.into_values());
        let had = std::mem::replace(&mut book.bounds, bounds.clone());
        self.settle(&mut book);
        drop(book);
        // Under no lock: what is too much goes here, and users' code runs where it does.
        for class in had.keys().filter(|class| !bounds.contains_key(*class)) {
            self.cache.bound_class(*class, None);
        }
        for (class, max_bytes) in bounds {
            self.cache.bound_class(class, Some(usize::try_from(max_bytes).unwrap_or(usize::MAX)));
        }
        rows
    }

    fn new_row(&self, book: &mut Book, words: &Arc<str>) -> Arc<Row> {
        match book.number() {
            Some(number) => Arc::new(Row::new(Arc::clone(words), number, Arc::clone(&self.hits))),
            None => Arc::clone(&self.other),
        }
    }

    /// Adds what is known of routes that are gone to the row for all of them, once no request is under way that counts
    /// there; and frees their numbers, once nothing is stored for them.
    fn settle(&self, book: &mut Book) {
        book.gone.retain_mut(|row| {
            if Arc::ptr_eq(row, &self.other) {
                return false;
            }
            let Some(row) = Arc::get_mut(row) else { return true };
            self.other.absorb(row);
            book.leftover.push(row.number);
            false
        });
        let Book { leftover, free, .. } = book;
        leftover.retain(|&number| {
            let is_empty = self.cache.held_by(Class::new(number)).entries == 0;
            free.extend(is_empty.then_some(number));
            !is_empty
        });
    }

    /// It is never left half changed where anything can panic.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn number(&mut self) -> Option<u16> {
        self.free.pop().or_else(|| {
            let next = self.next?;
            self.next = next.checked_add(1);
            Some(next)
        })
    }

    /// The row of a route that was gone, and is there again before its row was closed.
    fn come_back(&mut self, words: &Arc<str>) -> Option<Arc<Row>> {
        let place = self.gone.iter().position(|row| row.words == *words)?;
        Some(self.gone.swap_remove(place))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        time::{Duration, Instant},
    };

    use http::StatusCode;
    use larder::{
        Cache,
        http::{Handled, Policy, Verdict, policy::reason::Reason},
    };

    use larder_admin::routes::Requests;

    use super::*;
    use crate::routes::{Fitting, RouteName, Routes, Way};

    fn ledger() -> Ledger {
        let store = Cache::builder().max_bytes(1 << 20).build();
        Ledger::new(HttpCache::new(store, Policy::guarded()))
    }

    fn ways(words: &[&str]) -> Ways {
        let one = Ways::one(Arc::new(Policy::guarded()));
        let way = |words: &&str| Way {
            name: RouteName { words: (*words).into(), line: None },
            ..one.otherwise().clone()
        };
        let routes = Routes::new(vec![Fitting::default(); words.len()]);
        Ways::new(routes, words.iter().map(way).collect(), one.otherwise().clone())
    }

    fn count(row: &Row, verdict: Verdict, times: u64) {
        let reason = if verdict == Verdict::Hit { Reason::Hit } else { Reason::UriMiss };
        for _ in 0..times {
            let handled = Handled {
                verdict,
                why: reason,
                reason,
                word: "",
                origin: (verdict != Verdict::Hit).then(Duration::default),
                began: Instant::now(),
                saved: Duration::from_millis(1),
            };
            row.answered(&handled, StatusCode::OK);
        }
    }

    fn requests(row: &Row) -> u64 {
        row.by_verdict().sum()
    }

    #[test]
    fn a_row_is_found_again_by_its_words_wherever_its_route_stands() {
        let ledger = ledger();
        let rows = ledger.enter(&mut ways(&["/a", "/b"]));
        count(&rows[0], Verdict::Miss, 1);
        count(&rows[1], Verdict::Hit, 2);
        count(&rows[2], Verdict::Pass, 3);
        let again = ledger.enter(&mut ways(&["/new", "/b", "/a"]));
        let counted: Vec<_> = again.iter().map(|row| requests(row)).collect();
        assert_eq!(counted, [0, 2, 1, 3]);
    }

    #[test]
    fn what_a_route_had_that_is_gone_is_among_the_others_once_nothing_counts_there_any_more() {
        let ledger = ledger();
        let rows = ledger.enter(&mut ways(&["/a", "/b"]));
        count(&rows[0], Verdict::Miss, 5);
        count(&rows[0], Verdict::Hit, 7);
        let under_way = Arc::clone(&rows[0]);
        drop(rows);
        ledger.enter(&mut ways(&["/b"]));
        assert_eq!(requests(&ledger.other), 0);
        // It counts to its end.
        count(&under_way, Verdict::Hit, 1);
        let number = under_way.number;
        drop(under_way);
        ledger.enter(&mut ways(&["/b"]));
        let counts = ledger.other.counts();
        let Requests { miss, hit, .. } = ledger.other.by_verdict();
        assert_eq!((miss, hit), (5, 8));
        assert_eq!(counts.reasons, [(Reason::UriMiss, 5)]);
        assert_eq!(counts.saved, Duration::from_millis(13));
        // Its number is another's, which begins with nothing.
        let rows = ledger.enter(&mut ways(&["/b", "/c"]));
        assert_eq!((rows[1].number, requests(&rows[1])), (number, 0));
    }

    #[test]
    fn a_route_that_comes_back_while_it_counts_has_its_row_again() {
        let ledger = ledger();
        let rows = ledger.enter(&mut ways(&["/a"]));
        count(&rows[0], Verdict::Miss, 5);
        ledger.enter(&mut ways(&[]));
        let again = ledger.enter(&mut ways(&["/a"]));
        assert!(Arc::ptr_eq(&rows[0], &again[0]));
    }

    #[test]
    fn more_routes_than_there_are_numbers_are_accounted_for_as_one() {
        let ledger = ledger();
        let words: Vec<String> = (0..=u32::from(u16::MAX)).map(|n| format!("/{n}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let rows = ledger.enter(&mut ways(&words));
        let others = rows.iter().filter(|row| Arc::ptr_eq(row, &ledger.other)).count();
        assert_eq!(others, usize::from(FIRST));
        let numbers: HashSet<_> = rows.iter().map(|row| row.number).collect();
        assert_eq!(numbers.len(), words.len() + 1 - others + 1);
    }

    #[test]
    fn each_way_stores_by_its_row_s_class_and_what_has_none_by_none() {
        let ledger = ledger();
        let mut ways = ways(&["/a", "/b"]);
        let rows = ledger.enter(&mut ways);
        let classes: Vec<_> = ways.iter().map(|way| way.policy.class()).collect();
        assert_eq!(classes, [rows[0].class(), rows[1].class(), Class::NONE]);
        // As the cache's own rules: requests need not bring them along.
        assert_eq!(*ways.otherwise().policy, *ledger.cache.policy());
    }
}
