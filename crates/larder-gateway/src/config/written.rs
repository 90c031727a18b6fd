//! Written: what a configuration says of routes and where it says it, beside the ways that follow from it: for whoever asks
//! why a request is answered as it is.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
};

use super::{
    Config, Mistakes, Places, Rules, add_new,
    explain::{Row, rows},
    include_is_refused, read_on,
    settings::ways_of,
};
use crate::{downstream::TrustedPeers, routes::Ways};

/// What a configuration says of routes.
#[derive(Clone, Debug)]
pub struct Written {
    /// By which rules which requests are answered.
    pub ways: Ways,
    /// Readers whose `Cache-Control` counts where a route's rules have it count.
    pub trusted_readers: TrustedPeers,
    /// The names of the services, which ways name by their places.
    pub upstreams: Vec<Arc<str>>,
    /// What the requests of each route have in common, and then of those that fit none.
    words: Vec<Arc<str>>,
    /// The rules of each, in the same order.
    rules: Vec<Rules>,
    places: Places,
}

/// A route as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenRoute {
    /// What its requests have in common.
    pub words: Arc<str>,
    /// Where it begins.
    pub line: Option<String>,
    /// The rules that are said for it or for all: each key, what is said, and where.
    pub rules: Vec<(String, String, String)>,
}

impl Written {
    pub(super) fn new(
        config: &Config,
        places: &Places,
        (ways, rules_of_routes): (Ways, &[Rules]),
        trusted_readers: TrustedPeers,
    ) -> Written {
        let words = config.route.iter().map(|route| shown(&route.words()).into());
        Written {
            ways,
            trusted_readers,
            upstreams: config.upstream.keys().map(|name| name.as_str().into()).collect(),
            words: words.chain(["otherwise".into()]).collect(),
            rules: rules_of_routes.iter().chain([&config.defaults]).cloned().collect(),
            places: places.clone(),
        }
    }

    /// What this text says. Nothing is opened for it: what it includes is a mistake, and what it names of files is left
    /// alone.
    ///
    /// # Errors
    ///
    /// All that is wrong with its routes, its rules, and the text itself.
    pub fn of_text(name: &Path, text: &str) -> Result<Written, Mistakes> {
        let (config, places, mut mistakes) = read_on(name, text);
        mistakes.extend(include_is_refused(&config, &places));
        let readers = config.server.trusted_readers.iter().flatten().map(|peer| peer.0).collect();
        let ways = ways_of(&config, &places).map_err(|more| add_new(&mut mistakes, more)).ok();
        match (Mistakes::of(mistakes), ways) {
            (Some(mistakes), _) => Err(mistakes),
            (None, Some((ways, rules))) => {
                Ok(Written::new(&config, &places, (ways, &rules), readers))
            }
            (None, None) => unreachable!("what cannot be used is a mistake"),
        }
    }

    /// What requests that are at this place among the ways have in common.
    pub fn words(&self, place: usize) -> Option<&Arc<str>> {
        self.words.get(place)
    }

    /// The route at this place among the ways, as it is written.
    pub fn route(&self, place: usize) -> Option<WrittenRoute> {
        let (words, rules) = (self.words.get(place)?, self.rules.get(place)?);
        let own = (place + 1 < self.words.len()).then(|| format!("route[{}]", place + 1));
        let line = self.places.of(own.as_deref().unwrap_or("defaults"));
        let said = rows(rules, &self.places, own.as_deref()).into_iter();
        let said = said.filter_map(|Row { name, value, place }| Some((name, value, place?)));
        Some(WrittenRoute {
            words: Arc::clone(words),
            line: line.map(super::mistake::Place::without_column),
            rules: said.collect(),
        })
    }

    /// Whether the `Cache-Control` of this client counts where the rules have it count. Nobody in particular is a stranger.
    pub fn trusts(&self, client: Option<IpAddr>) -> bool {
        self.trusted_readers.contains(client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }
}

/// A path of any host is written without that.
fn shown(words: &str) -> &str {
    words.strip_prefix('*').filter(|rest| rest.starts_with('/')).unwrap_or(words)
}
