//! Nearest: which stored keys may be meant by one that is not there.

/// How many are shown.
const SHOWN: usize = 3;
/// How many letters may be wrong in a path.
const WRONG_LETTERS: usize = 2;
/// Longer paths are compared as wholes only.
const LONGEST_PATH: usize = 200;

/// How far a stored key is from what was written: the nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    /// Only the scheme, the host or the port is another, or missing.
    Origin,
    /// Capitals, a slash at the end, or the query.
    Form,
    /// Folders before it: a service's path (`/posts/1`) and the one under which readers see it
    /// (`/api/posts/1`).
    Folders,
    Letters(usize),
}

/// The keys in `stored` that are nearest to `wanted`, all as near: a few, or none.
pub(crate) fn nearest_keys<'k>(
    wanted: &str,
    stored: impl IntoIterator<Item = &'k String>,
) -> Vec<String> {
    let mut near: Vec<_> = stored
        .into_iter()
        .filter_map(|key| distance(wanted, key).map(|distance| (distance, key)))
        .collect();
    near.sort_unstable();
    near.dedup();
    let least = near.first().map(|(distance, _)| *distance);
    let nearest = near.into_iter().take_while(|(distance, _)| Some(*distance) == least);
    nearest.take(SHOWN).map(|(_, key)| key.clone()).collect()
}

/// `wanted` behind those origins for which it would be the beginning of a key in `stored`.
pub(crate) fn nearest_prefixes<'k>(
    wanted: &str,
    stored: impl IntoIterator<Item = &'k String>,
) -> Vec<String> {
    let path = path_of(wanted);
    if path.is_empty() {
        return Vec::new();
    }
    let mut near: Vec<_> = stored
        .into_iter()
        .filter(|key| path_of(key).starts_with(path))
        .map(|key| key[..key.len() - path_of(key).len()].to_owned() + path)
        .collect();
    near.sort_unstable();
    near.dedup();
    near.truncate(SHOWN);
    near
}

fn distance(wanted: &str, stored: &str) -> Option<Distance> {
    let (path, stored_path) = (path_of(wanted), path_of(stored));
    let without_scheme = stored.split_once("://").map_or(stored, |(_, rest)| rest);
    if path == stored_path || wanted == without_scheme {
        return Some(Distance::Origin);
    }
    let (plain, stored_plain) = (plain(path), plain(stored_path));
    // A home page is near to nothing.
    if plain.is_empty() || stored_plain.is_empty() {
        return None;
    }
    if plain.eq_ignore_ascii_case(stored_plain) {
        return Some(Distance::Form);
    }
    let ends_with = |long: &str, short: &str| {
        long.strip_suffix(short).is_some_and(|folders| folders.ends_with('/'))
    };
    if ends_with(plain, stored_plain) || ends_with(stored_plain, plain) {
        return Some(Distance::Folders);
    }
    wrong_letters(plain.as_bytes(), stored_plain.as_bytes()).map(Distance::Letters)
}

/// A URI from its path on, without the slash that it begins with; another key as it is.
fn path_of(key: &str) -> &str {
    // What begins with `//` is a URI of whichever scheme.
    let rest = key.split_once("://").map(|(_, rest)| rest).or_else(|| key.strip_prefix("//"));
    let path = match rest {
        Some(rest) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => key,
    };
    path.strip_prefix('/').unwrap_or(path)
}

/// Without a query, and without the slash at the end.
fn plain(path: &str) -> &str {
    path.split(['?', '#', ' ']).next().unwrap_or(path).trim_end_matches('/')
}

/// How many letters are wrong, missing or too many (Levenshtein); `None`: more than a slip.
fn wrong_letters(one: &[u8], other: &[u8]) -> Option<usize> {
    let most = WRONG_LETTERS.min(one.len().min(other.len()) / 3);
    if one.len().abs_diff(other.len()) > most || one.len().max(other.len()) > LONGEST_PATH {
        return None;
    }
    // More than may be wrong: what is further from the diagonal is not looked at.
    let far = most + 1;
    let mut row: Vec<usize> = (0..=other.len()).map(|at| at.min(far)).collect();
    for (number, letter) in one.iter().enumerate() {
        let (from, to) = (number.saturating_sub(most), (number + far).min(other.len()));
        let mut diagonal = row[from];
        row[from] = if from == 0 { number + 1 } else { far };
        for at in from..to {
            let changed = diagonal + usize::from(*letter != other[at]);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
        if row[from..=to].iter().all(|wrong| *wrong > most) {
            return None;
        }
    }
    row.last().copied().filter(|wrong| *wrong <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_what_is_far_not_at_all() {
        let stored = [
            "http://localhost:9802/index.html",
            "http://localhost:9802/posts/1",
            "http://localhost:9802/posts/12?page=2",
            "https://example.org/posts/1",
            "http://localhost:9802/",
            "/posts/7",
        ]
        .map(str::to_owned);
        let rows: [(&str, &[&str]); 19] = [
            ("/index.html", &["http://localhost:9802/index.html"]),
            ("index.html", &["http://localhost:9802/index.html"]),
            ("localhost:9802/index.html", &["http://localhost:9802/index.html"]),
            ("http://127.0.0.1:9802/index.html", &["http://localhost:9802/index.html"]),
            ("https://localhost/index.html", &["http://localhost:9802/index.html"]),
            ("/Index.html", &["http://localhost:9802/index.html"]),
            ("/index.html/", &["http://localhost:9802/index.html"]),
            ("/index.htm", &["http://localhost:9802/index.html"]),
            ("/idnex.html", &["http://localhost:9802/index.html"]),
            ("/index.html?x", &["http://localhost:9802/index.html"]),
            ("http://other/", &["http://localhost:9802/"]),
            ("http://a/posts/7", &["/posts/7"]),
            ("/posts/1", &["http://localhost:9802/posts/1", "https://example.org/posts/1"]),
            ("/api/posts/7", &["/posts/7"]),
            ("//localhost:9802/index.htm", &["http://localhost:9802/index.html"]),
            ("/api/index.html", &["http://localhost:9802/index.html"]),
            ("html", &[]),
            ("/about", &[]),
            ("/i", &[]),
        ];
        for (wanted, expected) in rows {
            assert_eq!(nearest_keys(wanted, &stored), expected, "{wanted}");
        }
        assert_eq!(nearest_keys("/a", &[]), [""; 0]);
    }

    #[test]
    fn a_prefix_without_its_origin_is_found_behind_those_that_have_it() {
        let stored =
            ["http://a:1/posts/1", "http://a:1/posts/2", "https://b/posts/3", "https://b/x"]
                .map(str::to_owned);
        let near = ["http://a:1/posts/", "https://b/posts/"];
        assert_eq!(nearest_prefixes("/posts/", &stored), near);
        assert_eq!(nearest_prefixes("http://c/posts/", &stored), near);
        assert_eq!(nearest_prefixes("/", &stored), [""; 0]);
        assert_eq!(nearest_prefixes("/z", &stored), [""; 0]);
    }

    #[test]
    fn letters_are_compared_as_if_all_were_looked_at() {
        let levenshtein = |one: &[u8], other: &[u8]| {
            let mut row: Vec<usize> = (0..=other.len()).collect();
            for (number, letter) in one.iter().enumerate() {
                let mut diagonal = std::mem::replace(&mut row[0], number + 1);
                for at in 0..other.len() {
                    let changed = diagonal + usize::from(*letter != other[at]);
                    diagonal = row[at + 1];
                    row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
                }
            }
            row[other.len()]
        };
        // All words of two letters, around a middle that they share.
        let words: Vec<Vec<u8>> = (0..5_usize)
            .flat_map(|length| (0..1_u8 << length).map(move |bits| (length, bits)))
            .map(|(length, bits)| (0..length).map(|at| b'a' + (bits >> at & 1)).collect())
            .collect();
        for (one, other) in words.iter().flat_map(|one| words.iter().map(move |other| (one, other)))
        {
            let [one, other] = [one, other].map(|word| [word, &b"abba"[..], word].concat());
            let most = WRONG_LETTERS.min(one.len().min(other.len()) / 3);
            let expected = Some(levenshtein(&one, &other)).filter(|wrong| *wrong <= most);
            assert_eq!(wrong_letters(&one, &other), expected, "{one:?} {other:?}");
        }
    }
}
