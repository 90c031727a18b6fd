//! Check: one look at a whole configuration, and what of it is the same for all parts.

use std::{fs, path::Path, time::Duration};

use crate::config::{
    document::Places,
    mistake::Mistake,
    value::{Size, Time},
};

/// No time in a configuration is meant to be longer, and sums of longer ones are none.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// Clocks of connections go by milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);
/// Heads lie in memory whole.
const LARGEST_HEAD: u64 = 16 << 20;
const SMALLEST_HEAD: u64 = 1 << 10;

/// One look at a whole configuration.
pub(super) struct Check<'a> {
    pub(super) places: &'a Places,
    pub(super) mistakes: Vec<Mistake>,
    /// What can be run, and is probably not what was meant.
    pub(super) doubts: Vec<Mistake>,
}

impl Check<'_> {
    pub(super) fn note(&mut self, path: &str, what: impl Into<String>) {
        self.mistakes.push(self.places.mistake(path, what));
    }

    /// A time that something may take.
    pub(super) fn time(&mut self, path: &str, said: Option<&Time>) -> Option<Duration> {
        let time = said?.0;
        if time.is_zero() {
            let name = self.places.name(path).to_owned();
            self.note(path, format!("{name} of 0s leaves no time at all"));
        } else if time < SHORTEST {
            let shown = humantime::format_duration(time);
            self.note(path, format!("{shown} is less than this gateway measures: at least 1ms"));
        } else if time > LONGEST {
            self.note(path, "that is more than a year");
        }
        Some(time)
    }

    /// A time that may be none at all.
    pub(super) fn time_or_none(&mut self, path: &str, said: Option<&Time>) -> Option<Duration> {
        match said {
            Some(Time(Duration::ZERO)) => Some(Duration::ZERO),
            said => self.time(path, said),
        }
    }

    /// How many of many, from 0 to 1.
    pub(super) fn share(&mut self, path: &str, said: Option<f64>, usual: f64) -> f64 {
        let share = said.unwrap_or(usual);
        if !(0.0..=1.0).contains(&share) {
            self.note(path, "say a share of the requests, from 0 to 1");
        }
        share
    }

    pub(super) fn head(&mut self, path: &str, said: Option<&Size>, usual: usize) -> usize {
        let Some(size) = said else { return usual };
        if size.0.as_u64() < SMALLEST_HEAD {
            self.note(path, "that is too little for a head: at least 1KiB");
        } else if size.0.as_u64() > LARGEST_HEAD {
            self.note(path, "heads lie in memory whole: at most 16MiB");
        }
        bytes(size)
    }
}

/// So many letters anybody might find by trying.
const SHORT_TOKEN: usize = 16;

impl Check<'_> {
    /// `path`: where it is said, if it is in a file.
    pub(super) fn doubt_of_token(&mut self, path: &str, token: Option<&str>) {
        if token.is_some_and(|token| token.len() < SHORT_TOKEN) {
            let name = self.places.name(path).to_owned();
            let what = format!(
                "the token of {name} has fewer than {SHORT_TOKEN} letters, which can be found by trying: openssl rand -hex 32 makes one"
            );
            self.doubts.push(Mistake::new(self.places.of(path).cloned(), what));
        }
    }
}

pub(super) fn bytes(size: &Size) -> usize {
    usize::try_from(size.0.as_u64()).unwrap_or(usize::MAX)
}

pub(super) fn first_line(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    match text.lines().next().map(str::trim) {
        None | Some("") => Err(format!("the first line of {} is empty", file.display())),
        Some(line) => Ok(line.to_owned()),
    }
}
