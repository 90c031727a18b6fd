//! Condition: what a route asks of a field, of a parameter of the query, or of a path that no pattern can say.

use std::{borrow::Cow, fmt};

use larder::http::policy::glob;
use regex::bytes::{Regex, RegexBuilder};

/// What is asked of the values of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is there.
    Present,
    /// It is not.
    Absent,
    /// One of its values is this text, in which `*` stands for any characters.
    Fits(Box<str>),
}

impl Condition {
    pub(super) fn is_met<'v>(&self, mut values: impl Iterator<Item = &'v [u8]>) -> bool {
        match self {
            Condition::Present => values.next().is_some(),
            Condition::Absent => values.next().is_none(),
            Condition::Fits(text) if text.is_empty() => values.any(<[u8]>::is_empty),
            Condition::Fits(text) => values.any(|value| glob::fits(text.as_bytes(), value)),
        }
    }

    /// Whether it is met by the parameters of this name in a query, as the service reads them.
    pub(super) fn is_met_in(&self, query: &str, name: &str) -> bool {
        let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
        let pairs =
            parameters.map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")));
        let values: Vec<_> = pairs
            .filter(|(key, _)| *decoded(key) == *name.as_bytes())
            .map(|(_, value)| decoded(value))
            .collect();
        self.is_met(values.iter().map(|value| &**value))
    }

    /// Whether whatever meets this one meets `other`. Not each pair is seen for which that is so.
    pub(super) fn implies(&self, other: &Condition) -> bool {
        self == other || (matches!(self, Condition::Fits(_)) && *other == Condition::Present)
    }
}

/// As a file has it behind the name.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Present => f.write_str("true"),
            Condition::Absent => f.write_str("false"),
            Condition::Fits(text) => write!(f, "{text:?}"),
        }
    }
}

/// What stands percent-encoded, or with a `+` for a space.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text.as_bytes());
    }
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    Cow::Owned(out)
}

/// A regular expression that is somewhere in a path. It takes time by the path's length and no more, whatever it says.
#[derive(Clone)]
pub struct PathRegex(Regex);

/// A compiled expression takes no more memory than this.
const MOST_BYTES: usize = 256 << 10;

impl PathRegex {
    /// # Errors
    ///
    /// What is wrong with it, for whom has written it.
    pub fn parse(text: &str) -> Result<PathRegex, String> {
        if text.is_empty() {
            return Err("an empty expression is in all paths: leave it out".to_owned());
        }
        if let Some(odd) = text.chars().find(|c| !c.is_ascii()) {
            return Err(format!("{odd:?} does not stand in a path: it is percent-encoded there"));
        }
        let regex = RegexBuilder::new(text).unicode(false).size_limit(MOST_BYTES).build();
        regex.map(PathRegex).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "this expression is too large".to_owned(),
            error => {
                let words = error.to_string();
                let last = words.lines().last().unwrap_or_default();
                format!("this is no regular expression: {}", last.trim_start_matches("error: "))
            }
        })
    }

    pub(super) fn fits(&self, path: &str) -> bool {
        self.0.is_match(path.as_bytes())
    }
}

impl PartialEq for PathRegex {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Debug for PathRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}
