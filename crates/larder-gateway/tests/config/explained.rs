//! What is explained is what holds.

use http::{HeaderMap, Method};
use larder_gateway::config;

use crate::check;

#[test]
fn each_rule_is_told_with_the_line_it_comes_from() {
    let text = "[upstream.blog]\nurl = 8001\n[defaults]\nttl = \"5m\"\nstale_if_error = \"1h\"\n\n\
                [[route]]\npath = \"/posts/{id}\"\nttl = \"1m\"\nignore_cookies = [\"theme\"]\n\
                [[route]]\npath = \"/events\"\nstream = true\n";
    let (settings, places) = check(text).unwrap();
    let explain = |url: &str| {
        let (method, url) = (Method::GET, url.parse().unwrap());
        config::explain(&settings, &places, &method, &url, &HeaderMap::new()).to_string()
    };
    let row = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    let post = explain("http://localhost/posts/1");
    assert_eq!(row(&post, "route "), "route route[1] larder.toml:7");
    assert_eq!(row(&post, "upstream "), "upstream blog (http://127.0.0.1:8001) default");
    assert_eq!(row(&post, "ttl "), "ttl \"1m\" larder.toml:9");
    assert_eq!(row(&post, "stale_if_error "), "stale_if_error \"1h\" larder.toml:5");
    assert_eq!(row(&post, "ignore_cookies "), "ignore_cookies [\"theme\"] larder.toml:10");
    assert_eq!(row(&post, "policy "), "policy \"guarded\" default");
    assert_eq!(row(&post, "ttl_override "), "ttl_override not set default");
    assert_eq!(row(&post, "upgrades "), "upgrades [\"websocket\"] default");
    assert_eq!(row(&post, "upgrade_idle_timeout "), "upgrade_idle_timeout \"10m\" default");
    let events = explain("http://localhost/events");
    assert_eq!(row(&events, "stream "), "stream true larder.toml:13");
    assert_eq!(row(&events, "cache "), "cache false larder.toml:13");
    assert_eq!(row(&events, "first_byte_timeout "), "first_byte_timeout not set default");
    let other = explain("http://localhost/");
    assert_eq!(row(&other, "route "), "route none fits");
    assert_eq!(row(&other, "ttl "), "ttl \"5m\" larder.toml:4");
    assert_eq!(row(&other, "ignore_cookies "), "ignore_cookies [] default");
}

/// What is told of this, as it is told.
fn told(text: &str, method: &str, url: &str, name: &str) -> String {
    let (settings, places) = check(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let (method, url) = (method.parse().unwrap(), url.parse().unwrap());
    let told = config::explain(&settings, &places, &method, &url, &HeaderMap::new());
    let row = told.rules.iter().find(|row| row.name == name);
    row.map_or_else(String::new, |row| {
        let places = if row.is_default { "default".to_owned() } else { row.places.join(" ") };
        format!("{} | {places}", row.value)
    })
}

#[test]
fn what_follows_from_several_lines_is_told_with_each_of_them() {
    let text = "[upstream.app]\nurl = 8001\nconnect_timeout = \"2s\"\nfirst_byte_timeout = \"9s\"\n\
                [defaults]\nquery_deny = [\"tracking\"]\n\
                [[route]]\npath = \"/api/**\"\nstrip_prefix = \"/api\"\nupstream_host = \"inner.test\"\nquery_sort = true\n\
                whole_timeout = \"7s\"\n[[route]]\npath = \"/me\"\ncache = false\n[[route]]\npath = \"/events\"\nstream = true\n";
    let get = |url: &str, name: &str| told(text, "GET", url, name);
    let api = "http://a.test/api/x?b=1&utm_source=y&a=2";
    assert_eq!(
        get(api, "asked as"),
        "inner.test/x?b=1&utm_source=y&a=2 | larder.toml:9 larder.toml:10"
    );
    assert_eq!(get(api, "key"), "http://a.test/api/x?a=2&b=1 | larder.toml:6 larder.toml:11");
    assert_eq!(get("http://a.test/x", "key"), "http://a.test/x | larder.toml:6");
    assert_eq!(get("http://a.test/me", "key"), "none: it passes | larder.toml:15");
    assert_eq!(get("http://a.test/events", "key"), "none: it passes | larder.toml:18");
    assert_eq!(told(text, "POST", "http://a.test/x", "key"), "none: it passes, by its method | ");
    for dots in ["http://a.test/x/../y", "http://a.test/x/%2e", "http://a.test/."] {
        assert_eq!(get(dots, "key"), "none: it passes, by the dots in its path | ", "{dots}");
    }
    assert!(get("http://a.test/x?/../y", "key").starts_with("http://a.test/x?/../y"));
    for otherwise in
        ["http://A.test/x", "http://a.test:80/x", "http://a.test./x", "http://a.test/%78"]
    {
        let key = get(otherwise, "key");
        assert!(key.starts_with("http://a.test/x, and is not stored there itself"), "{key}");
    }
    assert_eq!(get("http://a.test/%c3%bc", "key"), "http://a.test/%C3%BC | larder.toml:6");
    let long = format!("http://a.test/{}", "x".repeat(9000));
    assert!(get(&long, "key").starts_with("none: it passes, by its length"));
    // It is kept like a GET, by what it brings with it.
    let query = told(text, "QUERY", "http://a.test/x", "key");
    assert_eq!(query, get("http://a.test/x", "key").replace(" |", ", and what the content is |"));
    // The service's own times hold where nothing else is said.
    assert_eq!(get(api, "first_byte_timeout"), "\"9s\" | larder.toml:4");
    assert_eq!(get(api, "connect_timeout"), "\"2s\" | larder.toml:3");
    assert_eq!(get(api, "whole_timeout"), "\"7s\" | larder.toml:12");
    assert_eq!(get("http://a.test/x", "whole_timeout"), "not set | default");
    assert_eq!(get("http://a.test/events", "first_byte_timeout"), "not set | default");
}

#[test]
fn what_is_decided_where_a_request_comes_is_told_first() {
    let text = "[upstream.app]\nurl = 8001\n[purge]\nallow = [\"127.0.0.1\"]\n\
                [[listener]]\nname = \"open\"\nlisten = \"0.0.0.0:80\"\nredirect_to_https = 443\n\
                [[listener]]\nname = \"inside\"\nlisten = 8081\n";
    let get = |url: &str, name: &str| told(text, "GET", url, name);
    assert_eq!(get("http://a.test/", "listener"), "open (0.0.0.0:80) | larder.toml:7");
    assert_eq!(
        get("http://a.test/", "answered"),
        "308 to https at port 443: nothing below is looked at | larder.toml:8"
    );
    assert_eq!(get("http://a.test:8081/", "listener"), "inside (127.0.0.1:8081) | larder.toml:11");
    assert_eq!(get("http://a.test:8081/", "answered"), "");
    // Where TLS ends before it, nothing tells by which listener it comes.
    assert_eq!(get("https://a.test/", "listener"), "");
    let purge = "as a purge: nothing below is looked at | larder.toml:3";
    assert_eq!(told(text, "PURGE", "http://a.test:8081/", "answered"), purge);
    let without = "[upstream.app]\nurl = 8001\n";
    assert_eq!(
        told(without, "GET", "http://a.test/", "listener"),
        "server (127.0.0.1:8080) | default"
    );
    assert_eq!(told(without, "PURGE", "http://a.test/", "answered"), "");
}

#[test]
fn what_nobody_can_ask_for_is_refused_as_it_is_when_it_comes() {
    let (settings, places) = check("[upstream.a]\nurl = 1\n").unwrap();
    for (url, words) in [
        ("http://u:p@a.test/x", "400: the host comes with user information"),
        ("http://a.test:99999/x", "400: Host is not a host and a port"),
        ("ftp://a.test/x", "400: the target's scheme is neither http nor https"),
    ] {
        let url = url.parse().unwrap();
        let told = config::explain(&settings, &places, &Method::GET, &url, &HeaderMap::new());
        assert_eq!(told.refused.as_deref(), Some(words));
    }
}
