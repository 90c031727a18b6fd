//! Explain: the rules that hold for a URL, and where each of them was said.

use std::fmt::Write;

use http::{HeaderMap, Method, Uri};
use larder::http::policy::key::RequestKey;
use serde_json::Value;

use crate::routes::Ambiguous;

use super::{document::Places, rules::Rules, schema, settings::Settings};

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
    let built_in = Rules::built_in(effective.policy.unwrap_or_default());
    let of_stream = effective.stream == Some(true);
    let [effective, built_in] =
        [effective, &built_in].map(|rules| serde_json::to_value(rules).unwrap_or_default());
    let mut rows = vec![match route.map(|route| format!("route[{}]", route + 1)) {
        Some(route) => row("route", &route, from(places, &[&route])),
        None => row("route", "none fits", String::new()),
    }];
    let service = format!("{} ({})", upstream.name, upstream.shown());
    let of_route = route.map(|route| format!("route[{}].", route + 1)).unwrap_or_default();
    let said_at = |name: &str| {
        let paths = [format!("{of_route}{name}"), format!("defaults.{name}")];
        let own = if of_route.is_empty() { None } else { Some(paths[0].as_str()) };
        let own = own.into_iter().chain([paths[1].as_str()]).collect::<Vec<_>>();
        from(places, &own)
    };
    rows.push(row("upstream", &service, said_at("upstream")));
    if let Some(rewrite) = &way.rewrite {
        let there = rewrite.there(uri);
        let host = rewrite.host.as_ref().or(uri.authority()).map_or("", |host| host.as_str());
        let there = there.path_and_query().map_or("/", |target| target.as_str());
        rows.push(row("asked as", &format!("{host}{there}"), String::new()));
    }
    let recipe = way.policy.query_recipe();
    let key = RequestKey::of_uri(&recipe.of_uri(uri).unwrap_or_else(|| uri.clone()));
    let key = key.filter(|_| way.is_cached && matches!(*method, Method::GET | Method::HEAD));
    let key = key.map_or_else(|| "none: it passes".to_owned(), |key| key.to_string());
    rows.push(row("key", &key, String::new()));
    let names = schema::keys().into_iter().filter(|key| key.table == "[defaults]");
    for name in names.map(|key| key.name).filter(|name| name != "upstream") {
        if name == "cache" && of_stream {
            rows.push(row(&name, "false", said_at("stream")));
            continue;
        }
        let value = match (&effective[&name], &built_in[&name]) {
            (Value::Null, Value::Null) => "not set".to_owned(),
            (Value::Null, value) | (value, _) => value.to_string(),
        };
        // Of a stream, what [defaults] say does not hold.
        let place = if value == "not set" { from(places, &[]) } else { said_at(&name) };
        rows.push(row(&name, &value, place));
    }
    let mut text = format!("{method} {uri}\n");
    for [name, value, place] in rows {
        let line = format!("  {name:<24}{value:<36}{place}");
        writeln!(text, "{}", line.trim_end()).expect("a text takes what is written");
    }
    text
}

fn row(name: &str, value: &str, place: String) -> [String; 3] {
    [name.to_owned(), value.to_owned(), place]
}

/// The first of these that was said, and where.
fn from(places: &Places, paths: &[&str]) -> String {
    let place = paths.iter().find_map(|path| places.of(path));
    place.map_or_else(|| "default".to_owned(), super::mistake::Place::without_column)
}
