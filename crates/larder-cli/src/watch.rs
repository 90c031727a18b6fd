//! Watch: whether the files of the settings have changed, and are whole again.
//!
//! They are looked at every other second, and not listened to: a file that an editor replaces, a folder that a
//! container's mount exchanges, and a file on a network are seen alike, and there is no queue of news to lose.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

/// The time between two looks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The files, and when each was written and how long it is; none where there is none.
pub(crate) type Look = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

pub(crate) fn look_at(files: Vec<PathBuf>) -> Look {
    let state = |file: &PathBuf| {
        let about = fs::metadata(file).ok()?;
        Some((about.modified().ok()?, about.len()))
    };
    files.into_iter().map(|file| (state(&file), file)).map(|(state, file)| (file, state)).collect()
}

/// What was seen of the files.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// When they were read.
    read: Look,
    /// At the last look.
    last: Look,
}

impl Watch {
    pub(crate) fn of(now: Look) -> Watch {
        Watch { last: now.clone(), read: now }
    }

    /// From now on these files are looked at. Those that were among them before count as they were; the others as they
    /// are: what has changed since it was read, a moment ago, is not noticed.
    pub(crate) fn follow(&mut self, now: Look) {
        let known = |file: &PathBuf| self.read.iter().find(|(known, _)| known == file);
        let look =
            now.into_iter().map(|(file, state)| known(&file).cloned().unwrap_or((file, state)));
        *self = Watch::of(look.collect());
    }

    /// Whether they are to be read again: they are not as they were read, and have not changed since the last look, as
    /// they would while somebody writes them. From then on they count as read.
    pub(crate) fn have_changed(&mut self, now: Look) -> bool {
        let is_still = now == self.last;
        self.last = now;
        let have_changed = is_still && self.last != self.read;
        if have_changed {
            self.read.clone_from(&self.last);
        }
        have_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_and_when_it_is_over() {
        let look =
            |bytes: u64| -> Look { vec![("a".into(), Some((SystemTime::UNIX_EPOCH, bytes)))] };
        let mut watch = Watch::of(look(1));
        assert!(!watch.have_changed(look(1)));
        assert!(!watch.have_changed(look(2)), "somebody may be writing it");
        assert!(!watch.have_changed(look(3)));
        assert!(watch.have_changed(look(3)));
        assert!(!watch.have_changed(look(3)));
        assert!(!watch.have_changed(Vec::new()) && watch.have_changed(Vec::new()), "it is gone");
        // Other files are looked at: those that are new count as they are, and the rest as it was read.
        let two = |bytes: u64| [look(bytes), vec![("b".into(), None)]].concat();
        let mut watch = Watch::of(look(1));
        watch.follow(two(2));
        assert!(!watch.have_changed(two(2)) && watch.have_changed(two(2)));
        watch.follow(look(2));
        assert!(!watch.have_changed(look(2)) && !watch.have_changed(look(2)));
        // What was changed and changed back is as it was read.
        let mut watch = Watch::of(look(1));
        assert!(!watch.have_changed(look(2)) && !watch.have_changed(look(1)));
        assert!(!watch.have_changed(look(1)));
    }
}
