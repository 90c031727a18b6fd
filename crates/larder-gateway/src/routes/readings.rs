//! Readings: what a path may mean to a service, where services differ.
//!
//! `/static/..%2Faccount` is a file to one service, and to another, which decodes a path before it takes dots out, it is
//! `/account`. Whoever goes by routes must not be led past one by a spelling.

/// The ways in which a path is read that not all services share.
#[derive(Clone, Copy)]
struct Reader {
    /// An encoded slash separates parts.
    decodes_slashes: bool,
    /// An encoded backslash is one that is not encoded.
    decodes_backslashes: bool,
    /// A backslash is a slash.
    turns_backslashes: bool,
    /// What stands behind a semicolon does not belong to a part's name (RFC 3986 §3.3): `..;a` is `..`, and `/account;a` is
    /// `/account`.
    has_parameters: bool,
    merges: Merges,
}

/// When empty parts go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Merges {
    Never,
    BeforeDots,
    AfterDots,
}

/// Every other path that a service may read in `path`, which is written as in a key, with its dots. None for nearly all.
pub(super) fn others(path: &str) -> Vec<String> {
    let is_merged = path.contains("//");
    let is_decoded = path.contains('\\') || path.contains("%2F") || path.contains("%5C");
    let has_parameters = path.contains(';') || path.contains("%3B");
    if !is_merged && !is_decoded && !has_parameters {
        return Vec::new();
    }
    let mut others: Vec<String> = Vec::new();
    for way in 0..16 {
        for merges in [Merges::Never, Merges::BeforeDots, Merges::AfterDots] {
            let reader = Reader {
                decodes_slashes: way & 1 != 0,
                decodes_backslashes: way & 2 != 0,
                turns_backslashes: way & 4 != 0,
                has_parameters: way & 8 != 0,
                merges,
            };
            let read = reader.read(path);
            if !others.contains(&read) {
                others.push(read);
            }
        }
    }
    others
}

impl Reader {
    /// The path without what it reads in another way than others, and without dots (RFC 3986 §5.2.4).
    fn read(self, path: &str) -> String {
        let mut decoded = path.to_owned();
        let steps = [
            (self.decodes_slashes, "%2F", "/"),
            (self.decodes_backslashes, "%5C", "\\"),
            (self.turns_backslashes, "\\", "/"),
            (self.decodes_slashes && self.has_parameters, "%3B", ";"),
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
            assert_eq!(others(path), Vec::<String>::new(), "{path}");
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
        ] {
            assert!(others(path).contains(&read.to_owned()), "{path}: {:?}", others(path));
        }
    }
}
