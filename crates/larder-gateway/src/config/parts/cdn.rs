//! `[[cdn]]` and `[outbox]`: caches outside that are told of purges, and what they have still to be told.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    cdn::drivers::{
        akamai, bunny, cloudflare, cloudfront, fastly, google, larder, nginx, template, varnish,
    },
    config::value::{Count, HostName, Time},
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
    /// How many calls it takes in a minute; more wait. Default as its vendor says
    #[schemars(example = 300)]
    pub calls_per_minute: Option<Count>,
    /// How many of these at once, after a rest. Default as its vendor says
    #[schemars(example = 25)]
    pub burst: Option<Count>,
    /// How many tags or URLs go into one call. Default as its vendor says
    #[schemars(example = 100)]
    pub max_per_call: Option<Count>,
    /// So long after a purge is done its edges may still be filled with what an inner node of it had: then it is purged
    /// once more. Default as its vendor says
    #[schemars(example = &"5s")]
    pub propagation: Option<Time>,
    /// How long one call may take. Default 10s
    #[schemars(example = &"10s")]
    pub timeout: Option<Time>,
    /// For https with certificates of one's own: a PEM file with those that vouch for its API. Default those that browsers
    /// know
    #[schemars(example = &"ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// Another Larder
    #[schemars(example = &"[cdn.larder]\napi = \"http://192.0.2.7:9191\"")]
    pub larder: Option<larder::Config>,
    /// Varnish
    #[schemars(example = &"[cdn.varnish]\napi = \"http://192.0.2.7:6081\"")]
    pub varnish: Option<varnish::Config>,
    /// nginx with ngx_cache_purge
    #[schemars(example = &"[cdn.nginx]\napi = \"http://192.0.2.7\"")]
    pub nginx: Option<nginx::Config>,
    /// Fastly
    #[schemars(example = &"[cdn.fastly]\nservice = \"SERVICE\"\ntoken_file = \"fastly-token\"")]
    pub fastly: Option<fastly::Config>,
    /// Cloudflare
    #[schemars(example = &"[cdn.cloudflare]\nzone = \"ZONE\"\ntoken_file = \"cloudflare-token\"")]
    pub cloudflare: Option<cloudflare::Config>,
    /// CloudFront
    #[schemars(example = &"[cdn.cloudfront]\ndistribution = \"DISTRIBUTION\"")]
    pub cloudfront: Option<cloudfront::Config>,
    /// Akamai
    #[schemars(example = &"[cdn.akamai]\nedgerc = \".edgerc\"")]
    pub akamai: Option<akamai::Config>,
    /// bunny.net
    #[schemars(example = &"[cdn.bunny]\nkey_file = \"bunny-key\"")]
    pub bunny: Option<bunny::Config>,
    /// Google Cloud CDN
    #[schemars(example = &"[cdn.google]\nproject = \"PROJECT\"\nurl_map = \"MAP\"")]
    pub google: Option<google::Config>,
    /// Anything that takes purges over HTTP
    #[schemars(example = &"[cdn.template]\nurl = \"https://cache.example.org/purge\"")]
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
    pub file: Option<PathBuf>,
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
