//! Readings: what a path may mean to a service, where services differ.
//!
//! `/static/..%2Faccount` is a file to one service, and to another, which decodes a path before it takes dots out, it is
//! `/account`. Whoever goes by routes must not be led past one by a spelling.

/// The ways in which a path is read that not all services share.
#[derive(Clone, Copy)]
struct Reader {
    /// An encoded slash, and a backslash, encoded or not, separate parts.
    decodes: bool,
    /// Empty parts go, before dots are taken out.
    merges: bool,
    /// What stands behind a semicolon does not belong to a part's name (RFC 3986 §3.3): `..;a` is `..`, and `/account;a` is
    /// `/account`.
    has_parameters: bool,
}

/// Every other path that a service may read in `path`, which is written as in a key, with its dots. None for nearly all.
pub(super) fn others(path: &str) -> Vec<String> {
    let bytes = path.as_bytes();
    let is_merged = bytes.windows(2).any(|two| two == b"//");
    let is_decoded = path.contains('\\') || path.contains("%2F") || path.contains("%5C");
    let has_parameters = path.contains(';') || path.contains("%3B");
    if !is_merged && !is_decoded && !has_parameters {
        return Vec::new();
    }
    let mut others: Vec<String> = Vec::new();
    for way in 0..8 {
        let reader =
            Reader { decodes: way & 1 != 0, merges: way & 2 != 0, has_parameters: way & 4 != 0 };
        let read = reader.read(path);
        if !others.contains(&read) {
            others.push(read);
        }
    }
    others
}

impl Reader {
    /// The path without what it reads in another way than others, and without dots (RFC 3986 §5.2.4).
    fn read(self, path: &str) -> String {
        let mut decoded = match self.decodes {
            true => path.replace("%2F", "/").replace("%5C", "/").replace('\\', "/"),
            false => path.to_owned(),
        };
        if self.decodes && self.has_parameters {
            decoded = decoded.replace("%3B", ";");
        }
        let mut parts: Vec<&str> = Vec::new();
        let mut rest = decoded.strip_prefix('/').unwrap_or(&decoded);
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
                "" if self.merges => {}
                _ => parts.push(name),
            }
            let Some(behind) = behind else {
                // What ends in a slash, or in dots, is a folder.
                if matches!(name, "." | "..") || (name.is_empty() && self.merges) {
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
        ] {
            assert!(others(path).contains(&read.to_owned()), "{path}: {:?}", others(path));
        }
    }
}
