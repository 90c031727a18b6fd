//! Locations: the `location` blocks of a server, in the order in which the first that fits is the one that nginx takes.

use larder_gateway::routes::PathRegex;

use super::{
    scope::{Ledger, Scope},
    syntax::Directive,
};
use crate::import::written::quoted;

/// One place of a server.
#[derive(Clone, Debug)]
pub(super) struct Location<'d> {
    pub(super) paths: Paths,
    pub(super) scope: Scope<'d>,
    /// `None`: what stands in no location.
    pub(super) at: Option<&'d Directive>,
}

/// Which paths a location is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Paths {
    /// `=`
    Exact(String),
    /// `^~`: the longest prefix, which goes before expressions.
    Prior(String),
    /// `~` and `~*`
    Expression(String),
    /// The longest prefix, if no expression fits.
    Prefix(String),
}

/// All of a server, in their order, with those that stand in others.
pub(super) fn of<'d>(server: &Scope<'d>, ledger: &mut Ledger) -> Vec<Location<'d>> {
    let mut all = Vec::new();
    collect(server, None, &mut all, ledger);
    ordered(all, ledger)
}

fn collect<'d>(
    around: &Scope<'d>,
    outer: Option<&Paths>,
    all: &mut Vec<Location<'d>>,
    ledger: &mut Ledger,
) {
    for at in around.own().iter().filter(|one| one.name == "location" && one.block.is_some()) {
        ledger.carry(at);
        let scope = around.within(at.block());
        let Some(paths) = paths(&at.words) else {
            // It is looked for where it is named.
            continue;
        };
        let paths = match (paths, outer) {
            (Paths::Expression(inner), Some(Paths::Prefix(prefix) | Paths::Prior(prefix))) => {
                ledger.note(at, "it is looked for before all locations that are no expressions");
                let inner = match inner.contains('^') {
                    true => inner,
                    false => format!("^{}.*(?:{inner})", escaped(prefix)),
                };
                Paths::Expression(inner)
            }
            (paths, _) => paths,
        };
        if let Paths::Expression(expression) = &paths
            && let Err(what) = PathRegex::parse(expression)
        {
            ledger.note(
                at,
                format!("LOOK AT THIS: its requests go to other routes now, since {what}"),
            );
            continue;
        }
        if all.iter().any(|known| known.paths == paths) {
            ledger.note(at, "another location before it is for the same");
            continue;
        }
        collect(&scope, Some(&paths), all, ledger);
        all.push(Location { paths, scope, at: Some(at) });
    }
}

fn paths(words: &[String]) -> Option<Paths> {
    let (kind, text) = match words {
        [kind, text] => (kind.as_str(), text.as_str()),
        [one] => {
            let kinds = ["^~", "~*", "~", "="].into_iter().find(|kind| one.starts_with(kind));
            kinds.map_or(("", one.as_str()), |kind| (kind, &one[kind.len()..]))
        }
        _ => return None,
    };
    let is_path = text.starts_with('/');
    match kind {
        "=" if is_path => Some(Paths::Exact(text.to_owned())),
        "^~" if is_path => Some(Paths::Prior(text.to_owned())),
        "" if is_path => Some(Paths::Prefix(text.to_owned())),
        "~" if !text.is_empty() => Some(Paths::Expression(text.to_owned())),
        "~*" if !text.is_empty() => Some(Paths::Expression(format!("(?i){text}"))),
        _ => None,
    }
}

/// nginx takes an exact path; else the longest prefix if that is prior; else the first expression; else the longest prefix.
/// A prefix below a prior one comes before that, and so before expressions: these would have gone before it.
fn ordered<'d>(all: Vec<Location<'d>>, ledger: &mut Ledger) -> Vec<Location<'d>> {
    let has_expressions = all.iter().any(|one| matches!(one.paths, Paths::Expression(_)));
    let priors = all.iter().filter_map(|one| match &one.paths {
        Paths::Prior(prefix) => Some(prefix.clone()),
        _ => None,
    });
    let priors: Vec<String> = priors.collect();
    let (mut exact, mut first, mut expressions, mut last) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for one in all {
        match &one.paths {
            Paths::Exact(_) => exact.push(one),
            Paths::Prior(_) => first.push(one),
            Paths::Expression(_) => expressions.push(one),
            Paths::Prefix(prefix)
                if priors.iter().any(|prior| prefix.starts_with(prior.as_str())) =>
            {
                if let Some(at) = one.at.filter(|_| has_expressions) {
                    ledger.note(
                        at,
                        "expressions no longer go before it, since it lies below one with ^~",
                    );
                }
                first.push(one);
            }
            Paths::Prefix(_) => last.push(one),
        }
    }
    let length = |one: &Location<'_>| match &one.paths {
        Paths::Prior(text) | Paths::Prefix(text) => std::cmp::Reverse(text.len()),
        _ => std::cmp::Reverse(0),
    };
    first.sort_by_key(length);
    last.sort_by_key(length);
    // Expressions are looked for in the order of the file, whichever block they stand in.
    expressions.sort_by_key(|one: &Location<'_>| one.at.map_or(0, |at| at.number));
    exact.into_iter().chain(first).chain(expressions).chain(last).collect()
}

impl Paths {
    /// The key of a route that says so, if one is needed.
    pub(super) fn row(&self) -> Option<(&'static str, String)> {
        match self {
            Paths::Exact(path) if is_plain(path) => Some(("path", quoted(path))),
            Paths::Exact(path) => Some(("path_regex", quoted(&format!("^{}$", escaped(path))))),
            Paths::Prior(prefix) | Paths::Prefix(prefix) if prefix == "/" => None,
            Paths::Prior(prefix) | Paths::Prefix(prefix) => {
                Some(match prefix.ends_with('/') && is_plain(prefix) {
                    true => ("path", quoted(&format!("{prefix}**"))),
                    false => ("path_regex", quoted(&format!("^{}", escaped(prefix)))),
                })
            }
            Paths::Expression(expression) => Some(("path_regex", quoted(expression))),
        }
    }

    /// Whether no path is left for what comes behind it.
    pub(super) fn is_all(&self) -> bool {
        self.row().is_none()
    }

    /// What `strip_prefix` and `add_prefix` have to be, so that `uri` takes the place of the location's path.
    pub(super) fn rewrite(&self, uri: &str) -> Result<(String, String), String> {
        let cannot = || Err(format!("a path cannot be exchanged for {uri} here"));
        let (from, is_exact) = match self {
            Paths::Exact(path) => (path.as_str(), true),
            Paths::Prior(prefix) | Paths::Prefix(prefix) => (prefix.as_str(), false),
            Paths::Expression(_) => return cannot(),
        };
        if from == uri {
            return Ok((String::new(), String::new()));
        }
        let ends = (from.ends_with('/'), uri.ends_with('/'));
        // Parts of paths are exchanged as a whole.
        let is_whole = ends.0 == ends.1 || (uri == "/" && !is_exact);
        let (strip, add) = (from.trim_end_matches('/'), uri.trim_end_matches('/'));
        let is_prefix = |text: &str| {
            let is_plain = text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"?#%{}*\\\"<>".contains(&byte));
            let has_dots = text.split('/').any(|part| matches!(part, "." | ".."));
            is_plain && !text.contains("//") && !has_dots
        };
        let is_fine = is_whole && [strip, add].into_iter().all(is_prefix);
        if is_fine { Ok((strip.to_owned(), add.to_owned())) } else { cannot() }
    }
}

/// Whether a pattern that reads so means these characters.
fn is_plain(path: &str) -> bool {
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!&'+,;=:@".contains(&byte);
    path.bytes().all(may_be)
}

/// As an expression that means these characters. What cannot stand in a path is percent-encoded there.
fn escaped(path: &str) -> String {
    let mut text = String::new();
    for byte in path.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"/-_~&'+,;=:@!".contains(&byte) => {
                text.push(char::from(byte))
            }
            byte if byte.is_ascii_graphic() && !b"\"<>\\^`{|}%".contains(&byte) => {
                text.extend(['\\', char::from(byte)]);
            }
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_pattern_where_one_says_so_and_an_expression_otherwise() {
        let row = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            paths(&words).unwrap().row()
        };
        let path = |text: &str| Some(("path", quoted(text)));
        let regex = |text: &str| Some(("path_regex", quoted(text)));
        assert_eq!(row(&["/"]), None);
        assert_eq!(row(&["/api/"]), path("/api/**"));
        assert_eq!(row(&["/api"]), regex("^/api"));
        assert_eq!(row(&["=", "/a.css"]), path("/a.css"));
        assert_eq!(row(&["=/a*"]), regex("^/a\\*$"));
        assert_eq!(row(&["^~", "/a b/"]), regex("^/a%20b/"));
        assert_eq!(row(&["~*", "\\.php$"]), regex("(?i)\\.php$"));
        assert_eq!(paths(&["@app".to_owned()]), None);
    }

    #[test]
    fn a_path_is_exchanged_where_whole_parts_of_it_are() {
        let rewrite = |from: &str, to: &str| Paths::Prefix(from.to_owned()).rewrite(to).ok();
        let some = |strip: &str, add: &str| Some((strip.to_owned(), add.to_owned()));
        assert_eq!(rewrite("/api/", "/"), some("/api", ""));
        assert_eq!(rewrite("/api/", "/v2/"), some("/api", "/v2"));
        assert_eq!(rewrite("/", "/app/"), some("", "/app"));
        assert_eq!(rewrite("/", "/"), some("", ""));
        assert_eq!(rewrite("/api", "/"), some("/api", ""));
        assert_eq!(rewrite("/api/", "/v2"), None);
        assert_eq!(rewrite("/api/", "/v2/?a="), None);
        assert_eq!(
            Paths::Expression("x".to_owned()).rewrite("/"),
            Err("a path cannot be exchanged for / here".to_owned())
        );
    }
}
