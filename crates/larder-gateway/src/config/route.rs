//! Route: which requests have rules of their own.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "these texts are for readers of a larder.toml: [defaults] is a table there"
)]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    rules::Rules,
    schema::{Table, Written},
    value::{Field, Verb, Wanted},
};

/// One `[[route]]`: what its requests have in common, and what becomes of them. What is left out, anything fits.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// The host that is asked for, without a port; *.example.org stands for all below it. Default any
    #[schemars(example = &"example.org")]
    pub host: Option<String>,
    /// The path that is asked for: {id} and * stand for one or more characters up to the next slash, ** for any number
    /// of parts between slashes. Default any
    #[schemars(example = &"/posts/{id}")]
    pub path: Option<String>,
    /// A regular expression that is somewhere in the path, instead of a path: ^ and $ stand for its ends. Default any
    #[schemars(example = &"^/(de|fr)/[0-9]+$")]
    pub path_regex: Option<String>,
    /// Header fields that are sent, each with its value: * in it stands for any characters, true for whatever is
    /// there, false for none. Default any
    #[schemars(with = "Option<Table>", example = Written("{ X-Beta = \"1\" }"))]
    pub header: Option<BTreeMap<Field, Wanted>>,
    /// Parameters of the query, each with its value, as for header. Default any
    #[schemars(with = "Option<Table>", example = Written("{ preview = true }"))]
    pub query: Option<BTreeMap<String, Wanted>>,
    /// The methods, in capitals. Default any
    #[schemars(example = ["GET", "HEAD"])]
    pub methods: Option<Vec<Verb>>,
    /// Taken from the front of the path on the way to the service, which then says where things are by its own paths:
    /// Location and Content-Location are turned back. Keys, tags and purges go by what readers ask for. Default none
    #[schemars(example = &"/api")]
    pub strip_prefix: Option<String>,
    /// Put to the front of the path on the way to the service, where strip_prefix was. Default none
    #[schemars(example = &"/v2")]
    pub add_prefix: Option<String>,
    /// Which host the service is told, instead of the one that readers ask for. Default theirs
    #[schemars(example = &"shop.internal")]
    pub upstream_host: Option<String>,
    /// Its rules, beside these in the file.
    #[serde(rename = "the rules of a route")]
    #[schemars(flatten)]
    pub rules: Rules,
}

impl Route {
    /// What its requests have in common, in one line: the same for the same.
    pub fn words(&self) -> String {
        let Route { host, path, path_regex, header, query, methods, .. } = self;
        let methods = methods.iter().flatten().map(|verb| verb.0.as_str()).collect::<Vec<_>>();
        let mut words = Vec::new();
        words.extend((!methods.is_empty()).then(|| methods.join(",")));
        let path = path.as_deref().or(path_regex.as_deref());
        if host.is_some() || path.is_some() {
            words.push(format!("{}{}", host.as_deref().unwrap_or_default(), path.unwrap_or("/**")));
        }
        let conditions = header.iter().flatten().map(|(name, is)| (name.0.as_str(), is));
        let conditions = conditions.chain(query.iter().flatten().map(|(name, is)| (&**name, is)));
        words.extend(conditions.map(|(name, Wanted(is))| format!("{name} {is:?}")));
        if words.is_empty() { "*".to_owned() } else { words.join(" ") }
    }
}

/// The keys that are not rules.
pub(super) const OF_A_ROUTE: [&str; 9] = [
    "host",
    "path",
    "path_regex",
    "header",
    "query",
    "methods",
    "strip_prefix",
    "add_prefix",
    "upstream_host",
];
