//! Mistake: what is wrong with a configuration, where it stands, and what would be right.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::schema::Known;

/// Where something was said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// In a file.
    File {
        /// Its name, as it was given.
        file: PathBuf,
        /// The line, from 1 on.
        line: usize,
        /// The character in the line, from 1 on.
        column: usize,
        /// The line as it stands there.
        text: String,
    },
    /// On the command line: `--listen`.
    Flag(&'static str),
    /// In the environment: `LARDER_LISTEN`.
    Variable(&'static str),
}

impl Place {
    /// As editors and people jump to it, where the character is of no matter.
    pub(super) fn without_column(&self) -> String {
        match self {
            Place::File { file, line, .. } => format!("{}:{line}", file.display()),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { file, line, column, .. } => {
                write!(f, "{}:{line}:{column}", file.display())
            }
            Place::Flag(name) | Place::Variable(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where. `None`: it is about what is nowhere.
    pub place: Option<Place>,
    /// What is wrong.
    pub what: String,
    /// What its key is for, and a line that would be right.
    pub right: Option<Right>,
    /// The key that it is about, as it should be; nothing is the whole file.
    path: Option<String>,
}

/// What would be right in the place of a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// What was expected.
    pub expected: String,
    /// An example of it.
    pub example: String,
}

impl Mistake {
    /// About what stands at `place`.
    pub fn new(place: Option<Place>, what: impl Into<String>) -> Mistake {
        Mistake { place, what: what.into(), right: None, path: None }
    }

    /// About the key at `path` (`server.listen`), with what is known of it.
    pub fn about(self, path: &str) -> Mistake {
        self.with_right_of(path).at_path(path)
    }

    /// With what is known of the key at `path`, where it was said in a file. Who uses flags has `--help`.
    pub(super) fn with_right_of(mut self, path: &str) -> Mistake {
        if !matches!(self.place, Some(Place::Flag(_) | Place::Variable(_))) {
            self.right = Known::get().right(path);
        }
        self
    }

    pub(super) fn with(mut self, expected: impl Into<String>, example: impl Into<String>) -> Self {
        self.right = Some(Right { expected: expected.into(), example: example.into() });
        self
    }

    /// The key that it is about; `""` if nothing of its file could be read.
    pub(super) fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// The same about another key: where it is among those of all files.
    pub(super) fn at_path(mut self, path: &str) -> Mistake {
        self.path = Some(path.to_owned());
        self
    }

    /// Whether `later` may be there only because what this one is about was left out: it is about the same key, or one is
    /// about a part of what the other is about; or a file is missing that may have had the service.
    pub(super) fn may_have_caused(&self, later: &Mistake) -> bool {
        let is_within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| {
                outer.is_empty() || rest.is_empty() || rest.starts_with(['.', '['])
            })
        };
        let Some((own, later)) = self.path().zip(later.path()) else { return false };
        let names_service = later == "upstream" || later.ends_with(".upstream");
        is_within(own, later)
            || is_within(later, own)
            || (is_within(own, "include") && names_service)
    }

    /// What stands nowhere comes last: that something is missing.
    fn order(&self) -> (bool, Option<&Path>, usize, usize) {
        match &self.place {
            Some(Place::File { file, line, column, .. }) => (false, Some(file), *line, *column),
            _ => (true, None, 0, 0),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place @ Place::File { line, column, text, .. }) => {
                let gutter = " ".repeat(line.to_string().len());
                // Tabs stay what they are, so that the mark stands below what it means.
                let before = text.chars().take(column - 1);
                let before: String = before.map(|c| if c == '\t' { c } else { ' ' }).collect();
                write!(f, "{place}: {}\n  {line} | {text}\n  {gutter} | {before}^", self.what)?;
            }
            // What is wrong with a flag names it.
            _ => f.write_str(&self.what)?,
        }
        match &self.right {
            Some(Right { expected, example }) => {
                write!(f, "\n  expected: {expected}\n  example: ")?;
                f.write_str(&example.replace('\n', "\n           "))
            }
            None => Ok(()),
        }
    }
}

/// All that is wrong, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// `None`: nothing is wrong.
    pub fn of(mut mistakes: Vec<Mistake>) -> Option<Mistakes> {
        mistakes.sort_by(|one, other| one.order().cmp(&other.order()));
        mistakes.dedup();
        (!mistakes.is_empty()).then_some(Mistakes(mistakes))
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for mistake in &self.0 {
            f.write_str(if first { "" } else { "\n" })?;
            first = false;
            write!(f, "{mistake}")?;
        }
        match self.0.len() {
            1 => Ok(()),
            count => write!(f, "\n{count} mistakes"),
        }
    }
}

impl std::error::Error for Mistakes {}
