//! Way: by which caches a purge has come here, so that it goes round in no circle.
//!
//! Caches that tell each other of purges may do so in a circle, two of them each the other, say. A request to purge that one
//! of them sends says by which it has come; who finds himself among them has made that purge already.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::figures::{Family, Figures, Kind};

/// By which caches a purge has come: their names, with commas between them.
pub const LARDER_PURGED_BY: HeaderName = HeaderName::from_static("larder-purged-by");

/// A way of more bytes than this is none: so many caches are in a circle that nobody saw.
const LONGEST: usize = 512;

/// Where a purge that has come here is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is made here, and goes on with these names.
    Here(Arc<str>),
    /// It was made here before.
    Round,
    /// What is said of its way is no way.
    Unreadable,
}

/// The name of this process, as long as it runs.
pub fn own_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| format!("{:016x}", RandomState::new().hash_one(0_u8)))
}

/// What a request that tells another cache of a purge says, which came here by these.
pub fn onwards(came_by: &str) -> HeaderValue {
    let separator = if came_by.is_empty() { "" } else { "," };
    HeaderValue::from_str(&format!("{came_by}{separator}{}", own_name()))
        .unwrap_or_else(|_| HeaderValue::from_static(own_name()))
}

impl Way {
    /// By the fields of a request to purge, here, where this is `own`.
    pub(crate) fn of(fields: &HeaderMap, own: &str) -> Way {
        let Some(value) = fields.get(LARDER_PURGED_BY) else { return Way::Here(Arc::default()) };
        let Ok(text) = value.to_str() else { return Way::Unreadable };
        let is_name = |name: &str| {
            !name.is_empty()
                && name.len() <= 64
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        if text.len() > LONGEST || !names.iter().all(|name| is_name(name)) {
            return Way::Unreadable;
        }
        match names.contains(&own) {
            true => Way::Round,
            false => Way::Here(names.join(",").into()),
        }
    }
}

/// How many purges came round. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct CameRound(Arc<AtomicU64>);

impl CameRound {
    pub(crate) fn one_more(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Figures for CameRound {
    fn families(&self) -> Vec<Family> {
        vec![Family {
            name: "admin_purges_come_round",
            help: "Purges that caches told each other of in a circle, and that came back to where they were made",
            kind: Kind::Counter,
            label: "",
            samples: vec![("".into(), self.0.load(Relaxed) as f64)],
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(value: &str) -> Way {
        let fields =
            HeaderMap::from_iter([(LARDER_PURGED_BY, HeaderValue::from_str(value).unwrap())]);
        Way::of(&fields, "own")
    }

    #[test]
    fn who_finds_himself_on_the_way_has_made_it() {
        assert_eq!(Way::of(&HeaderMap::new(), "own"), Way::Here("".into()));
        assert_eq!(way("a1, b2"), Way::Here("a1,b2".into()));
        assert_eq!(way("a1,own,b2"), Way::Round);
        for unreadable in ["", "a1,", "a b", "a1,,b2", &"a,".repeat(300)] {
            assert_eq!(way(unreadable), Way::Unreadable, "{unreadable:?}");
        }
    }

    #[test]
    fn what_goes_on_names_this_one_last() {
        assert_eq!(onwards(""), own_name());
        assert_eq!(onwards("a1,b2"), format!("a1,b2,{}", own_name()));
        assert_eq!(own_name().len(), 16);
    }
}
