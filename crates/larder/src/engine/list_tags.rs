//! List tags: all that is stored, looked over for the tags that it carries, and for what they are called.

use std::{collections::HashMap, ops::ControlFlow, time::SystemTime};

use super::{Engine, tag_names::TagNames};
use crate::{
    listing::{ListedTags, TagPurge, TagTotals},
    purge::tags::TagId,
    tier::memory::{Seen, Visitor},
};

/// So many tags are told apart; it takes about sixteen megabytes for as long as the survey lasts.
const MAX_TAGS: usize = 1 << 18;

/// What carries each tag.
#[derive(Default)]
struct ByTag {
    taken: Vec<(TagId, u64)>,
    tags: HashMap<TagId, (u64, u64), foldhash::fast::RandomState>,
    left_out: u64,
}

impl<V> Visitor<V> for ByTag {
    fn take(&mut self, seen: Seen<'_, V>) -> usize {
        let tags = seen.entry.tags();
        self.taken.extend(tags.iter().map(|&tag| (tag, seen.bytes as u64)));
        1 + tags.len() / 4
    }

    fn digest(&mut self) -> ControlFlow<()> {
        for (tag, bytes) in self.taken.drain(..) {
            let is_full = self.tags.len() >= MAX_TAGS;
            match self.tags.get_mut(&tag) {
                Some(totals) => *totals = (totals.0 + 1, totals.1 + bytes),
                None if is_full => self.left_out += 1,
                None => _ = self.tags.insert(tag, (1, bytes)),
            }
        }
        ControlFlow::Continue(())
    }
}

/// The names of tags, found in the values that carry them.
struct Naming<'a, V> {
    nameless: &'a mut HashMap<TagId, Option<String>>,
    missing: usize,
    names_of: &'a dyn Fn(&str, &V) -> Vec<String>,
    id_of: &'a dyn Fn(&str) -> TagId,
    taken: Vec<(String, V)>,
}

impl<V: Clone> Visitor<V> for Naming<'_, V> {
    fn take(&mut self, seen: Seen<'_, V>) -> usize {
        let tags = seen.entry.tags();
        if tags.iter().any(|tag| self.nameless.get(tag).is_some_and(Option::is_none)) {
            self.taken.push((seen.key.to_owned(), seen.entry.value.clone()));
        }
        1 + tags.len() / 4
    }

    fn digest(&mut self) -> ControlFlow<()> {
        for (key, value) in self.taken.drain(..) {
            for name in (self.names_of)(&key, &value) {
                if let Some(unknown @ None) = self.nameless.get_mut(&(self.id_of)(&name)) {
                    *unknown = Some(name);
                    self.missing -= 1;
                }
            }
        }
        if self.missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The tags of a value, given its key.
type NamesOf<'a, V> = dyn Fn(&str, &V) -> Vec<String> + 'a;

impl<V> Engine<V> {
    /// The tags of all entries: `most` of those on the most entries, and as many of those that weigh most. `names_of`: the
    /// tags of a value, where it tells them.
    pub(crate) fn list_tags(&self, most: usize, names_of: Option<&NamesOf<'_, V>>) -> ListedTags
    where
        V: Clone,
    {
        let began = SystemTime::now();
        let mut by_tag = ByTag::default();
        // It goes to the end: nothing breaks it off.
        _ = Visitor::<V>::digest(&mut by_tag);
        _ = self.survey(&mut by_tag);
        let ByTag { tags, left_out, .. } = by_tag;
        let total = tags.len() as u64;
        let mut all: Vec<_> = tags.into_iter().collect();
        let mut largest = HashMap::new();
        for of in [|totals: &(u64, u64)| totals.0, |totals: &(u64, u64)| totals.1] {
            all.sort_unstable_by_key(|(tag, totals)| (u64::MAX - of(totals), *tag));
            largest.extend(all.iter().take(most).copied());
        }
        let names = self.names_of_tags(largest.keys().copied(), names_of);
        let mut tags: Vec<_> = largest
            .into_iter()
            .map(|(tag, (entries, bytes))| TagTotals {
                tag: names.get(&tag).cloned().flatten().unwrap_or_else(|| tag.to_string()),
                entries,
                bytes,
                last_purge: self.last_purge(tag),
            })
            .collect();
        tags.sort_unstable_by(|one, other| {
            other.bytes.cmp(&one.bytes).then_with(|| one.tag.cmp(&other.tag))
        });
        ListedTags { tags, total, left_out, began }
    }

    fn names_of_tags(
        &self,
        tags: impl Iterator<Item = TagId>,
        names_of: Option<&NamesOf<'_, V>>,
    ) -> HashMap<TagId, Option<String>>
    where
        V: Clone,
    {
        let known = self.tag_names.get();
        let name = |tag: TagId| (tag, known.and_then(|names| names.find(tag)));
        let mut names: HashMap<_, _> = tags.map(name).collect();
        let missing = names.values().filter(|name| name.is_none()).count();
        if let Some(names_of) = names_of
            && missing > 0
        {
            let id_of = |name: &str| self.purges.tag(name);
            let nameless = &mut names;
            // Whether it ends early or goes to the end, what it has found is there.
            _ = self.survey(&mut Naming {
                nameless,
                missing,
                names_of,
                id_of: &id_of,
                taken: Vec::new(),
            });
        }
        names
    }

    fn last_purge(&self, tag: TagId) -> Option<TagPurge> {
        let (number, mode) = self.purges.last_purge(tag)?;
        let purge = self.memory.gone().and_then(|gone| gone.purge(number));
        Some(TagPurge { at: purge.map(|purge| purge.at), mode })
    }

    /// From now on the names of tags are remembered.
    pub(crate) fn remember_tag_names(&self) {
        self.tag_names.get_or_init(TagNames::default);
    }
}
