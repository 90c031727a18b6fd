//! Tags: any text is one. A purge reaches each entry that carries it, and the table of purges stays
//! within its bound, whatever is purged.
//!
//! A line is a step: its first byte says which, the rest is the tag, or the tags of an entry with
//! commas between them.
#![no_main]

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use larder::{Cache, Freshness, Lifetime, ManualClock};
use libfuzzer_sys::fuzz_target;

const MAX_TAGS: u64 = 4;
/// An entry with more is not stored.
const MAX_TAGS_OF_ENTRY: usize = 64;
const WINDOWS: Lifetime =
    Lifetime::fresh_for(Duration::from_secs(60)).stale_while_revalidate(Duration::from_secs(10));

struct Entry {
    tags: BTreeSet<String>,
    is_stale: bool,
}

fuzz_target!(|data: &[u8]| {
    let clock = ManualClock::new();
    let cache = Cache::<u64>::builder_with_weigher(|_| 0)
        .max_bytes(1 << 20)
        .max_tags(MAX_TAGS as usize)
        .clock(clock.clock())
        .build();
    // All that may be there. Forgotten purges may have taken more, but only what has tags.
    let mut model: HashMap<u64, Entry> = HashMap::new();
    for (number, line) in (0..200).zip(data.split(|&byte| byte == b'\n')) {
        let Some((step, rest)) = line.split_first() else { continue };
        let rest = String::from_utf8_lossy(rest);
        match step % 4 {
            0 | 1 => {
                let tags: Vec<_> = rest.split(',').collect();
                cache.insert_with(number.to_string(), number, WINDOWS, tags.iter().copied());
                let tags: Vec<_> = tags.into_iter().filter(|tag| !tag.is_empty()).collect();
                let found = cache.get(number.to_string());
                assert_eq!(found.is_some(), tags.len() <= MAX_TAGS_OF_ENTRY);
                if found.is_some() {
                    let tags = tags.into_iter().map(str::to_owned).collect();
                    model.insert(number, Entry { tags, is_stale: false });
                }
            }
            2 => {
                cache.purge_tag(&rest);
                model.retain(|_, entry| !entry.tags.contains(&*rest));
            }
            _ => {
                cache.soft_purge_tag(&rest);
                for entry in model.values_mut() {
                    entry.is_stale |= entry.tags.contains(&*rest);
                }
            }
        }
        for number in 0..=number {
            let found = cache.entry(number.to_string());
            let usable = found.filter(|entry| entry.freshness != Freshness::Expired);
            let Some(entry) = model.get(&number) else {
                assert!(usable.is_none(), "entry {number} was purged");
                continue;
            };
            let is_fresh = cache.get(number.to_string()).is_some();
            assert!(!is_fresh || !entry.is_stale, "entry {number} was purged softly");
            assert!(is_fresh || !entry.tags.is_empty(), "entry {number} has no tags");
            assert!(usable.is_none_or(|found| found.value == number));
        }
        assert!(cache.stats().tags <= MAX_TAGS);
    }
});
