//! Tag names: what the numbers by which tags are kept were called, as far as that is remembered. A library's value does not
//! tell its tags, so without it nobody could be told which they are.

use std::{collections::HashMap, sync::PoisonError};

use crate::{purge::tags::TagId, sync::RwLock};

/// So many names are remembered …
const MOST: usize = 1 << 16;
/// … and so many bytes of them. A longer one is not.
const MOST_BYTES: usize = 4 << 20;
const NAME_BYTES: usize = 1 << 10;

/// Names by number. When there are too many, half of them are forgotten: those that are in use come back with the next
/// value that is stored with them.
#[derive(Default)]
pub(crate) struct TagNames(RwLock<Names>);

#[derive(Default)]
struct Names {
    by_tag: HashMap<TagId, Box<str>, foldhash::fast::RandomState>,
    bytes: usize,
}

impl TagNames {
    /// Something is stored with the tag `name`. Whoever finds others at it goes on: the name comes again.
    pub(crate) fn note(&self, tag: TagId, name: &str) {
        if name.len() > NAME_BYTES
            || self.0.try_read().is_ok_and(|names| names.by_tag.contains_key(&tag))
        {
            return;
        }
        let Ok(mut names) = self.0.try_write() else { return };
        if names.by_tag.insert(tag, name.into()).is_none() {
            names.bytes += name.len();
        }
        if names.by_tag.len() > MOST || names.bytes > MOST_BYTES {
            names.forget_half();
        }
    }

    pub(crate) fn find(&self, tag: TagId) -> Option<String> {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names.by_tag.get(&tag).map(|name| String::from(&**name))
    }
}

impl Names {
    fn forget_half(&mut self) {
        let (mut nth, mut bytes) = (0_usize, 0);
        self.by_tag.retain(|_, name| {
            nth += 1;
            let stays = nth.is_multiple_of(2);
            bytes += if stays { name.len() } else { 0 };
            stays
        });
        self.bytes = bytes;
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::purge::{log::PurgeLog, tags::TagKey};

    #[test]
    fn names_are_found_again_and_never_too_many() {
        let (log, names) = (PurgeLog::new(10, TagKey::random()), TagNames::default());
        let note = |name: &str| names.note(log.tag(name), name);
        note("posts");
        note("posts");
        assert_eq!(names.find(log.tag("posts")).as_deref(), Some("posts"));
        assert_eq!(names.0.read().unwrap().bytes, 5);
        (0..MOST + 10).for_each(|number| note(&number.to_string()));
        assert!(names.0.read().unwrap().by_tag.len() <= MOST);
        (0..MOST).for_each(|number| note(&format!("{number:0>1000}")));
        let held = names.0.read().unwrap();
        assert!(held.bytes <= MOST_BYTES, "{}", held.bytes);
        assert_eq!(held.bytes, held.by_tag.values().map(|name| name.len()).sum::<usize>());
        drop(held);
        note(&"x".repeat(NAME_BYTES + 1));
        assert_eq!(names.find(log.tag(&"x".repeat(NAME_BYTES + 1))), None);
    }
}
