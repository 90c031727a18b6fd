//! Copies: entries whose keys differ in one parameter of the query alone. Often they are one page, stored once for each link
//! that somebody has sent; whether the answer depends on the parameter, keys do not tell.
//!
//! It is worked out from a list that is made for `/v1/entries` anyway, never where requests are answered.

use std::{
    cmp::Reverse,
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::SystemTime,
};

use axum::{
    Json,
    extract::{RawQuery, State},
};
use larder::listing::{Order, Place};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    console::Console,
    problem::{Problem, ProblemView},
    question::Question,
    snapshots::Wanted,
};

/// So many parameters are told, those first that take the most room.
const TOLD: usize = 5;
/// Of a longer query the first parameters are looked at.
const MOST_PARAMETERS: usize = 16;
/// A longer name is nobody's choice.
const MOST_NAME_BYTES: usize = 64;

/// Which entries.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it says what a question looks like; the text is read by `Question`")]
pub(crate) struct CopiesQuestion {
    /// The cache, by its name; left out: all.
    cache: Option<String>,
    /// Only entries of this route, in the words of its file.
    route: Option<String>,
}

/// Which parameters multiply the entries most.
#[derive(Serialize, ToSchema)]
pub(crate) struct CopiesFound {
    /// When the list that it is worked out from was begun; of several caches, the oldest.
    #[schema(format = DateTime)]
    snapshot_at: String,
    /// At so many entries was looked: those that weigh most.
    looked_at: u64,
    /// Of so many.
    total: u64,
    /// Five of a cache at most, those first that take the most room.
    copies: Vec<CopiesView>,
}

/// Entries whose keys differ in one parameter alone.
#[derive(Serialize, ToSchema)]
#[schema(as = Copies)]
pub(crate) struct CopiesView {
    cache: String,
    parameter: String,
    /// It is one of those that advertisement networks and newsletters add to links: no answer depends on it.
    is_tracking: bool,
    /// How many entries there are of these pages.
    entries: u64,
    /// What those weigh.
    bytes: u64,
    /// How many entries there would be without the parameter.
    pages: u64,
    /// What would be saved by that.
    spare_bytes: u64,
    most: PageCopiesView,
}

/// The page that is stored most often.
#[derive(Serialize, ToSchema)]
#[schema(as = PageCopies)]
pub(crate) struct PageCopiesView {
    /// Its key, without the parameter.
    page: String,
    entries: u64,
    /// What those weigh.
    bytes: u64,
    /// Its route, where that is known.
    route: Option<String>,
}

/// The parameters whose values multiply the entries most. Of a large cache the 10,000 entries that weigh most are looked at.
#[utoipa::path(
    get, path = "/v1/copies", tag = "entries", params(CopiesQuestion),
    responses(
        (status = 200, description = "Those that take the most room.", body = CopiesFound),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn copies(
    State(console): State<Arc<Console>>,
    RawQuery(query): RawQuery,
) -> Result<Json<CopiesFound>, Problem> {
    let mut said = Question::of(query.as_deref(), &["cache", "route"])?;
    let caches = console.caches_called(said.take("cache").as_deref())?;
    let route = said.take("route");
    let (mut copies, mut lists) = (Vec::new(), Vec::new());
    for at in caches {
        let cache = &console.caches[at];
        let (prefix, contains, tag) = (None, None, None);
        let wanted =
            Wanted { cache: at, order: Order::Bytes, prefix, contains, tag, route: route.clone() };
        let whole = console.snapshots.whole(cache, &console.key_routes, &wanted).await?;
        let list = Arc::clone(&whole);
        let found = console.snapshots.alone(move || {
            let mut found = copies_in(list.rows.iter().map(|row| (row.key.as_str(), weight(row))));
            found.truncate(TOLD);
            found
        });
        copies
            .extend({ found.await? }.into_iter().map(|found| console.view_of(cache.name(), found)));
        lists.push(whole);
    }
    copies.sort_by_key(|copies| Reverse(copies.spare_bytes));
    let snapshot_at = lists.iter().map(|list| list.began).min().unwrap_or_else(SystemTime::now);
    Ok(Json(CopiesFound {
        snapshot_at: humantime::format_rfc3339_millis(snapshot_at).to_string(),
        looked_at: lists.iter().map(|list| list.rows.len() as u64).sum(),
        total: lists.iter().map(|list| list.total).sum(),
        copies,
    }))
}

/// What an entry of a list by [`Order::Bytes`] weighs.
fn weight(row: &Place) -> u64 {
    u64::MAX - row.rank
}

impl Console {
    fn view_of(&self, cache: &str, found: Copies) -> CopiesView {
        let Copies { parameter, entries, bytes, pages, spare_bytes, most } = found;
        let route = self.key_routes.route_of(&most.page).map(|route| route.to_string());
        CopiesView {
            cache: cache.to_owned(),
            is_tracking: is_tracking(&parameter),
            parameter,
            entries,
            bytes,
            pages,
            spare_bytes,
            most: PageCopiesView {
                page: most.page,
                entries: most.entries,
                bytes: most.bytes,
                route,
            },
        }
    }
}

/// Whether `query_deny = ["tracking"]` leaves it out.
#[cfg(feature = "http")]
fn is_tracking(parameter: &str) -> bool {
    use larder::http::policy::query::QueryRecipe;
    let Ok(recipe) = QueryRecipe::default().without(&["tracking"]) else { return false };
    let mut left = Vec::new();
    recipe.written(format!("/?{parameter}=").as_bytes(), &mut left) == Some(b"/")
}

#[cfg(not(feature = "http"))]
fn is_tracking(_: &str) -> bool {
    false
}

/// Entries whose keys differ in one parameter alone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Copies {
    parameter: String,
    /// Only of pages that are there twice or more.
    entries: u64,
    bytes: u64,
    pages: u64,
    /// All but the largest of each page.
    spare_bytes: u64,
    most: PageCopies,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PageCopies {
    /// The key without the parameter.
    page: String,
    entries: u64,
    bytes: u64,
}

/// The entries of one page, by one parameter.
struct Group<'k> {
    /// One of their keys.
    key: &'k str,
    entries: u64,
    bytes: u64,
    largest: u64,
}

/// The copies among keys and what each weighs, those first that take the most room. The order of the keys changes nothing.
/// It takes memory for sixteen pieces of each key at most.
fn copies_in<'k>(rows: impl IntoIterator<Item = (&'k str, u64)>) -> Vec<Copies> {
    let hasher = RandomState::new();
    let mut groups: HashMap<(&str, u64), Group<'_>> = HashMap::new();
    for (key, bytes) in rows {
        let split = Split::of(key);
        for name in split.names() {
            let page = hasher.hash_one(split.without(name).collect::<Vec<_>>());
            let none = Group { key, entries: 0, bytes: 0, largest: 0 };
            let group = groups.entry((name, page)).or_insert(none);
            group.entries += 1;
            group.bytes = group.bytes.saturating_add(bytes);
            group.largest = group.largest.max(bytes);
        }
    }
    let mut by_name: HashMap<&str, Copies> = HashMap::new();
    for ((name, _), group) in groups {
        if group.entries < 2 {
            continue;
        }
        let page = || Split::of(group.key).without(name).collect::<String>();
        let spare = group.bytes.saturating_sub(group.largest);
        let copies = by_name.entry(name).or_insert_with(|| Copies {
            parameter: name.to_owned(),
            entries: 0,
            bytes: 0,
            pages: 0,
            spare_bytes: 0,
            most: PageCopies { page: page(), entries: 0, bytes: 0 },
        });
        copies.entries += group.entries;
        copies.bytes = copies.bytes.saturating_add(group.bytes);
        copies.pages += 1;
        copies.spare_bytes = copies.spare_bytes.saturating_add(spare);
        let most = &copies.most;
        let is_more = (group.entries, group.bytes).cmp(&(most.entries, most.bytes));
        if is_more.is_gt() || (is_more.is_eq() && page() < most.page) {
            copies.most = PageCopies { page: page(), entries: group.entries, bytes: group.bytes };
        }
    }
    let mut all: Vec<_> = by_name.into_values().collect();
    all.sort_unstable_by(|one, other| {
        let rank = |copies: &Copies| (copies.spare_bytes, copies.entries - copies.pages);
        rank(other).cmp(&rank(one)).then_with(|| one.parameter.cmp(&other.parameter))
    });
    all
}

/// A key that has a query: what stands before it, in it and behind it.
#[derive(Clone, Copy)]
struct Split<'k> {
    before: &'k str,
    query: &'k str,
    behind: &'k str,
}

impl<'k> Split<'k> {
    /// A key without a query has an empty one.
    fn of(key: &'k str) -> Split<'k> {
        let Some(mark) = key.find('?') else { return Split { before: key, query: "", behind: "" } };
        let query = &key[mark + 1..];
        // What tells answers of one URI apart stands behind it.
        let is_end = |letter: char| letter == '#' || letter.is_whitespace() || letter.is_control();
        let end = query.find(is_end).unwrap_or(query.len());
        Split { before: &key[..mark], query: &query[..end], behind: &query[end..] }
    }

    fn pairs(self) -> impl Iterator<Item = &'k str> {
        self.query.split('&').filter(|pair| !pair.is_empty())
    }

    /// The names of its parameters, each once.
    fn names(self) -> Vec<&'k str> {
        let mut names: Vec<_> = self.pairs().take(MOST_PARAMETERS).map(name_of).collect();
        names.retain(|name| (1..=MOST_NAME_BYTES).contains(&name.len()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The key without a parameter, in pieces.
    fn without(self, name: &str) -> impl Iterator<Item = &'k str> {
        let left = self.pairs().filter(move |pair| name_of(pair) != name);
        let left = left.enumerate().flat_map(|(at, pair)| [if at == 0 { "?" } else { "&" }, pair]);
        [self.before].into_iter().chain(left).chain([self.behind])
    }
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn told(rows: &[(&str, u64)]) -> Vec<Copies> {
        copies_in(rows.iter().copied())
    }

    #[test]
    fn what_differs_in_one_parameter_is_one_page_and_what_else_differs_is_not() {
        let found = told(&[
            ("https://a/p?utm_source=x", 10),
            ("https://a/p?utm_source=y", 30),
            ("https://a/p?utm_source=z", 20),
            ("https://a/p?utm_source=x&q=1", 5),
            ("https://a/p?utm_source=y&q=1", 5),
            ("https://a/other?utm_source=x", 99),
            ("https://a/p", 7),
            ("plain", 7),
        ]);
        let most = PageCopies { page: "https://a/p".to_owned(), entries: 3, bytes: 60 };
        let parameter = "utm_source".to_owned();
        let expected = Copies { parameter, entries: 5, bytes: 70, pages: 2, spare_bytes: 35, most };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn what_tells_answers_of_one_address_apart_keeps_them_apart() {
        assert_eq!(told(&[("https://a/?x=1 de", 1), ("https://a/?x=2 en", 1)]), []);
        assert_eq!(told(&[("https://a/?x=1\u{6}me", 1), ("https://a/?x=2", 1)]), []);
        assert_eq!(told(&[("https://a/?x=1 de", 1), ("https://a/?x=2 de", 1)]).len(), 1);
    }

    #[test]
    fn odd_queries_break_nothing() {
        for query in ["?", "?&&", "?=", "?=1&=2", "?a", "?a=1&a=2", "??", "?a?b=1", "?\u{e9}=1"] {
            told(&[(query, u64::MAX), (query, u64::MAX)]);
        }
        let long = format!("?{}=1", "x".repeat(MOST_NAME_BYTES + 1));
        assert_eq!(told(&[(&long, 1), (&long.replace("=1", "=2"), 1)]), []);
        let many: String = (0..100).map(|at| format!("&p{at}=1")).collect();
        assert_eq!(told(&[(&format!("?{many}"), 1), (&format!("?{many}"), 1)]).len(), 16);
        assert_eq!(told(&[]), []);
    }

    #[cfg(feature = "http")]
    #[test]
    fn tracking_parameters_are_known_by_name() {
        for (name, expected) in
            [("utm_source", true), ("gclid", true), ("q", false), ("", false), ("a&utm_x", false)]
        {
            assert_eq!(is_tracking(name), expected, "{name}");
        }
    }

    /// The same by texts, name by name.
    fn one_by_one(rows: &[(String, u64)]) -> BTreeMap<String, (u64, u64, u64, u64)> {
        let mut groups: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
        for (key, bytes) in rows {
            let Some((before, query)) = key.split_once('?') else { continue };
            let pairs: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).collect();
            let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
            let mut names: Vec<_> = pairs.iter().map(|pair| name(pair)).collect();
            names.sort();
            names.dedup();
            for of in names.into_iter().filter(|name| !name.is_empty()) {
                let left: Vec<_> = pairs.iter().filter(|pair| name(pair) != of).copied().collect();
                let page = format!("{before}?{}", left.join("&"));
                groups.entry((of, page)).or_default().push(*bytes);
            }
        }
        let mut found = BTreeMap::new();
        for ((name, _), bytes) in groups.into_iter().filter(|(_, bytes)| bytes.len() > 1) {
            let (entries, all, pages, spare): &mut (u64, u64, u64, u64) =
                found.entry(name).or_default();
            let sum: u64 = bytes.iter().sum();
            *entries += bytes.len() as u64;
            *all += sum;
            *pages += 1;
            *spare += sum - bytes.iter().max().unwrap();
        }
        found
    }

    proptest! {
        #[test]
        fn it_is_what_comparing_texts_finds_in_whichever_order(
            rows in proptest::collection::vec(("/[ab](\\?([abc](=[12])?&?){0,3})?", 0..100_u64), 0..40),
        ) {
            let of = |rows: &[(String, u64)]| {
                copies_in(rows.iter().map(|(key, bytes)| (key.as_str(), *bytes)))
            };
            let found = of(&rows);
            let summed: BTreeMap<_, _> = found
                .iter()
                .map(|told| {
                    let Copies { parameter, entries, bytes, pages, spare_bytes, .. } = told.clone();
                    (parameter, (entries, bytes, pages, spare_bytes))
                })
                .collect();
            prop_assert_eq!(summed, one_by_one(&rows));
            let mut turned = rows.clone();
            turned.reverse();
            prop_assert_eq!(&of(&turned), &found);
            prop_assert!(found.is_sorted_by(|one, other| one.spare_bytes >= other.spare_bytes));
            for told in &found {
                prop_assert!(told.most.entries >= 2 && told.most.entries <= told.entries);
                prop_assert!(told.entries >= 2 * told.pages && told.spare_bytes <= told.bytes);
            }
        }
    }
}
