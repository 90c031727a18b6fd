//! Nearest: which of the right names somebody has meant.

/// What others call it, where the names do not look alike.
const ELSEWHERE: &[(&str, &str)] = &[
    ("addr", "listen"),
    ("address", "listen"),
    ("backend", "upstream"),
    ("bind", "listen"),
    ("cert", "certificate"),
    ("cert_file", "certificate"),
    ("default_ttl", "ttl"),
    ("dns", "url"),
    ("explain_token", "explain_token_file"),
    ("hosts", "host"),
    ("key_file", "key"),
    ("level", "levels"),
    ("location", "path"),
    ("max_size", "size"),
    ("method", "methods"),
    ("origin", "url"),
    ("password", "password_file"),
    ("pattern", "path"),
    ("port", "listen"),
    ("private_key", "key"),
    ("prefix", "path"),
    ("proxy_pass", "upstream"),
    ("routes", "route"),
    ("server", "url"),
    ("service", "upstream"),
    ("sie", "stale_if_error"),
    ("ssl", "tls"),
    ("swr", "stale_while_revalidate"),
    ("target", "url"),
    ("timeout", "whole_timeout"),
    ("upstreams", "upstream"),
    ("workers", "threads"),
];

/// The name among `known` that `written` stands for, as far as can be told.
pub(super) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = written.to_ascii_lowercase().replace('-', "_");
    let known: Vec<_> = known.into_iter().collect();
    let elsewhere = ELSEWHERE.iter().find(|(name, ours)| *name == lower && known.contains(ours));
    if let Some((_, ours)) = elsewhere {
        return known.into_iter().find(|name| name == ours);
    }
    let allowed = (lower.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|name| (distance(&lower, name), name));
    let (least, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (least <= allowed).then_some(name)
}

/// How many letters have to be added, taken away, changed, or swapped with their neighbour (Damerau and
/// Levenshtein, each pair swapped once at most).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<_>, Vec<_>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![vec![0; other.len() + 1]; one.len() + 1];
    for at in 0..=one.len() {
        for to in 0..=other.len() {
            if at == 0 || to == 0 {
                rows[at][to] = at + to;
                continue;
            }
            let differs = usize::from(one[at - 1] != other[to - 1]);
            let mut least = (rows[at - 1][to] + 1).min(rows[at][to - 1] + 1);
            least = least.min(rows[at - 1][to - 1] + differs);
            if at > 1 && to > 1 && one[at - 1] == other[to - 2] && one[at - 2] == other[to - 1] {
                least = least.min(rows[at - 2][to - 2] + 1);
            }
            rows[at][to] = least;
        }
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_behind_a_slip_of_the_finger_and_by_what_others_call_it() {
        const KNOWN: [&str; 4] = ["listen", "threads", "max_connections", "certificate"];
        for (written, meant) in [
            ("lisen", Some("listen")),
            ("lsiten", Some("listen")),
            ("Listen", Some("listen")),
            ("max-connections", Some("max_connections")),
            ("thread", Some("threads")),
            ("port", Some("listen")),
            ("cert", Some("certificate")),
            // What others call something else that is not known here.
            ("ssl", None),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, KNOWN), meant, "{written}");
        }
        assert_eq!(nearest("listen", []), None);
    }
}
