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

use crate::{admin::Console, managed::Managed, problem::Problem};

/// More keys or tags than this in one request are refused: send several.
const MAX_NAMES: usize = 1000;

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

#[derive(Debug, PartialEq, Eq)]
enum Scope {
    All,
    Keys(Vec<String>),
    Prefix(String),
    Tags(Vec<String>),
}

/// So many names, and so much of each, stand in the log.
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
    /// How many entries that was; `None` where they are not looked for: a single step purges them.
    fn purge(&self, cache: &dyn Managed, mode: Mode) -> Option<usize> {
        match (self, mode) {
            (Scope::All, Mode::Hard) => Some(cache.clear()),
            (Scope::All, Mode::Soft) => {
                cache.soft_clear();
                None
            }
            (Scope::Keys(keys), mode) => {
                let purge = |key: &&String| match mode {
                    Mode::Hard => cache.remove(key),
                    Mode::Soft => cache.soft_remove(key),
                };
                Some(keys.iter().filter(purge).count())
            }
            (Scope::Prefix(prefix), Mode::Hard) => Some(cache.purge_prefix(prefix)),
            (Scope::Prefix(prefix), Mode::Soft) => Some(cache.soft_purge_prefix(prefix)),
            (Scope::Tags(tags), mode) => {
                tags.iter().for_each(|tag| match mode {
                    Mode::Hard => cache.purge_tag(tag),
                    Mode::Soft => cache.soft_purge_tag(tag),
                });
                None
            }
        }
    }
}

/// What was done.
#[derive(Serialize)]
pub(crate) struct Purged {
    /// How many entries that was; `null` where they are not counted.
    purged: Option<usize>,
    mode: Mode,
}

pub(crate) async fn purge(
    State(console): State<Arc<Console>>,
    request: Result<Json<Object<PurgeRequest>>, JsonRejection>,
) -> Result<Json<Purged>, Problem> {
    const TITLE: &str = "Purge not understood";
    let Json(Object(request)) = request
        .map_err(|rejection| Problem::new(rejection.status(), TITLE, rejection.body_text()))?;
    let mode = request.mode;
    let scope = Scope::try_from(request)
        .map_err(|detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, TITLE, detail))?;
    // Every cache, also after one that does not count.
    let purged: Vec<_> =
        console.caches.iter().map(|cache| scope.purge(cache.as_ref(), mode)).collect();
    let purged = purged.into_iter().sum();
    tracing::info!(purged, ?mode, "purged {scope}");
    Ok(Json(Purged { purged, mode }))
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
