//! Document: the text of a `larder.toml`, its tables and values, and where each of them stands.

use std::{
    collections::HashMap,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{
    mistake::{Mistake, Place},
    route::OF_A_ROUTE,
};

/// The way to a value: `server.listen`, `route[2].ttl`. Routes are counted from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct KeyPath(pub(super) String);

impl KeyPath {
    pub(super) fn key(&self, key: &str) -> KeyPath {
        match self.0.is_empty() {
            true => KeyPath(key.to_owned()),
            false => KeyPath(format!("{}.{key}", self.0)),
        }
    }

    pub(super) fn element(&self, index: usize) -> KeyPath {
        KeyPath(format!("{}[{}]", self.0, index + 1))
    }

    /// The key at its end.
    pub(super) fn last(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or_default()
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file's text, which places are looked up in.
pub(super) struct Text<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
    /// Where each line ends, but for the last. A file with ten thousand routes has as many places again.
    ends: Vec<usize>,
}

impl<'a> Text<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Text<'a> {
        let ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Text { file, text, ends }
    }

    pub(super) fn place(&self, at: &Range<usize>) -> Place {
        let mut offset = at.start.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.ends.partition_point(|end| *end < offset) + 1;
        let begin = if line == 1 { 0 } else { self.ends[line - 2] + 1 };
        let column = self.text[begin..offset].chars().count() + 1;
        let text = without_secrets(self.text[begin..].lines().next().unwrap_or_default());
        Place::File { file: self.file.into(), line, column, text }
    }
}

/// What is told of a mistake is read over shoulders and kept in logs. A secret does not belong in the file, and that is
/// often the mistake.
fn without_secrets(line: &str) -> String {
    let (key, value) = line.split_once('=').unwrap_or((line, ""));
    let names_one = ["token", "password", "secret"].iter().any(|word| key.contains(word));
    if !value.is_empty() && names_one && !key.trim_end().ends_with("_file") {
        return format!("{key}= …");
    }
    let user = line.split_once("://").and_then(|(before, rest)| {
        let (user, after) = rest.rsplit_once('@')?;
        user.contains(':').then(|| format!("{before}://…@{after}"))
    });
    user.unwrap_or_else(|| line.to_owned())
}

/// Where each key of a configuration was said.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Of each key, and of each table's header.
    places: HashMap<String, Place>,
    /// The file, if there is one.
    file: Option<PathBuf>,
    /// All files that were read: that one, and those that it includes.
    files: Vec<PathBuf>,
    /// The flags' names, by their keys.
    flags: &'static [(&'static str, &'static str)],
}

impl Places {
    /// Where `path` (`server.listen`) was said, if it was.
    pub fn of(&self, path: &str) -> Option<&Place> {
        self.places.get(path)
    }

    /// `path` was said at `place`, whatever a file says.
    pub fn set(&mut self, path: &str, place: Place) {
        self.places.insert(path.to_owned(), place);
    }

    /// Without a file everything is called by its flag: these are the flags, each behind its key.
    pub fn of_flags(flags: &'static [(&'static str, &'static str)]) -> Places {
        Places { flags, ..Places::default() }
    }

    /// What the user calls what is at `path`: `--listen` if that is where it was said, or could have been.
    pub fn name<'a>(&'a self, path: &'a str) -> &'a str {
        let flag = || self.flags.iter().find(|(key, _)| *key == path);
        match self.of(path) {
            Some(Place::Flag(name) | Place::Variable(name)) => name,
            None if self.file.is_none() => flag().map_or(path, |(_, flag)| flag),
            _ => path,
        }
    }

    /// The file that `path` names: what a configuration says counts from the configuration's own folder.
    pub fn resolve(&self, path: &str, file: &Path) -> PathBuf {
        match self.of(path) {
            Some(Place::File { file: config, .. }) => {
                config.parent().unwrap_or(Path::new("")).join(file)
            }
            _ => file.into(),
        }
    }

    /// A mistake about what was said at `path`, or at the closest table around it.
    pub fn mistake(&self, path: &str, what: impl Into<String>) -> Mistake {
        let around = std::iter::successors(Some(path), |path| {
            path.rfind(['.', '[']).map(|end| path[..end].trim_end_matches('.'))
        });
        let place = around.filter_map(|path| self.of(path)).next().cloned();
        let mistake = Mistake::new(place, what);
        if self.file.is_some() { mistake.about(path) } else { mistake.at_path(path) }
    }

    /// Each place, and what was said there.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.places.iter().map(|(path, place)| (path.as_str(), place))
    }

    pub(super) fn set_files(&mut self, files: Vec<PathBuf>) {
        self.files = files;
    }

    /// All files that were read: the one that was named first, then those that it includes.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

/// The tables of a text, and where they stand.
///
/// # Errors
///
/// What is no TOML, all of it. What stands there otherwise is then not looked at: it may be cut off in the middle.
pub(super) fn parse<'a>(text: &Text<'a>) -> Result<(DeTable<'a>, Places), Vec<Mistake>> {
    let (table, errors) = DeTable::parse_recoverable(text.text);
    if !errors.is_empty() {
        return Err(errors.iter().map(|error| no_toml(text, error)).collect());
    }
    let mut table = table.into_inner();
    let file: PathBuf = text.file.into();
    let mut places = Places { files: vec![file.clone()], file: Some(file), ..Places::default() };
    note(&table, &KeyPath::default(), text, &mut places);
    set_rules_apart(&mut table);
    Ok((table, places))
}

fn note(table: &DeTable<'_>, path: &KeyPath, text: &Text<'_>, places: &mut Places) {
    for (key, value) in table {
        let path = path.key(key.get_ref());
        places.set(&path.0, text.place(&key.span()));
        match value.get_ref() {
            DeValue::Table(table) => note(table, &path, text, places),
            DeValue::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    let path = path.element(index);
                    places.set(&path.0, text.place(&element.span()));
                    if let DeValue::Table(table) = element.get_ref() {
                        note(table, &path, text, places);
                    }
                }
            }
            _ => {}
        }
    }
}

/// A route's rules stand beside what it matches, and are a part of their own to the program: serde can take keys
/// from the middle of others only where it forgets where they stood.
fn set_rules_apart(table: &mut DeTable<'_>) {
    let routes = table.iter_mut().find(|(key, _)| key.get_ref() == "route");
    let Some(DeValue::Array(routes)) = routes.map(|(_, value)| value.get_mut()) else { return };
    for route in routes.iter_mut() {
        let span = route.span();
        let DeValue::Table(keys) = route.get_mut() else { continue };
        let all = std::mem::take(keys);
        let is_own = |key: &str| OF_A_ROUTE.contains(&key);
        let (own, rules): (DeTable<'_>, DeTable<'_>) =
            all.into_iter().partition(|(key, _)| is_own(key.get_ref()));
        *keys = own;
        let value = toml::Spanned::new(span.clone(), DeValue::Table(rules));
        keys.insert(toml::Spanned::new(span, RULES.into()), value);
    }
}

/// The part of a route that no file names.
pub(super) const RULES: &str = "the rules of a route";

fn no_toml(text: &Text<'_>, error: &toml::de::Error) -> Mistake {
    let at = error.span().unwrap_or_default();
    let place = text.place(&at);
    let Place::File { text: line, .. } = &place else { unreachable!("a text is a file's") };
    let (key, value) = line.split_once('=').unwrap_or_default();
    let (key, value) = (key.trim(), value.trim());
    const A_KEY: &str = "listen = \"127.0.0.1:8080\"";
    const IN_QUOTES: &str = "a text in quotes";
    let right = |expected: &'static str, example: &str| (expected, example.to_owned());
    let (expected, example) = if line
        .contains(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}'])
    {
        let straight = ['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}'];
        right("straight quotes, \" on both sides", &line.trim().replace(straight, "\""))
    } else if error.message().contains("duplicate") {
        right("each key and each table once", "[server]\nlisten = \"127.0.0.1:8080\"")
    } else if line.trim_start().starts_with('[') {
        right("the name of a part in brackets", "[server]")
    } else if ["true", "false"].iter().any(|word| value.eq_ignore_ascii_case(word)) {
        right("true or false, in small letters", &format!("{key} = {}", value.to_ascii_lowercase()))
    } else if value.starts_with(['"', '\'']) {
        let text = value.trim_matches(['"', '\'']);
        right(IN_QUOTES, &format!("{key} = \"{text}\""))
    } else if !value.is_empty() && !value.starts_with(['[', '{']) {
        right(IN_QUOTES, &format!("{key} = \"{value}\""))
    } else {
        right("a key, an equals sign and its value", A_KEY)
    };
    let message = error.message().lines().collect::<Vec<_>>().join(": ");
    let what = format!("this is no TOML: {message}");
    Mistake::new(Some(place), what).with(expected, example).at_path("")
}
