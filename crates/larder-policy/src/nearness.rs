//! Nearness: in what a stored response is not what a request asks for, where the two are nearly the same.
//!
//! Most misses that nobody expects are of this kind: the page is stored, but for another parameter, host or spelling of the
//! path, or for a request with another field. Keys are compared as text and nothing is allocated until two are near.

use crate::key_parts::{Part, Split};

/// More pieces than this differ in keys that nobody would take for each other.
const MOST_DIFFERENCES: usize = 3;

/// One piece in which a stored response differs from what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs.
    pub part: Part,
    /// Of a parameter, a field or a cookie: its name. Of a query without: the order of its parameters.
    pub name: Option<String>,
    /// What the request has there, if it has anything.
    pub asked: Option<String>,
    /// What is stored there. What may be somebody's secret is [`HIDDEN`].
    pub stored: Option<String>,
}

/// Stands for a value that may tell who somebody is.
pub const HIDDEN: &str = "(hidden)";

/// How far a stored key is from one that was asked for: the nearest is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distance {
    /// In how many pieces it differs.
    pub pieces: usize,
    /// In how many of them it has something of its own. The page without the parameter that an advertisement has added comes
    /// before the same page with another value of it.
    pub of_its_own: usize,
}

/// A key to which others are compared.
#[derive(Clone, Copy, Debug)]
pub struct WantedKey<'k>(Split<'k>);

impl<'k> WantedKey<'k> {
    /// This one, as [`key`](crate::key) writes it.
    pub fn new(key: &'k str) -> WantedKey<'k> {
        WantedKey(Split::of(key))
    }

    /// How far `stored` is from it. `None`: it is the same, or differs in so many pieces that it is another page.
    pub fn distance(&self, stored: &str) -> Option<Distance> {
        let wanted = &self.0;
        // Nearly all keys are told to be far from it by this: another path.
        let stored = Split::of(stored);
        if !is_like(wanted.path, stored.path) || wanted.rest != stored.rest {
            return None;
        }
        let pieces = usize::from(wanted.path != stored.path)
            + usize::from(wanted.scheme != stored.scheme)
            + usize::from(wanted.host != stored.host);
        let of_queries = match wanted.query == stored.query {
            true => Vec::new(),
            false => differing(wanted, &stored),
        };
        let own = of_queries.iter().filter(|differs| differs.stored.is_some()).count();
        let distance = Distance { pieces: pieces + of_queries.len(), of_its_own: pieces + own };
        (1..=MOST_DIFFERENCES).contains(&distance.pieces).then_some(distance)
    }

    /// In what `stored` differs.
    pub fn differences(&self, stored: &str) -> Vec<Difference> {
        let (wanted, stored) = (&self.0, Split::of(stored));
        let pieces = [
            (Part::Scheme, wanted.scheme, stored.scheme),
            (Part::Host, wanted.host, stored.host),
            (Part::Path, wanted.path, stored.path),
        ];
        let differ = pieces.into_iter().filter(|(_, asked, stored)| asked != stored);
        let mut all: Vec<_> = { differ }
            .map(|(part, asked, stored)| {
                let [asked, stored] = [asked, stored].map(|text| Some(text.to_owned()));
                Difference { part, name: None, asked, stored }
            })
            .collect();
        if wanted.query != stored.query {
            all.extend(differing(wanted, &stored));
        }
        all
    }
}

/// Whether two paths are the same but for capitals and a slash at the end.
fn is_like(one: &str, other: &str) -> bool {
    one.len().abs_diff(other.len()) <= 1
        && one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

/// The parameters in which two queries differ; one more than are near at most.
fn differing(wanted: &Split<'_>, stored: &Split<'_>) -> Vec<Difference> {
    let owned = |value: Option<&str>| Some(value.unwrap_or_default().to_owned());
    let mut left: Vec<_> = stored.parameters().collect();
    let mut differences: Vec<Difference> = Vec::new();
    for (name, value) in wanted.parameters() {
        if differences.len() > MOST_DIFFERENCES {
            return differences;
        }
        if let Some(same) = left.iter().position(|other| *other == (name, value)) {
            left.remove(same);
            continue;
        }
        let asked = owned(value);
        let (name, stored) = (Some(name.to_owned()), None);
        differences.push(Difference { part: Part::Query, name, asked, stored });
    }
    for (name, value) in left {
        if differences.len() > MOST_DIFFERENCES {
            return differences;
        }
        let is_its =
            |known: &&mut Difference| known.name.as_deref() == Some(name) && known.stored.is_none();
        match differences.iter_mut().find(is_its) {
            Some(known) => known.stored = owned(value),
            None => {
                let (name, stored) = (Some(name.to_owned()), owned(value));
                differences.push(Difference { part: Part::Query, name, asked: None, stored });
            }
        }
    }
    if differences.is_empty() {
        let [asked, stored] = [wanted, stored].map(|split| owned(split.query));
        differences.push(Difference { part: Part::Query, name: None, asked, stored });
    }
    differences
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_differs_in_few_pieces_is_near_and_said_so() {
        let wanted = WantedKey::new("https://a.example/posts/1?b=2&a=1");
        for (stored, distance, told) in [
            ("https://a.example/posts/1?b=2&a=1", None, ""),
            ("http://a.example/posts/1?b=2&a=1", Some(1), "scheme: https/http"),
            ("https://www.a.example/posts/1?b=2&a=1", Some(1), "host: a.example/www.a.example"),
            ("https://a.example/Posts/1/?b=2&a=1", Some(1), "path: /posts/1//Posts/1/"),
            ("https://a.example/posts/1?b=2&a=1&utm_source=x", Some(1), "query utm_source: -/x"),
            ("https://a.example/posts/1?b=3&a=1", Some(1), "query b: 2/3"),
            ("https://a.example/posts/1?a=1&b=2", Some(1), "query: b=2&a=1/a=1&b=2"),
            ("https://a.example/posts/1", Some(2), "query b: 2/- query a: 1/-"),
            ("http://b.example/posts/1/?b=2", None, ""),
            ("https://a.example/posts/12?b=2&a=1", None, ""),
            ("https://a.example/posts/1?b=2&a=1 QUERY ab", None, ""),
        ] {
            let pieces = wanted.distance(stored).map(|distance| distance.pieces);
            assert_eq!(pieces, distance, "{stored}");
            if distance.is_some() {
                let said = wanted.differences(stored).into_iter().map(|differs| {
                    let name = differs.name.map(|name| format!(" {name}")).unwrap_or_default();
                    let [asked, stored] = [differs.asked, differs.stored]
                        .map(|value| value.unwrap_or("-".to_owned()));
                    format!("{}{name}: {asked}/{stored}", differs.part.as_str())
                });
                assert_eq!(said.collect::<Vec<_>>().join(" "), told, "{stored}");
            }
        }
    }

    #[test]
    fn the_page_without_what_an_advertisement_adds_is_nearer_than_one_with_another_of_it() {
        let wanted = WantedKey::new("https://a.example/search?q=1&utm_source=new");
        let page = wanted.distance("https://a.example/search?q=1");
        let other = wanted.distance("https://a.example/search?q=1&utm_source=5");
        let more = wanted.distance("https://a.example/search");
        assert!(page < other && other < more, "{page:?} {other:?} {more:?}");
    }

    proptest! {
        #[test]
        fn it_is_as_far_from_one_to_the_other_as_back(
            one in "https?://(a|b)/[xX]/?([?][ab&=1]{0,6})?", other in "https?://(a|b)/[xX]/?([?][ab&=1]{0,6})?",
        ) {
            let pieces = |one: &str, other: &str| WantedKey::new(one).distance(other).map(|is| is.pieces);
            let distance = pieces(&one, &other);
            prop_assert_eq!(distance, pieces(&other, &one));
            if let Some(distance) = distance {
                prop_assert_eq!(WantedKey::new(&one).differences(&other).len(), distance);
            }
        }
    }
}
