//! Setups: one of each driver, and wishes of all kinds.

use std::path::Path;

use larder::Mode;
use larder_gateway::cdn::{
    driver::{Driver, What, Wish},
    drivers::{
        Secret, Secrets, Wrong, akamai, bunny, cloudflare, cloudfront, fastly, google,
        larder as outer, nginx, template, varnish,
    },
};
use serde::de::DeserializeOwned;

/// Every secret is `s3cret-<key>`.
pub(crate) struct Known;

impl Secrets for Known {
    fn read(&self, key: &'static str, _: Option<&Path>, _: Option<&str>) -> Result<Secret, Wrong> {
        Ok(Secret::new(&format!("s3cret-{key}")).unwrap())
    }
}

/// A table of the configuration.
pub(crate) fn table<C: DeserializeOwned>(text: &str) -> C {
    toml::from_str(text).unwrap()
}

pub(crate) fn fastly(api: &str) -> fastly::Fastly {
    let text = format!("service = \"SU1Z0isxPaozGVKXdv0eY\"\napi = {api:?}");
    table::<fastly::Config>(&text).driver(&Known).unwrap()
}

pub(crate) fn cloudflare(api: &str) -> cloudflare::Cloudflare {
    let text = format!("zone = \"023e105f4ecef8ad9ca31a8372d0c353\"\napi = {api:?}");
    table::<cloudflare::Config>(&text).driver(&Known).unwrap()
}

pub(crate) fn cloudfront(api: &str) -> cloudfront::CloudFront {
    let text = format!(
        "distribution = \"EDFDVBD6EXAMPLE\"\naccess_key_id = \"AKIDEXAMPLE\"\napi = {api:?}"
    );
    table::<cloudfront::Config>(&text).driver(&Known).unwrap()
}

pub(crate) fn akamai(api: &str) -> akamai::Akamai {
    let text = format!("cp_codes = [12345, 67890]\napi = {api:?}");
    table::<akamai::Config>(&text).driver(&Known).unwrap()
}

pub(crate) fn bunny(api: &str) -> bunny::Bunny {
    let text = format!("pull_zone = 4711\napi = {api:?}");
    table::<bunny::Config>(&text).driver(&Known).unwrap()
}

pub(crate) fn google(api: &str) -> google::Google {
    let text =
        format!("project = \"blog-1\"\nurl_map = \"web\"\ntoken_file = \"none\"\napi = {api:?}");
    table::<google::Config>(&text).driver(&Known).unwrap()
}

pub(crate) fn larder(api: &str) -> outer::Larder {
    let text = format!("api = {api:?}\ntoken_file = \"none\"");
    table::<outer::Config>(&text).driver(&Known).unwrap()
}

pub(crate) fn varnish(api: &str) -> varnish::Varnish {
    table::<varnish::Config>(&format!("api = {api:?}")).driver(&Known).unwrap()
}

pub(crate) fn nginx(api: &str, more: &str) -> nginx::Nginx {
    table::<nginx::Config>(&format!("api = {api:?}\n{more}")).driver(&Known).unwrap()
}

pub(crate) fn template(text: &str) -> template::Template {
    table::<template::Config>(text).driver(&Known).unwrap()
}

/// One of each, none of which is asked.
pub(crate) fn all() -> Vec<Box<dyn Driver>> {
    let api = "https://api.example.com";
    vec![
        Box::new(fastly(api)),
        Box::new(cloudflare(api)),
        Box::new(cloudfront(api)),
        Box::new(akamai(api)),
        Box::new(bunny(api)),
        Box::new(google(api)),
        Box::new(larder(api)),
        Box::new(varnish(api)),
        Box::new(nginx(api, "")),
        Box::new(nginx(api, "wildcards = true\nlocation = \"/purge\"")),
        Box::new(template(
            "[url]\nurl = \"https://api.example.com/purge?of={items}\"\nmost = 7\n\
             [tag]\nurl = \"https://api.example.com/tags\"\nbody = '{\"tags\":[{items}]}'\nmost = 50\nsoft = true\n\
             [everything]\nurl = \"https://api.example.com/all\"",
        )),
        Box::new(template("[everything]\nurl = \"https://api.example.com/all\"")),
    ]
}

pub(crate) fn tag(name: &str, mode: Mode) -> Wish {
    Wish { what: What::Tag(name.to_owned()), mode }
}

pub(crate) fn tags(count: usize, mode: Mode) -> Vec<Wish> {
    (0..count).map(|number| tag(&format!("post.{number}"), mode)).collect()
}

pub(crate) fn url(text: &str, mode: Mode) -> Wish {
    Wish { what: What::Url(text.parse().unwrap()), mode }
}

pub(crate) fn prefix(text: &str) -> Wish {
    Wish { what: What::Prefix(text.to_owned()), mode: Mode::Hard }
}

pub(crate) fn host(text: &str) -> Wish {
    Wish { what: What::Host(text.to_owned()), mode: Mode::Hard }
}

pub(crate) fn everything(mode: Mode) -> Wish {
    Wish { what: What::Everything, mode }
}
