//! What is taken, and what becomes of it.

use std::time::Duration;

use http::Method;
use larder::http::{
    Policy,
    policy::{coding::Coding, compression::Compression},
};
use larder_gateway::{
    config::{self, EXAMPLE},
    gateway::UpgradeLimits,
    routes::Protocols,
    upstream::{Times, UpstreamConfig},
};

use crate::check;

const LEAST: &str = "[upstream.blog]\nurl = 8001\n";

#[test]
fn the_least_file_names_a_service_and_has_all_defaults() {
    let (settings, _) = check(LEAST).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
    assert_eq!((settings.admin, settings.threads, settings.max_connections), (None, None, None));
    assert_eq!(settings.memory.as_u64(), 256 << 20);
    assert_eq!(*settings.ways.otherwise().policy, Policy::guarded());
    assert_eq!(settings.upstreams[0].origin.to_string(), "http://127.0.0.1:8001");
    let (ours, usual) = (&settings.upstreams[0].config, UpstreamConfig::default());
    assert_eq!(format!("{ours:?}"), format!("{usual:?}"));
    let usual = larder_gateway::ServerConfig::default();
    let http1 = &settings.server.http1;
    assert_eq!(http1.head_timeout, usual.http1.head_timeout);
    assert_eq!(http1.min_rate, usual.http1.min_rate);
    assert_eq!(settings.server.grace, usual.grace);
}

#[test]
fn each_key_arrives_where_it_belongs() {
    let text = r#"
[server]
listen = "0.0.0.0:80"
threads = 3
max_connections = 1000
max_connections_per_address = 10
max_upgrades = 20
max_upgrades_per_client = 5
min_rate = "2KiB"
min_rate_period = "5s"
head_timeout = "1s"
idle_timeout = "2s"
body_timeout = "3s"
write_timeout = "4s"
grace = "5s"
max_head = "32KiB"
max_request_line = 4096
max_fields = 64
trusted_peers = ["192.0.2.1", "2001:db8::1"]
[server.tls]
handshake_timeout = "6s"
[admin]
listen = 9191
[memory]
size = "64MiB"
max_body = "1MiB"
[upstream.blog]
url = "http://blog.test"
connect_timeout = "1s"
first_byte_timeout = "2s"
idle_body_timeout = "3s"
whole_timeout = "1h"
wait_timeout = "4s"
max_waiting = 5
max_idle = 6
idle_timeout = "7s"
max_head = "8KiB"
max_fields = 9
[defaults]
policy = "standard"
ttl = "1m 30s"
key_fields = ["X-Tenant"]
compress = ["br", "gzip"]
compress_types = ["text/*", "*/*"]
compress_min = 100
compress_max = "2MiB"
first_byte_timeout = "5s"
idle_body_timeout = "6s"
whole_timeout = "7s"
upgrades = ["websocket", "SPDY/3.1"]
upgrade_idle_timeout = "8s"
"#;
    let (settings, _) = check(text).unwrap();
    let secs = Duration::from_secs;
    assert_eq!(settings.listen.to_string(), "0.0.0.0:80");
    assert_eq!(settings.threads.unwrap().get(), 3);
    assert_eq!(settings.max_connections.unwrap().get(), 1000);
    assert_eq!(settings.admin.unwrap().to_string(), "127.0.0.1:9191");
    assert_eq!(settings.memory.as_u64(), 64 << 20);
    assert_eq!(settings.cache.max_body_bytes, 1 << 20);
    assert_eq!(settings.gateway.trusted_peers.len(), 2);
    let server = &settings.server;
    assert_eq!(server.max_connections_per_address, Some(10));
    assert_eq!((server.grace, server.handshake_timeout), (secs(5), secs(6)));
    let http1 = &server.http1;
    assert_eq!((http1.min_rate.bytes_per_second, http1.min_rate.period), (2048, secs(5)));
    let times = [http1.head_timeout, http1.idle_timeout, http1.body_timeout, http1.write_timeout];
    assert_eq!(times, [1, 2, 3, 4].map(secs));
    let sizes = [http1.max_head_bytes, http1.max_request_line_bytes, http1.max_fields];
    assert_eq!(sizes, [32 << 10, 4096, 64]);
    let upstream = &settings.upstreams[0].config;
    let times = [
        upstream.connect_timeout,
        upstream.first_byte_timeout,
        upstream.idle_body_timeout,
        upstream.wait_timeout,
        upstream.idle_timeout,
        upstream.whole_timeout.unwrap(),
    ];
    assert_eq!(times, [1, 2, 3, 4, 7, 3600].map(secs));
    let counts =
        [upstream.max_waiting, upstream.max_idle, upstream.max_head_bytes, upstream.max_fields];
    assert_eq!(counts, [5, 6, 8 << 10, 9]);
    let compression = Compression::of([Coding::Br, Coding::Gzip]).types(["text/*", "*"]);
    let policy = Policy::standard()
        .default_ttl(secs(90))
        .key_fields(vec!["x-tenant".parse().unwrap()])
        .compress(compression.min_bytes(100).max_bytes(2 << 20));
    let way = settings.ways.otherwise();
    assert_eq!(*way.policy, policy);
    let limits = UpgradeLimits { max: 20, max_per_client: Some(5) };
    assert_eq!(settings.gateway.upgrades, limits);
    assert_eq!(way.protocols.allowed.to_vec(), ["websocket", "SPDY/3.1"]);
    assert_eq!(way.protocols.idle_timeout, secs(8));
    let times = Times {
        is_stream: false,
        first_byte: Some(secs(5)),
        idle_body: Some(secs(6)),
        whole: Some(secs(7)),
    };
    assert_eq!(way.times.as_deref(), Some(&times));
}

#[test]
fn a_stream_is_not_stored_and_is_waited_for_unless_a_time_is_said() {
    let text = format!(
        "{LEAST}[defaults]\nttl = \"1m\"\n[[route]]\npath = \"/events\"\nstream = true\n\
         [[route]]\npath = \"/poll\"\nstream = true\nfirst_byte_timeout = \"2m\"\n"
    );
    let (settings, _) = check(&text).unwrap();
    let way =
        |path: &str| settings.ways.way(&Method::GET, &format!("http://any{path}").parse().unwrap());
    let stream = Times { is_stream: true, ..Times::default() };
    assert_eq!((way("/events").is_cached, way("/events").times.as_deref()), (false, Some(&stream)));
    let poll = Times { first_byte: Some(Duration::from_secs(120)), ..stream };
    assert_eq!((way("/poll").is_cached, way("/poll").times.as_deref()), (false, Some(&poll)));
    let other = way("/");
    assert_eq!(
        (other.is_cached, &other.times, &other.protocols),
        (true, &None, &Protocols::default())
    );
}

#[test]
fn the_example_is_fine_and_has_no_doubts() {
    let (settings, _) = check(EXAMPLE).unwrap();
    assert!(settings.doubts.is_empty(), "{:?}", settings.doubts);
}

#[test]
fn what_is_commented_out_in_the_example_is_right_as_well() {
    let is_setting = |line: &&str| {
        let line = line.trim_start_matches("# ");
        line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
    };
    let all = EXAMPLE.lines().filter(is_setting).map(|line| line.trim_start_matches("# "));
    let text = all.collect::<Vec<_>>().join("\n");
    assert!(text.contains("cache = false") && text.contains("certificate"), "{text}");
    let (_, _, mistakes) = config::read_on("larder.toml".as_ref(), &text);
    assert!(mistakes.is_empty(), "{mistakes:?}\n{text}");
}

#[test]
fn a_route_takes_its_rules_from_itself_then_from_the_defaults_then_from_what_is_built_in() {
    let text = format!(
        "{LEAST}[upstream.files]\nurl = 8002\n[defaults]\nupstream = \"blog\"\nttl = \"5m\"\n\
         stale_if_error = \"1h\"\n[[route]]\npath = \"/static/**\"\nupstream = \"files\"\nttl = \"1h\"\n\
         [[route]]\npath = \"/me\"\ncache = false\n"
    );
    let (settings, _) = check(&text).unwrap();
    let uri = |path: &str| format!("http://any{path}").parse().unwrap();
    let way = settings.ways.way(&Method::GET, &uri("/static/a"));
    let secs = Duration::from_secs;
    let policy = Policy::guarded().default_ttl(secs(3600)).default_stale_if_error(secs(3600));
    assert_eq!(*way.policy, policy);
    assert_eq!(settings.upstreams[way.upstream].name, "files");
    let way = settings.ways.way(&Method::GET, &uri("/me"));
    assert_eq!((way.is_cached, way.upstream), (false, 0));
    let way = settings.ways.way(&Method::GET, &uri("/elsewhere"));
    let policy = Policy::guarded().default_ttl(secs(300)).default_stale_if_error(secs(3600));
    assert_eq!((&*way.policy, way.is_cached), (&policy, true));
}

#[test]
fn a_route_is_found_however_its_path_is_encoded() {
    let text =
        format!("{LEAST}[[route]]\nhost = \"Example.org\"\npath = \"/me/**\"\ncache = false\n");
    let (settings, _) = check(&text).unwrap();
    for (url, is_cached) in [
        ("http://example.org/me/1", false),
        ("http://EXAMPLE.org:8080/me/1", false),
        ("http://example.org./me/1", false),
        ("http://example.org/%6De/1", false),
        ("http://example.org/a/../me/1", false),
        ("http://example.org/me?x=/", false),
        ("http://example.org/a?/me/1", true),
        ("http://other.org/me/1", true),
    ] {
        let way = settings.ways.way(&Method::GET, &url.parse().unwrap());
        assert_eq!(way.is_cached, is_cached, "{url}");
    }
}

#[test]
fn a_route_that_is_never_found_is_named() {
    let text = format!(
        "{LEAST}[[route]]\npath = \"/a/**\"\n[[route]]\npath = \"/a/{{id}}\"\nttl = \"1m\"\n"
    );
    let (settings, _) = check(&text).unwrap();
    let said = settings.doubts[0].to_string();
    assert!(
        said.starts_with("larder.toml:5:1: this route is never found: route[1] (larder.toml:3:1)"),
        "{said}"
    );
}

#[test]
fn the_mark_that_some_editors_write_at_the_front_is_no_mistake() {
    assert!(check(&format!("\u{feff}{LEAST}")).is_ok());
}

#[test]
fn whatever_stands_in_a_file_nothing_panics() {
    // Each prefix of a whole file, as it lies on the disk while an editor writes it.
    for end in (0..=EXAMPLE.len()).filter(|end| EXAMPLE.is_char_boundary(*end)).step_by(7) {
        drop(check(&EXAMPLE[..end]));
    }
    for text in [
        "\u{0}",
        "=",
        "[",
        "[[",
        "[[route",
        "route = 1",
        "route = [1]",
        "upstream = []",
        "server = \"x\"",
    ] {
        drop(check(text));
    }
}

#[test]
fn whatever_number_stands_behind_a_key_nothing_panics() {
    let values = [
        "0",
        "1",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "1e308",
        "nan",
        "-inf",
        "true",
        "[]",
        "{}",
        "\"\"",
        "\"0\"",
        "\"0s\"",
        "\"1ns\"",
        "\"500years\"",
        "\"18446744073709551615s\"",
        "\"15EiB\"",
        "\"-1s\"",
        "[\"\"]",
        "[1]",
    ];
    for key in config::keys() {
        for value in values {
            let line = format!("{} = {value}\n", key.name);
            let text = match key.table.as_str() {
                "[upstream.NAME]" if key.name == "url" => format!("[upstream.blog]\n{line}"),
                "[upstream.NAME]" => format!("{LEAST}{line}"),
                table => format!("{LEAST}{table}\n{line}"),
            };
            // Taken or refused; where it is refused, at its line or for what it leaves out.
            if let Err(mistakes) = check(&text) {
                assert!(mistakes.iter().count() > 0, "{text}");
            }
        }
    }
}
