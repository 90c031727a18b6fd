//! Template: any API that takes purges over HTTP, by what the configuration says of its requests.
//!
//! There is one table for each kind of wish that it takes. What has none is asked for by the next wider that has one: a URL
//! as a prefix, that as a host, that as everything; a tag as everything.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue, Method, header};
use larder::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    batch::{Room, batches},
    credential::{Secret, Secrets, Wrong},
    escape::{percent, short},
    exchange::{With, call, failed, why},
    naming,
};
use crate::cdn::driver::{Answer, Bounds, Call, Driver, Said, What, Wish};

const MOST: usize = 10_000;
const MOST_BYTES: usize = 256 * 1024;
/// In an address.
const MOST_URL_BYTES: usize = 6 * 1024;

/// An API of which the configuration says how it is asked.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A file with a secret, in its first line: it stands where a field says {secret}. Default none
    pub secret_file: Option<PathBuf>,
    /// The same from a variable
    pub secret_env: Option<String>,
    /// How tags are purged
    pub tag: Option<Request>,
    /// How URLs are purged
    pub url: Option<Request>,
    /// How all URLs with the same beginning are purged
    pub prefix: Option<Request>,
    /// How all URLs of a host are purged
    pub host: Option<Request>,
    /// How everything is purged
    pub everything: Option<Request>,
}

/// One request. In its url, its headers and its body {items} stands for what is to go, {mode} for soft or hard, {id} for
/// the name of the request, by which one that is made again is known; in headers {secret} as well.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The method. Default POST
    #[serde(default = "post")]
    pub method: String,
    /// The address. Items in it are escaped
    pub url: String,
    /// Fields. Default none
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body. Items in it are written by quote. Default none
    #[serde(default)]
    pub body: String,
    /// How many items a request takes. Default 1
    #[serde(default = "one")]
    pub most: usize,
    /// What stands between two of them. Default a comma
    #[serde(default = "comma")]
    pub between: String,
    /// How an item is written in the body: json (quoted), or plain. Default json
    #[serde(default)]
    pub quote: Quote,
    /// Whether it takes soft purges: {mode} says which it is. Default false: all are hard
    #[serde(default)]
    pub soft: bool,
    /// Which statuses say that it is done. Default 200 to 299
    #[serde(default)]
    pub done: Vec<u16>,
}

/// How a text is written in a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Quote {
    /// In quotes, and escaped as JSON has it.
    #[default]
    Json,
    /// As it is.
    Plain,
}

fn post() -> String {
    "POST".to_owned()
}

fn one() -> usize {
    1
}

fn comma() -> String {
    ",".to_owned()
}

/// Purges by templates.
#[derive(Debug)]
pub struct Template {
    config: Config,
    secret: Option<Secret>,
}

impl Config {
    /// The driver of it.
    ///
    /// # Errors
    ///
    /// A key is wrong, or its secret is not there.
    pub fn driver(&self, secrets: &dyn Secrets) -> Result<Template, Wrong> {
        let secret = match (&self.secret_file, &self.secret_env) {
            (None, None) => None,
            (file, variable) => {
                Some(secrets.read("secret", file.as_deref(), variable.as_deref())?)
            }
        };
        let tables = [
            ("tag", &self.tag),
            ("url", &self.url),
            ("prefix", &self.prefix),
            ("host", &self.host),
            ("everything", &self.everything),
        ];
        if tables.iter().all(|(_, table)| table.is_none()) {
            let what = "say how something is purged: url, tag, prefix, host or everything";
            return Err(Wrong::new("url", what));
        }
        for (key, table) in tables {
            if let Some(request) = table {
                request.check(secret.is_some()).map_err(|what| Wrong::new(key, what))?;
            }
        }
        Ok(Template { config: self.clone(), secret })
    }
}

impl Request {
    fn check(&self, has_secret: bool) -> Result<(), String> {
        Method::from_bytes(self.method.as_bytes())
            .map_err(|_| format!("{:?} is no method", self.method))?;
        let parsed: Result<http::Uri, _> =
            filled(&self.url, &[("{items}", "x"), ("{id}", "x"), ("{mode}", "soft")]).parse();
        let is_http = parsed.as_ref().is_ok_and(|uri| {
            let host = uri.authority().is_some_and(|host| !host.as_str().contains('@'));
            matches!(uri.scheme_str(), Some("http" | "https")) && host
        });
        // What is put in after the host can change nothing about who is asked.
        let host = self.url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next());
        if !is_http || host.is_none_or(|host| host.contains('{')) || self.url.len() > 2048 {
            return Err("say an address with http or https, whose host is the same for all".into());
        }
        if self.url.contains("{secret}") || self.body.contains("{secret}") {
            return Err("a secret stands in a field, where no log has it".into());
        }
        for (name, value) in &self.headers {
            let is_name = HeaderName::from_bytes(name.as_bytes()).is_ok();
            if !is_name || HeaderValue::from_str(value).is_err() {
                return Err(format!("{name} is no field, or has no value that one can have"));
            }
            if value.contains("{secret}") && !has_secret {
                return Err(format!("{name} has a {{secret}}: say secret_file or secret_env"));
            }
        }
        if self.most == 0 || self.most > MOST {
            return Err(format!("most is 1 to {MOST}"));
        }
        if self.most > 1 && self.between.is_empty() {
            return Err("between says nothing: items would run into each other".into());
        }
        if self.body.len() > MOST_BYTES / 2 || self.between.len() > 16 {
            return Err("this is longer than a request may be".into());
        }
        Ok(())
    }

    fn is_done(&self, status: u16) -> bool {
        match self.done.is_empty() {
            true => (200..300).contains(&status),
            false => self.done.contains(&status),
        }
    }

    fn made(
        &self,
        items: &[String],
        secret: Option<&Secret>,
        (id, mode): (&str, Mode),
        places: Vec<usize>,
    ) -> Call {
        let mode = if mode == Mode::Soft { "soft" } else { "hard" };
        let joined = |write: &dyn Fn(&str) -> String| -> String {
            items.iter().map(|item| write(item)).collect::<Vec<_>>().join(&self.between)
        };
        let of_url = {
            let items: Vec<_> = items.iter().map(|item| percent(item)).collect();
            items.join(&percent(&self.between))
        };
        let escaped_id = percent(id);
        let values = [("{items}", &*of_url), ("{id}", &*escaped_id), ("{mode}", mode)];
        let url = filled(&self.url, &values);
        let of_body = match self.quote {
            Quote::Json => joined(&|item| json!(item).to_string()),
            Quote::Plain => joined(&str::to_owned),
        };
        let body = filled(&self.body, &[("{items}", &*of_body), ("{id}", id), ("{mode}", mode)]);
        let method = Method::from_bytes(self.method.as_bytes()).expect("it was checked");
        let mut call = call(method, &url, body, places);
        let plain = joined(&str::to_owned);
        let secret = secret.map_or_else(|| "".into(), Secret::reveal);
        let values = [("{items}", &*plain), ("{id}", id), ("{mode}", mode), ("{secret}", &*secret)];
        for (name, template) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(&filled(template, &values));
            if let (Ok(name), Ok(mut value)) = (name, value) {
                value.set_sensitive(template.contains("{secret}"));
                call = call.with(name, value);
            }
        }
        if !self.body.is_empty() && !call.head.headers.contains_key(header::CONTENT_TYPE) {
            return match self.quote {
                Quote::Json => call.json(),
                Quote::Plain => {
                    call.with(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))
                }
            };
        }
        call
    }
}

/// The template with what it stands for. What is put in is not looked at again: a tag that is called `{secret}` stays what
/// it is.
fn filled(template: &str, values: &[(&str, &str)]) -> String {
    let (mut out, mut rest) = (String::with_capacity(template.len()), template);
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match values.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                out.push_str(value);
                rest = &rest[name.len()..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Tag,
    Url,
    Prefix,
    Host,
    Everything,
}

fn item(wish: &Wish) -> (Kind, String) {
    match &wish.what {
        What::Tag(tag) => (Kind::Tag, tag.clone()),
        What::Url(url) => (Kind::Url, naming::whole(url).unwrap_or_default()),
        What::Prefix(prefix) => (Kind::Prefix, prefix.clone()),
        What::Host(host) => (Kind::Host, host.clone()),
        What::Everything => (Kind::Everything, String::new()),
    }
}

impl Template {
    fn requests(&self) -> impl Iterator<Item = &Request> {
        let Config { tag, url, prefix, host, everything, .. } = &self.config;
        [tag, url, prefix, host, everything].into_iter().flatten()
    }

    fn request(&self, kind: Kind) -> Option<&Request> {
        let Config { tag, url, prefix, host, everything, .. } = &self.config;
        let table = match kind {
            Kind::Tag => tag,
            Kind::Url => url,
            Kind::Prefix => prefix,
            Kind::Host => host,
            Kind::Everything => everything,
        };
        table.as_ref()
    }

    /// The same and what is wider, the narrowest first.
    fn widths(wish: &Wish) -> Vec<Wish> {
        let mut widths = Vec::new();
        let mut push = |what: What| widths.push(naming::instead(wish, what));
        match &wish.what {
            What::Tag(tag) => push(What::Tag(tag.clone())),
            What::Url(url) => {
                if let (Some(whole), Some((host, _))) = (naming::whole(url), naming::parts(url)) {
                    push(What::Url(url.clone()));
                    push(What::Prefix(whole));
                    push(What::Host(host.to_owned()));
                }
            }
            What::Prefix(text) => {
                if let Some((host, _)) = naming::prefix(text) {
                    push(What::Prefix(text.clone()));
                    push(What::Host(host.to_owned()));
                }
            }
            What::Host(host) if naming::is_host(host) => push(What::Host(host.clone())),
            What::Host(_) | What::Everything => {}
        }
        push(What::Everything);
        widths
    }
}

impl Driver for Template {
    fn vendor(&self) -> &'static str {
        "template"
    }

    fn bounds(&self) -> Bounds {
        let Config { tag, url, prefix, host, everything, .. } = &self.config;
        let tables = [tag, url, prefix, host, everything];
        let most = tables.into_iter().flatten().map(|request| request.most).max();
        Bounds {
            most_in_a_call: most.unwrap_or(1),
            most_bytes: MOST_BYTES,
            calls_a_second: 10.0,
            burst: 10,
            propagation: Duration::ZERO,
        }
    }

    fn widen(&self, wish: &Wish) -> Result<Wish, String> {
        if let What::Tag(tag) = &wish.what {
            naming::tag(tag, 1024)?;
        }
        let mut widths = Template::widths(wish).into_iter();
        let asked = widths.find_map(|wish| {
            let request = self.request(item(&wish).0)?;
            Some(if request.soft { wish } else { naming::hard(&wish) })
        });
        asked.ok_or_else(|| "there is no request for this, nor for anything wider".to_owned())
    }

    fn calls(&self, wishes: &[Wish], id: &str, _now: SystemTime) -> Vec<Call> {
        let widened: Vec<Option<Wish>> = wishes.iter().map(|wish| self.widen(wish).ok()).collect();
        let class = |place: usize, _: &Wish| {
            let wish = widened[place].as_ref()?;
            let (kind, text) = item(wish);
            let request = self.request(kind)?;
            // Wherever it stands: each byte may take three in an address, and two and a pair of quotes in JSON.
            let bytes = 3 * (text.len() + request.between.len()) + 2;
            Some(((kind, wish.mode), bytes))
        };
        let room = |(kind, _)| {
            let request = self.request(kind);
            match (kind, request) {
                (Kind::Everything, _) | (_, None) => Room { most: usize::MAX, bytes: usize::MAX },
                (_, Some(request)) => {
                    let in_head = request.url.contains("{items}")
                        || request.headers.values().any(|value| value.contains("{items}"));
                    let bytes = if in_head { MOST_URL_BYTES } else { MOST_BYTES / 2 };
                    Room { most: request.most, bytes }
                }
            }
        };
        let batches = batches(wishes, class, room).into_iter();
        let calls = batches.filter_map(|((kind, mode), places)| {
            let request = self.request(kind)?;
            let items: Vec<String> = match kind {
                Kind::Everything => Vec::new(),
                _ => places
                    .iter()
                    .filter_map(|&place| widened[place].as_ref().map(|wish| item(wish).1))
                    .collect(),
            };
            // No two calls have the same: who takes it for the name of a request would do the first of them alone.
            let id = format!("{id}-{}", short(&format!("{kind:?} {items:?}")));
            let mut call = request.made(&items, self.secret.as_ref(), (&id, mode), places);
            // By whose table its answer is read.
            call.head.extensions.insert(kind);
            Some(call)
        });
        calls.collect()
    }

    /// Where a request carries {id}.
    fn knows_calls_again(&self) -> bool {
        self.requests().any(|request| {
            let mut texts = request.headers.values().chain([&request.url, &request.body]);
            texts.any(|text| text.contains("{id}"))
        })
    }

    fn said(&self, call: &Call, answer: &Answer, now: SystemTime) -> Said {
        let status = answer.head.status.as_u16();
        let request = call.head.extensions.get().and_then(|kind| self.request(*kind));
        match request.is_some_and(|request| request.is_done(status)) {
            true => Said::Done { id: None },
            // It may be another step of the same, and whoever wrote the table knows best.
            false if answer.head.status.is_success() => {
                Said::Refused { why: format!("{}, which \"done\" does not name", why(answer)) }
            }
            false => failed(answer, now),
        }
    }

    fn probes(&self, _now: SystemTime) -> Vec<Call> {
        Vec::new()
    }
}
