//! Explain: the rules that hold for a URL, and where each of them was said.

use std::fmt::Write;

use http::{HeaderMap, Method, Uri, header};
use larder::http::policy::key::RequestKey;
use serde_json::Value;

use crate::routes::Ambiguous;

use super::{AuthorizationWord, document::Places, rules::Rules, schema, settings::Settings};

/// One screen about `uri`, which is a whole one.
pub fn explain(
    settings: &Settings,
    places: &Places,
    method: &Method,
    uri: &Uri,
    fields: &HeaderMap,
) -> String {
    let found = settings.ways.route(method, uri, fields);
    let (Ok(route), Ok(way)) = (found, settings.ways.way(method, uri, fields)) else {
        return format!("{method} {uri}\n  400: {}\n", Ambiguous);
    };
    let upstream = &settings.upstreams[way.upstream];
    let effective = match route {
        Some(route) => &settings.rules_of_routes[route],
        None => &settings.rules,
    };
    let own = route.map(|route| format!("route[{}]", route + 1));
    let mut told = vec![match route.map(|route| format!("route[{}]", route + 1)) {
        Some(route) => row("route", &route, from(places, &route)),
        None => row("route", "none fits", String::new()),
    }];
    let service = format!("{} ({})", upstream.name, upstream.shown());
    let of_upstream = said_at(places, own.as_deref(), "upstream");
    told.push(row("upstream", &service, of_upstream.unwrap_or_else(by_default)));
    if let Some(rewrite) = &way.rewrite {
        let there = rewrite.there(uri);
        let host = rewrite.host.as_ref().or(uri.authority()).map_or("", |host| host.as_str());
        let there = there.path_and_query().map_or("/", |target| target.as_str());
        told.push(row("asked as", &format!("{host}{there}"), String::new()));
    }
    let recipe = way.policy.query_recipe();
    let key = RequestKey::of_uri(&recipe.of_uri(uri).unwrap_or_else(|| uri.clone()));
    let passes = effective.authorization == Some(AuthorizationWord::Pass)
        && fields.contains_key(header::AUTHORIZATION);
    let is_kept = way.is_cached && !passes && matches!(*method, Method::GET | Method::HEAD);
    let key = key.filter(|_| is_kept);
    let key = key.map_or_else(|| "none: it passes".to_owned(), |key| key.to_string());
    told.push(row("key", &key, String::new()));
    for Row { name, value, place } in rows(effective, places, own.as_deref()) {
        told.push(row(&name, &value, place.unwrap_or_else(by_default)));
    }
    let mut text = format!("{method} {uri}\n");
    for [name, value, place] in told {
        let line = format!("  {name:<24}{value:<36}{place}");
        writeln!(text, "{}", line.trim_end()).expect("a text takes what is written");
    }
    text
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
            (Value::Null, Value::Null) => "not set".to_owned(),
            (Value::Null, value) | (value, _) => value.to_string(),
        };
        // Of a stream, what [defaults] say does not hold.
        let place = if value == "not set" { None } else { said_at(places, own, &name) };
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

fn by_default() -> String {
    "default".to_owned()
}

fn row(name: &str, value: &str, place: String) -> [String; 3] {
    [name.to_owned(), value.to_owned(), place]
}

/// Where this was said.
fn from(places: &Places, path: &str) -> String {
    places.of(path).map_or_else(by_default, super::mistake::Place::without_column)
}
