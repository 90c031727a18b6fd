//! Explain: the rules that hold for a URL, and where each of them was said.

use std::fmt;

use http::{HeaderMap, Method, Uri, header};
use larder::http::policy::{key::RequestKey, uri::has_dot_segments};
use serde::Serialize;
use serde_json::Value;

use super::{
    AuthorizationWord,
    document::Places,
    rules::Rules,
    schema,
    settings::{Listener, Named, Settings},
};
use crate::{
    downstream::{ListenAddress, http1::target::cannot_be_asked_for},
    routes::Way,
};

/// What holds for one request. As a text it is one screen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The method that is asked with.
    pub method: String,
    /// The URL that is asked for.
    pub url: String,
    /// What is answered before any route is looked for, if something is.
    pub refused: Option<String>,
    /// The way of the request, and each rule that holds for it.
    pub rules: Vec<Told>,
}

/// One thing that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The rule's key, or what it is: `route`, `key`.
    pub name: String,
    /// As it holds: JSON where it is a rule that has a value.
    pub value: String,
    /// The lines that say it, as `larder.toml:9`. None: it is so by default, or follows from the URL alone.
    pub places: Vec<String>,
    /// Whether it is so because nothing else is said.
    pub is_default: bool,
}

/// What holds for a request of `uri`, which is a whole one.
pub fn explain(
    settings: &Settings,
    places: &Places,
    method: &Method,
    uri: &Uri,
    fields: &HeaderMap,
) -> Explained {
    let (url, method_name) = (uri.to_string(), method.to_string());
    let explained = |refused, rules| Explained { method: method_name, url, refused, rules };
    if let Some(why) = cannot_be_asked_for(uri) {
        return explained(Some(format!("400: {why}")), Vec::new());
    }
    let mut told = before_routes(settings, places, method, uri);
    let found = settings.ways.route(method, uri, fields);
    let way = settings.ways.way(method, uri, fields);
    let (route, way) = match (found, way) {
        (Ok(route), Ok(way)) => (route, way),
        (Err(ambiguous), _) | (_, Err(ambiguous)) => {
            return explained(Some(format!("400: {ambiguous}")), told);
        }
    };
    let effective = match route {
        Some(route) => &settings.rules_of_routes[route],
        None => &settings.rules,
    };
    let own = route.map(|route| format!("route[{}]", route + 1));
    let own = own.as_deref();
    let upstream = &settings.upstreams[way.upstream];
    told.push(match own {
        Some(own) => Told::said("route", own, places_of(places, &[own])),
        None => Told::said("route", "none fits", Vec::new()),
    });
    let service = format!("{} ({})", upstream.name, upstream.shown());
    told.push(Told::or_default("upstream", service, said_at(places, own, "upstream")));
    told.extend(asked_as(places, own, way, uri));
    told.push(key(places, own, (way, effective), (method, uri, fields)));
    told.extend(rows(effective, places, own).into_iter().map(Told::from));
    times_of_service(&mut told, places, upstream, effective.stream == Some(true));
    explained(None, told)
}

/// What is decided where the request comes, before its route is looked for.
fn before_routes(settings: &Settings, places: &Places, method: &Method, uri: &Uri) -> Vec<Told> {
    let mut told = Vec::new();
    if let Some(Listener { name, path, listen, rules, .. }) = listener_of(settings, uri) {
        let value = format!("{name} ({listen})");
        let place = places_of(places, &[&format!("{path}.listen")]);
        told.push(Told { is_default: place.is_empty(), ..Told::said("listener", value, place) });
        if let Some(port) = rules.redirect_to_https
            && uri.scheme_str() == Some("http")
        {
            let value = format!("308 to https at port {port}: nothing below is looked at");
            let place = places_of(places, &[&format!("{path}.redirect_to_https")]);
            told.push(Told::said("answered", value, place));
        }
    }
    let purge = settings.gateway.purge.as_ref().filter(|purge| purge.takes(method));
    if purge.is_some() {
        let value = "as a purge: nothing below is looked at";
        told.push(Told::said("answered", value, places_of(places, &["purge"])));
    }
    told
}

/// The listener that such a request comes to, as far as its URL tells: the one at its port, else the only one that speaks so.
fn listener_of<'a>(settings: &'a Settings, uri: &Uri) -> Option<&'a Listener> {
    let is_https = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    let all = || settings.listeners.iter();
    let speaks = |listener: &&Listener| listener.config.tls.is_some() == is_https;
    let is_there = |listener: &&Listener| match &listener.listen {
        ListenAddress::Tcp(address) => address.port() == port,
        ListenAddress::Unix(_) => false,
    };
    let only = || {
        let mut all = all().filter(speaks);
        all.next().filter(|_| all.next().is_none())
    };
    all().filter(speaks).find(is_there).or_else(only)
}

/// What the service is asked for, where that is something else.
fn asked_as(places: &Places, own: Option<&str>, way: &Way, uri: &Uri) -> Option<Told> {
    let rewrite = way.rewrite.as_ref()?;
    let there = rewrite.there(uri);
    let host = rewrite.host.as_ref().or(uri.authority()).map_or("", |host| host.as_str());
    let there = there.path_and_query().map_or("/", |target| target.as_str());
    let keys = ["strip_prefix", "add_prefix", "upstream_host"];
    let paths = keys.map(|key| format!("{}.{key}", own.unwrap_or("defaults")));
    let place = places_of(places, &paths.each_ref().map(String::as_str));
    Some(Told::said("asked as", format!("{host}{there}"), place))
}

/// What its answer is stored under, and by which lines.
fn key(
    places: &Places,
    own: Option<&str>,
    (way, effective): (&Way, &Rules),
    (method, uri, fields): (&Method, &Uri, &HeaderMap),
) -> Told {
    let said = |names: &[&str]| {
        let each = names.iter().filter_map(|name| said_at(places, own, name));
        each.collect::<Vec<_>>()
    };
    if !matches!(method.as_str(), "GET" | "HEAD" | "QUERY") {
        return Told::said("key", "none: it passes, by its method", Vec::new());
    }
    if !way.is_cached {
        return Told::said("key", "none: it passes", said(&["stream", "cache"]));
    }
    let passes_credentials = effective.authorization == Some(AuthorizationWord::Pass);
    if passes_credentials && fields.contains_key(header::AUTHORIZATION) {
        return Told::said("key", "none: it passes", said(&["authorization"]));
    }
    let recipe = way.policy.query_recipe();
    let by_recipe = recipe.of_uri(uri).unwrap_or_else(|| uri.clone());
    let key = RequestKey::of_uri(&by_recipe);
    match key {
        // As a service may read it, it is what is stored under another key.
        Some(key) if has_dot_segments(key.as_str()) => {
            Told::said("key", "none: it passes, by the dots in its path", Vec::new())
        }
        Some(key) => {
            // Of the content nothing is known here (RFC 10008).
            let more = if method.as_str() == "QUERY" { ", and what the content is" } else { "" };
            // The service is asked in that spelling, and need not take both for the same.
            let otherwise = match key.is_for_spelling(&by_recipe) {
                true => "",
                false => ", and is not stored there itself: its URL is written otherwise",
            };
            let value = format!("{key}{more}{otherwise}");
            Told::said("key", value, said(&["query_allow", "query_deny", "query_sort"]))
        }
        None => {
            Told::said("key", "none: it passes, by its length or what stands in it", Vec::new())
        }
    }
}

/// What the service says of times, where neither the route nor `[defaults]` do; and those that only it can say.
fn times_of_service(told: &mut Vec<Told>, places: &Places, upstream: &Named, is_stream: bool) {
    let config = &upstream.config;
    let shown = |time| format!("\"{}\"", humantime::format_duration(time));
    let time = |name: &str, value: String| {
        let place = places_of(places, &[&format!("upstream.{}.{name}", upstream.name)]);
        Told { is_default: place.is_empty(), ..Told::said(name, value, place) }
    };
    let whole = config.whole_timeout.map_or_else(|| NOT_SET.to_owned(), shown);
    for (name, value) in [
        ("first_byte_timeout", shown(config.first_byte_timeout)),
        ("idle_body_timeout", shown(config.idle_body_timeout)),
        ("whole_timeout", whole),
    ] {
        let row = told.iter_mut().find(|row| row.name == name && row.value == NOT_SET);
        // What is said to be a stream may take any time that is not said of itself.
        if let Some(row) = row.filter(|_| !is_stream) {
            *row = time(name, value);
        }
    }
    told.push(time("connect_timeout", shown(config.connect_timeout)));
    told.push(time("wait_timeout", shown(config.wait_timeout)));
}

const NOT_SET: &str = "not set";

impl Told {
    fn said(name: &str, value: impl Into<String>, places: Vec<String>) -> Told {
        Told { name: name.to_owned(), value: value.into(), places, is_default: false }
    }

    fn or_default(name: &str, value: impl Into<String>, place: Option<String>) -> Told {
        let is_default = place.is_none();
        Told { is_default, ..Told::said(name, value, place.into_iter().collect()) }
    }
}

impl From<Row> for Told {
    fn from(Row { name, value, place }: Row) -> Told {
        Told::or_default(&name, value, place)
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explained { method, url, refused, rules } = self;
        writeln!(f, "{method} {url}")?;
        for Told { name, value, places, is_default } in rules {
            let place = if *is_default { "default".to_owned() } else { places.join(", ") };
            // A long value still ends before its place.
            let line = format!("  {name:<24}{value:<34}  {place}");
            writeln!(f, "{}", line.trim_end())?;
        }
        match refused {
            Some(refused) => writeln!(f, "  {refused}"),
            None => Ok(()),
        }
    }
}

/// A rule as it holds.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) value: String,
    /// Where it was said. `None`: nowhere, it holds by default.
    pub(super) place: Option<String>,
}

/// All rules as they hold. `own`: the route's place in the file, if it is one.
pub(super) fn rows(effective: &Rules, places: &Places, own: Option<&str>) -> Vec<Row> {
    let built_in = Rules::built_in(effective.policy.unwrap_or_default());
    let of_stream = effective.stream == Some(true);
    let [effective, built_in] =
        [effective, &built_in].map(|rules| serde_json::to_value(rules).unwrap_or_default());
    let names = schema::keys().into_iter().filter(|key| key.table == "[defaults]");
    let names = names.map(|key| key.name).filter(|name| name != "upstream");
    let rows = names.map(|name| {
        if name == "cache" && of_stream {
            return Row { name, value: "false".to_owned(), place: said_at(places, own, "stream") };
        }
        let value = match (&effective[&name], &built_in[&name]) {
            (Value::Null, Value::Null) => NOT_SET.to_owned(),
            (Value::Null, value) | (value, _) => value.to_string(),
        };
        // Of a stream, what [defaults] say does not hold.
        let place = if value == NOT_SET { None } else { said_at(places, own, &name) };
        Row { name, value, place }
    });
    rows.collect()
}

/// Where a rule was said: for the route itself, or for all.
fn said_at(places: &Places, own: Option<&str>, name: &str) -> Option<String> {
    let paths = own.into_iter().chain(["defaults"]).map(|table| format!("{table}.{name}"));
    let place = { paths }.find_map(|path| places.of(&path).cloned());
    place.map(|place| place.without_column())
}

/// Where these keys were said, as far as they were.
fn places_of(places: &Places, paths: &[&str]) -> Vec<String> {
    let each = paths.iter().filter_map(|path| places.of(path));
    each.map(super::mistake::Place::without_column).collect()
}
