//! Readings: what a path may mean to a service, where services differ.
//!
//! `/static/..%2Faccount` is a file to one service, and to another, which decodes a path before it takes dots out, it is
//! `/account`. Whoever goes by routes must not be led past one by a spelling.

/// The ways in which a path is read that not all services share.
#[derive(Clone, Copy, Default)]
struct Reader {
    /// An encoded slash separates parts.
    decodes_slashes: bool,
    /// An encoded backslash is one that is not encoded.
    decodes_backslashes: bool,
    /// A backslash is a slash.
    turns_backslashes: bool,
    /// An encoded semicolon is one that is not encoded.
    decodes_semicolons: bool,
    /// What stands behind a semicolon does not belong to a part's name (RFC 3986 §3.3): `..;a` is `..`, and `/account;a` is
    /// `/account`.
    has_parameters: bool,
    merges: Merges,
}

/// When empty parts go.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Merges {
    #[default]
    Never,
    BeforeDots,
    AfterDots,
}

/// All readings of one path together have no more bytes: else it would take longer to look at them than to answer.
const MOST_BYTES: usize = 64 << 10;

/// Every other path that a service may read in `path`, which is written as in a key, with its dots. None for nearly all.
/// `None`: they are more than anybody looks at.
pub(super) fn others(path: &str) -> Option<Vec<String>> {
    let has = |text: &str| path.contains(text);
    // What is not there is read alike, whichever way.
    let either = |matters: bool| if matters { &[false, true][..] } else { &[false] };
    let slashes = either(has("%2F"));
    let backslashes = either(has("%5C"));
    let turned = either(has("%5C") || has("\\"));
    let semicolons = either(has("%3B"));
    let parameters = either(has("%3B") || has(";"));
    let kinds = [slashes, backslashes, turned, semicolons, parameters];
    if kinds.iter().all(|kind| kind.len() == 1) && !has("//") {
        return Some(Vec::new());
    }
    let merges = [Merges::Never, Merges::BeforeDots, Merges::AfterDots];
    let readings = kinds.iter().map(|kind| kind.len()).product::<usize>() * merges.len();
    if readings * path.len() > MOST_BYTES {
        return None;
    }
    let mut readers: Vec<Reader> =
        merges.iter().map(|merges| Reader { merges: *merges, ..Reader::default() }).collect();
    let mut vary = |kind: &[bool], set: fn(&mut Reader)| {
        if kind.len() > 1 {
            let others = readers.clone().into_iter().map(|mut reader| {
                set(&mut reader);
                reader
            });
            readers.extend(others.collect::<Vec<_>>());
        }
    };
    vary(slashes, |reader| reader.decodes_slashes = true);
    vary(backslashes, |reader| reader.decodes_backslashes = true);
    vary(turned, |reader| reader.turns_backslashes = true);
    vary(semicolons, |reader| reader.decodes_semicolons = true);
    vary(parameters, |reader| reader.has_parameters = true);
    let mut others: Vec<String> = readers.into_iter().map(|reader| reader.read(path)).collect();
    others.sort_unstable();
    others.dedup();
    Some(others)
}

impl Reader {
    /// The path without what it reads in another way than others, and without dots (RFC 3986 §5.2.4).
    fn read(self, path: &str) -> String {
        let mut decoded = path.to_owned();
        let steps = [
            (self.decodes_slashes, "%2F", "/"),
            (self.decodes_backslashes, "%5C", "\\"),
            (self.turns_backslashes, "\\", "/"),
            (self.decodes_semicolons, "%3B", ";"),
        ];
        for (_, from, to) in steps.into_iter().filter(|(does, ..)| *does) {
            decoded = decoded.replace(from, to);
        }
        let without_dots = self.without_dots(&decoded, self.merges == Merges::BeforeDots);
        match self.merges {
            Merges::AfterDots => self.without_dots(&without_dots, true),
            Merges::Never | Merges::BeforeDots => without_dots,
        }
    }

    fn without_dots(self, path: &str, merges: bool) -> String {
        let mut parts: Vec<&str> = Vec::new();
        let mut rest = path.strip_prefix('/').unwrap_or(path);
        loop {
            let (part, behind) = match rest.split_once('/') {
                Some((part, behind)) => (part, Some(behind)),
                None => (rest, None),
            };
            let name = match part.split_once(';') {
                Some((name, _)) if self.has_parameters => name,
                _ => part,
            };
            match name {
                "." => {}
                ".." => drop(parts.pop()),
                "" if merges => {}
                _ => parts.push(name),
            }
            let Some(behind) = behind else {
                // What ends in a slash, or in dots, is a folder.
                if matches!(name, "." | "..") || (name.is_empty() && merges) {
                    parts.push("");
                }
                break;
            };
            rest = behind;
        }
        format!("/{}", parts.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_all_read_alike_has_no_other_reading() {
        for path in ["/", "/a/b", "/a/", "/a%20b", "/a.b/c", "/../a"] {
            assert_eq!(others(path), Some(Vec::new()), "{path}");
        }
    }

    #[test]
    fn what_services_may_read_is_among_the_others() {
        for (path, read) in [
            ("//account", "/account"),
            ("/static/..%2Faccount", "/account"),
            ("/static/..%5Caccount", "/account"),
            ("/static/..\\account", "/account"),
            ("/static//../account", "/account"),
            ("/static//../account", "/static/account"),
            ("/static/x/..//../account", "/account"),
            ("/a%2F../account", "/account"),
            ("/api%2F..%2Fadmin", "/admin"),
            ("/static/..;/account", "/account"),
            ("/static/..;a=b/account", "/account"),
            ("/account;x/me", "/account/me"),
            ("/account;/me", "/account/me"),
            ("/account/me;a.css", "/account/me"),
            ("/account%3Bx/me", "/account/me"),
            ("/a%2Faccount;x", "/a/account"),
            ("/a/%2F", "/a/"),
            ("/a/b%2F..", "/a/"),
            ("/a//b%2Fc", "/a//b/c"),
            ("/posts%2Fx%5Cy", "/posts/x%5Cy"),
            ("/posts%2Fx%5Cy", "/posts/x\\y"),
            ("/posts%2Fx%5Cy", "/posts%2Fx/y"),
            ("/posts\\x%2Fy", "/posts/x%2Fy"),
            ("/posts\\x%2Fy", "/posts\\x/y"),
            ("/admin%2F..%5Cx", "/admin/..%5Cx"),
            ("/lit/exact///..", "/lit/exact/"),
            ("/a/;x/..;y/b", "/a/b"),
            ("/a%3Bb", "/a;b"),
            ("/a%3Bb%2Fc", "/a;b%2Fc"),
        ] {
            let others = others(path).unwrap();
            assert!(others.contains(&read.to_owned()), "{path}: {others:?}");
        }
    }

    #[test]
    fn no_path_takes_long_to_read_in_all_ways() {
        let long = |part: &str| format!("/{}", part.repeat(8000 / part.len()));
        // What one kind of doubt makes of the longest is looked at.
        assert!(others(&long("a/")).is_some_and(|others| others.is_empty()));
        assert!(others(&long("//")).is_some_and(|others| others.len() == 2));
        for part in ["%2F;/", "/%5C%2F", "%3B\\/a"] {
            assert_eq!(others(&long(part)), None, "{part}");
            let short = format!("/{}", part.repeat(20));
            assert!(others(&short).is_some_and(|others| others.len() > 3), "{part}");
        }
    }
}
