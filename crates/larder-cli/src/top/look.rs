//! Look: what the admin API says at one moment. What a gateway does not tell is left out.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use http::StatusCode;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::ask::{AskError, Where};

const BUDGET: Duration = Duration::from_secs(5);
/// As many as fit on a tall screen.
const ROUTES: usize = 100;
const SLOWEST: usize = 10;

/// What was told.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) stats: Stats,
    pub(super) routes: Option<Vec<Route>>,
    pub(super) slowest: Option<Vec<Entry>>,
    pub(super) purges: Option<Vec<Purge>>,
}

/// Of `/v1/stats`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Stats {
    pub(super) uptime_seconds: f64,
    pub(super) caches: Vec<CacheCounts>,
    /// None where nobody counts requests.
    #[serde(default)]
    pub(super) traffic: Option<Traffic>,
    #[serde(default)]
    pub(super) upstreams: Vec<Upstream>,
}

/// Every request that was finished, those that the cache has no part in as well.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Traffic {
    pub(super) requests: BTreeMap<String, u64>,
    pub(super) origin_calls: u64,
    /// None where an older gateway does not tell.
    pub(super) origin_failures: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CacheCounts {
    pub(super) hits: u64,
    pub(super) stale_served: u64,
    pub(super) negative_hits: u64,
    pub(super) misses: u64,
    pub(super) collapsed: u64,
    pub(super) fetches: u64,
    pub(super) fetch_failures: u64,
    pub(super) evictions: u64,
    pub(super) purges: u64,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) max_bytes: Option<u64>,
    pub(super) saved_seconds: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) addresses: Vec<Address>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Address {
    pub(super) address: String,
    pub(super) is_up: bool,
    pub(super) requests: u64,
    pub(super) failures: u64,
}

/// Of `/v1/routes`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Route {
    pub(super) route: String,
    pub(super) requests: BTreeMap<String, u64>,
    pub(super) origin_calls: u64,
    pub(super) origin_failures: u64,
    pub(super) origin_seconds: f64,
    pub(super) bytes: u64,
}

/// Of `/v1/entries`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) cost_seconds: f64,
}

/// Of `/v1/purges`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Purge {
    pub(super) what: Vec<String>,
    pub(super) mode: String,
    pub(super) at: String,
    pub(super) tiers: serde_json::Value,
}

/// Asks all that is shown. What a gateway does not know (404) is none; anything else that goes wrong is an error.
pub(super) fn look(admin: &Where) -> Result<Look, AskError> {
    #[derive(Deserialize)]
    struct Routes {
        routes: Vec<Route>,
    }
    #[derive(Deserialize)]
    struct Entries {
        entries: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Purges {
        purges: Vec<Purge>,
    }
    let stats = admin.ask("/v1/stats", None, BUDGET)?;
    let stats = serde_json::from_value(stats).map_err(|_| admin.foreign())?;
    let at = Instant::now();
    let routes = format!("/v1/routes?order=requests&limit={ROUTES}");
    let routes: Option<Routes> = if_there(admin, &routes)?;
    let slowest = format!("/v1/entries?order=cost&limit={SLOWEST}");
    let slowest: Option<Entries> = if_there(admin, &slowest)?;
    let purges: Option<Purges> = if_there(admin, "/v1/purges")?;
    Ok(Look {
        at,
        stats,
        routes: routes.map(|said| said.routes),
        slowest: slowest.map(|said| said.entries),
        purges: purges.map(|said| said.purges),
    })
}

fn if_there<T: DeserializeOwned>(admin: &Where, path: &str) -> Result<Option<T>, AskError> {
    match admin.ask(path, None, BUDGET) {
        Ok(said) => serde_json::from_value(said).map(Some).map_err(|_| admin.foreign()),
        Err(AskError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
