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
        config::explain(&settings, &places, &Method::GET, &url.parse().unwrap(), &HeaderMap::new())
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
