//! `[[cdn]]` and `[outbox]`: caches outside that are told of purges, and what they have still to be told.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    cdn::drivers::{
        akamai, bunny, cloudflare, cloudfront, fastly, google, larder, nginx, template, varnish,
    },
    config::{
        schema::{OfVendor, Written},
        value::{Count, HostName, Size, Time},
    },
};

/// `[[cdn]]`: a cache outside that is told of each purge. One table below it says whose it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CdnPart {
    /// What it is called in receipts and metrics. Default the name of its vendor
    #[schemars(example = &"edge")]
    pub name: Option<String>,
    /// The hosts that its readers ask for, where these are not those that this gateway is asked for. A purge by URL is one
    /// for each of them. Default those that this gateway is asked for
    #[schemars(example = &["www.example.org"])]
    pub hosts: Option<Vec<HostName>>,
    /// The scheme that its readers ask with: http or https. Default the one that this gateway is asked with
    #[schemars(example = &"https")]
    pub scheme: Option<SchemeWord>,
    /// Whose account it is at its vendor, in a word of your own: those of one account share its calls, the least that one of them
    /// says. Default that of its credentials
    #[schemars(example = &"agency")]
    pub account: Option<String>,
    /// How many calls it takes in a minute; more wait. Default as its vendor says
    #[schemars(example = 300)]
    pub calls_per_minute: Option<Count>,
    /// How many of these at once, after a rest. Default as its vendor says
    #[schemars(example = 25)]
    pub burst: Option<Count>,
    /// How many tags or URLs go into one call: no more than its vendor takes. Default as its vendor says
    #[schemars(example = 100)]
    pub max_per_call: Option<Count>,
    /// How many bytes the tags or URLs of one call may have together: no more than its vendor takes. A longer one has a call
    /// for itself. Default as its vendor says
    #[schemars(example = &"16KiB")]
    pub max_bytes_per_call: Option<Size>,
    /// So long after a purge is done its edges may still be filled with what an inner node of it had: then it is purged
    /// once more. Default as its vendor says
    #[schemars(example = &"5s")]
    pub propagation: Option<Time>,
    /// How long one call may take. Default 10s
    #[schemars(example = &"10s")]
    pub call_timeout: Option<Time>,
    /// For https with certificates of one's own: a PEM file with those that vouch for its API. Default those that browsers
    /// know
    #[schemars(example = &"ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// Another Larder, by its admin API: api, and token_file or token_env. Default none
    #[schemars(with = "Option<OfVendor<larder::Config>>", example = Written("{ api = \"http://192.0.2.7:9191\" }"))]
    pub larder: Option<larder::Config>,
    /// Varnish: api, xkey, and token_file or token_env. Default none
    #[schemars(with = "Option<OfVendor<varnish::Config>>", example = Written("{ api = \"http://192.0.2.7:6081\" }"))]
    pub varnish: Option<varnish::Config>,
    /// nginx with ngx_cache_purge: api, location, wildcards, absent_status. Default none
    #[schemars(with = "Option<OfVendor<nginx::Config>>", example = Written("{ api = \"http://192.0.2.7\", location = \"/purge\" }"))]
    pub nginx: Option<nginx::Config>,
    /// Fastly: service, and token_file or token_env. Default none
    #[schemars(with = "Option<OfVendor<fastly::Config>>", example = Written("{ service = \"SERVICE\", token_file = \"fastly-token\" }"))]
    pub fastly: Option<fastly::Config>,
    /// Cloudflare: zone, plan, and token_file or token_env. Default none
    #[schemars(with = "Option<OfVendor<cloudflare::Config>>", example = Written("{ zone = \"ZONE\", token_file = \"cloudflare-token\" }"))]
    pub cloudflare: Option<cloudflare::Config>,
    /// CloudFront: distribution, access_key_id, secret_file or secret_env, session_file or session_env. Default none
    #[schemars(with = "Option<OfVendor<cloudfront::Config>>", example = Written("{ distribution = \"ID\", access_key_id = \"KEY\", secret_file = \"aws-secret\" }"))]
    pub cloudfront: Option<cloudfront::Config>,
    /// Akamai: api, network, cp_codes, and the three secrets of a client: client_token, client_secret and access_token,
    /// each with _file or _env. Default none
    #[schemars(with = "Option<OfVendor<akamai::Config>>", example = Written("{ api = \"https://HOST.luna.akamaiapis.net\", client_token_file = \"client-token\", client_secret_file = \"client-secret\", access_token_file = \"access-token\" }"))]
    pub akamai: Option<akamai::Config>,
    /// bunny.net: pull_zone, and key_file or key_env. Default none
    #[schemars(with = "Option<OfVendor<bunny::Config>>", example = Written("{ pull_zone = 1, key_file = \"bunny-key\" }"))]
    pub bunny: Option<bunny::Config>,
    /// Google Cloud CDN: project, url_map, token_file. Default none
    #[schemars(with = "Option<OfVendor<google::Config>>", example = Written("{ project = \"PROJECT\", url_map = \"MAP\", token_file = \"google-token\" }"))]
    pub google: Option<google::Config>,
    /// Anything else that takes purges over HTTP: tag, url, prefix, host, everything, and secret_file or secret_env; see
    /// cdn.md. Default none
    #[schemars(with = "Option<OfVendor<template::Config>>", example = Written("{ everything = { url = \"https://cache.example.org/purge\" } }"))]
    pub template: Option<template::Config>,
}

/// A scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SchemeWord {
    /// In the open
    Http,
    /// Over TLS
    Https,
}

/// `[outbox]`: what CDNs have still to be told.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutboxPart {
    /// A file for purges that a CDN does not have yet: they outlive this process, and are made again by the next. Of one
    /// gateway alone, in a folder that is there. Default none: they are in memory, and lost with the process
    #[schemars(example = &"/var/lib/larder/cdn")]
    pub journal: Option<PathBuf>,
    /// How long answers that began before a purge are waited for, before the CDNs are told for the last time: one of them
    /// may bring the old copy there. With a [shared] tier it is always so long. Default 30s, from 0s to 10m
    #[schemars(example = &"30s")]
    pub old_answers: Option<Time>,
    /// How long after its end such an answer may still be on its way. Default 1s, from 0s to 1m
    #[schemars(example = &"1s")]
    pub settle: Option<Time>,
    /// After so long a purge that a CDN does not take has failed. Default 1d, from 1m to 30d
    #[schemars(example = &"1d")]
    pub give_up: Option<Time>,
}
