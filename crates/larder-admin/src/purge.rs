//! Purge: forget entries, or mark them stale.

use std::{fmt, marker::PhantomData, sync::Arc};

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
};
use http::StatusCode;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    admin::Console,
    managed::Managed,
    nearest::{nearest_keys, nearest_prefixes},
    problem::Problem,
};

/// More keys or tags than this in one request are refused: send several.
const MAX_NAMES: usize = 1000;

/// How many stored keys are looked at for one that was meant, and how many that are not there are looked
/// for: a mistake does not cost more than a few milliseconds.
const KEYS_LOOKED_AT: usize = 5000;
const KEYS_LOOKED_FOR: usize = 5;

/// A purge as it is asked for: one of the four, and how.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PurgeRequest {
    all: Option<bool>,
    keys: Option<Vec<String>>,
    prefix: Option<String>,
    tags: Option<Vec<String>>,
    #[serde(default)]
    mode: Mode,
}

/// What a purge leaves.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Entries that are stale: usable while they are refreshed, or if that fails, as far as their
    /// lifetimes allow.
    #[default]
    Soft,
    /// Nothing.
    Hard,
}

/// As it is written in a request.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Soft => "soft",
            Mode::Hard => "hard",
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Scope {
    All,
    Keys(Vec<String>),
    Prefix(String),
    Tags(Vec<String>),
}

/// How many names a purge's line in the log has at most, and how much of each.
const LOGGED_NAMES: usize = 5;
const LOGGED_BYTES: usize = 100;

/// For the log: one line of no more than a few names, however many were purged.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, names) = match self {
            Scope::All => return f.write_str("everything"),
            Scope::Prefix(prefix) => ("prefix", std::slice::from_ref(prefix)),
            Scope::Keys(keys) => ("keys", &keys[..]),
            Scope::Tags(tags) => ("tags", &tags[..]),
        };
        f.write_str(what)?;
        for name in names.iter().take(LOGGED_NAMES) {
            match name.floor_char_boundary(LOGGED_BYTES) {
                end if end < name.len() => write!(f, " {:?}…", &name[..end])?,
                _ => write!(f, " {name:?}")?,
            }
        }
        match names.len().saturating_sub(LOGGED_NAMES) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl TryFrom<PurgeRequest> for Scope {
    type Error = String;

    fn try_from(request: PurgeRequest) -> Result<Scope, String> {
        let PurgeRequest { all, keys, prefix, tags, mode: _ } = request;
        match (all, keys, prefix, tags) {
            (Some(true), None, None, None) => Ok(Scope::All),
            (None, Some(keys), None, None) => names("keys", keys).map(Scope::Keys),
            (None, None, Some(prefix), None) if prefix.is_empty() => {
                Err("\"prefix\" is empty: to purge everything, say {\"all\":true}".to_owned())
            }
            (None, None, Some(prefix), None) => Ok(Scope::Prefix(prefix)),
            (None, None, None, Some(tags)) => names("tags", tags).map(Scope::Tags),
            _ => Err("say one of {\"tags\":[\"…\"]}, {\"keys\":[\"…\"]}, {\"prefix\":\"…\"} and \
                      {\"all\":true}, and \"mode\":\"soft\" or \"hard\" if you like"
                .to_owned()),
        }
    }
}

fn names(what: &str, names: Vec<String>) -> Result<Vec<String>, String> {
    match names.len() {
        0 => Err(format!("\"{what}\" is empty")),
        1..=MAX_NAMES => Ok(names),
        many => Err(format!("{many} {what} are more than the {MAX_NAMES} of one request")),
    }
}

impl Scope {
    /// Every cache, also after one that does not count.
    fn purge(&self, caches: &[Arc<dyn Managed>], mode: Mode) -> Purged {
        let each = |purge: &dyn Fn(&dyn Managed) -> usize| {
            caches.iter().map(|cache| purge(cache.as_ref())).sum::<usize>()
        };
        let mut purged = Purged { purged: None, mode, keys: Vec::new(), did_you_mean: Vec::new() };
        match self {
            Scope::All => purged.purged = Some(each(&|cache| purge_all(cache, mode))),
            Scope::Keys(keys) => {
                purged.keys = keys.iter().map(|key| purge_key(caches, key, mode)).collect();
                purged.purged = Some(purged.keys.iter().map(|key| key.purged).sum());
                let missed = purged.keys.iter_mut().filter(|key| key.purged == 0);
                look_for(missed.take(KEYS_LOOKED_FOR).collect(), caches);
            }
            Scope::Prefix(prefix) => {
                let count = each(&|cache| match mode {
                    Mode::Hard => cache.purge_prefix(prefix),
                    Mode::Soft => cache.soft_purge_prefix(prefix),
                });
                purged.purged = Some(count);
                if count == 0 {
                    purged.did_you_mean = nearest_prefixes(prefix, &some_keys(caches));
                }
            }
            Scope::Tags(tags) => {
                for (tag, cache) in tags.iter().flat_map(|tag| caches.iter().map(move |c| (tag, c)))
                {
                    match mode {
                        Mode::Hard => cache.purge_tag(tag),
                        Mode::Soft => cache.soft_purge_tag(tag),
                    }
                }
            }
        }
        purged
    }
}

fn purge_all(cache: &dyn Managed, mode: Mode) -> usize {
    match mode {
        Mode::Hard => cache.clear(),
        Mode::Soft => {
            // A single step that looks at none of them: what is there before it is what it purges.
            let entries = cache.stats().entries;
            cache.soft_clear();
            usize::try_from(entries).unwrap_or(usize::MAX)
        }
    }
}

fn purge_key(caches: &[Arc<dyn Managed>], key: &str, mode: Mode) -> PurgedKey {
    let was_there = |cache: &&Arc<dyn Managed>| match mode {
        Mode::Hard => cache.remove(key),
        Mode::Soft => cache.soft_remove(key),
    };
    let purged = caches.iter().filter(was_there).count();
    PurgedKey { key: key.to_owned(), purged, did_you_mean: Vec::new() }
}

fn look_for(missed: Vec<&mut PurgedKey>, caches: &[Arc<dyn Managed>]) {
    if missed.is_empty() {
        return;
    }
    let stored = some_keys(caches);
    for key in missed {
        key.did_you_mean = nearest_keys(&key.key, &stored);
    }
}

fn some_keys(caches: &[Arc<dyn Managed>]) -> Vec<String> {
    let most = KEYS_LOOKED_AT / caches.len().max(1);
    caches.iter().flat_map(|cache| cache.keys(most)).collect()
}

/// A form on a page elsewhere can send anything but this header without asking: see `guard.rs`.
const NO_JSON: &str = "say that this is JSON, with the header content-type: application/json (with curl: \
                       -H 'content-type: application/json' or --json); without it, any page in a browser on \
                       this machine could purge";

/// What was done.
#[derive(Serialize)]
pub(crate) struct Purged {
    /// How many entries that was; `null` where they are not counted: a single step purges what has a tag.
    purged: Option<usize>,
    mode: Mode,
    /// Of each key that was named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<PurgedKey>,
    /// Where a prefix is that of nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    did_you_mean: Vec<String>,
}

#[derive(Serialize)]
struct PurgedKey {
    key: String,
    /// 0: there is nothing of this name.
    purged: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    did_you_mean: Vec<String>,
}

pub(crate) async fn purge(
    State(console): State<Arc<Console>>,
    request: Result<Json<Object<PurgeRequest>>, JsonRejection>,
) -> Result<Json<Purged>, Problem> {
    const TITLE: &str = "Purge not understood";
    let Json(Object(request)) = request.map_err(|rejection| {
        let detail = match &rejection {
            JsonRejection::MissingJsonContentType(_) => NO_JSON.to_owned(),
            other => other.body_text(),
        };
        Problem::new(rejection.status(), TITLE, detail)
    })?;
    let mode = request.mode;
    let scope = Scope::try_from(request)
        .map_err(|detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, TITLE, detail))?;
    let purged = scope.purge(&console.caches, mode);
    tracing::info!(purged = purged.purged, %mode, "purged {scope}");
    Ok(Json(purged))
}

/// A `T` that is written as an object. What is derived also takes an array of the fields' values,
/// which in a purge would be a mistake that purges something.
pub(crate) struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Object)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_names_a_few_and_counts_the_rest() {
        let names = |count: usize| (0..count).map(|number| format!("t{number}")).collect();
        for (scope, text) in [
            (Scope::All, "everything".to_owned()),
            (Scope::Prefix("/a".to_owned()), r#"prefix "/a""#.to_owned()),
            (Scope::Keys(names(1)), r#"keys "t0""#.to_owned()),
            (Scope::Tags(names(5)), r#"tags "t0" "t1" "t2" "t3" "t4""#.to_owned()),
            (Scope::Tags(names(1000)), r#"tags "t0" "t1" "t2" "t3" "t4" and 995 more"#.to_owned()),
            (Scope::Prefix("é".repeat(1000)), format!("prefix {:?}…", "é".repeat(50))),
            (Scope::Keys(vec!["a\nb".to_owned()]), r#"keys "a\nb""#.to_owned()),
        ] {
            assert_eq!(scope.to_string(), text);
        }
    }
}
