//! Route: which requests have rules of their own.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{rules::Rules, value::Verb};

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
    /// The methods, in capitals. Default any
    #[schemars(example = ["GET", "HEAD"])]
    pub methods: Option<Vec<Verb>>,
    /// Its rules, beside these in the file.
    #[serde(rename = "the rules of a route")]
    #[schemars(flatten)]
    pub rules: Rules,
}

/// The keys that are not rules.
pub(super) const OF_A_ROUTE: [&str; 3] = ["host", "path", "methods"];
