//! What is taken, and what becomes of it.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use larder::{
    Mode,
    http::{
        Policy,
        policy::{
            answer_fields::AnswerFields,
            coding::Coding,
            compression::Compression,
            forward::ForwardedFields,
            outgoing::{ControlField, Outgoing},
            path::PathPattern,
            path_tags::PathTags,
            query::QueryRecipe,
            tags_out::TagField,
        },
    },
};
use larder_gateway::{
    config::{self, EXAMPLE},
    downstream::PeerAddress,
    gateway::UpgradeLimits,
    origins::{
        Address, Balance, BreakerConfig, Cause, HealthConfig, OriginsConfig, RetryConfig, RetryOn,
    },
    routes::Protocols,
    upstream::{Protocol, Times, UpstreamConfig},
};

use larder_test_support::certificate::Certificate;

use crate::{check, header};

const LEAST: &str = "[upstream.blog]\nurl = 8001\n";

#[test]
fn the_least_file_names_a_service_and_has_all_defaults() {
    let (settings, _) = check(LEAST).unwrap();
    assert_eq!(settings.listeners[0].listen.to_string(), "127.0.0.1:8080");
    assert_eq!((settings.admin, settings.threads, settings.max_connections), (None, None, None));
    assert!(!settings.admin_access.stage, "nobody wants that unasked");
    assert_eq!(settings.memory.as_u64(), 256 << 20);
    assert!(settings.process_memory.is_none());
    assert!(settings.ways.otherwise().for_strangers.is_none());
    assert_eq!(*settings.ways.otherwise().policy, Policy::guarded());
    assert_eq!(settings.upstreams[0].addresses[0].origin.to_string(), "http://127.0.0.1:8001");
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
name = "edge-1"
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
drain = "5s"
drain_delay = "11s"
upgrade_timeout = "12s"
max_head = "32KiB"
max_request_line = 4096
max_fields = 64
max_request_body = 0
requests_per_address = 7
max_streams = 8
max_requests_per_connection = 9
max_connection_age = "1h"
stalled_timeout = "7s"
half_closed_timeout = "8s"
linger_timeout = "9s"
backlog = 10
trusted_peers = ["192.0.2.1", "2001:db8::/32", "unix"]
forwarded = "forwarded"
trusted_readers = ["198.51.100.0/24"]
[server.tls]
handshake_timeout = "6s"
max_handshakes = 7
[admin]
listen = 9191
stage = true
[memory]
size = "64MiB"
max_body = "1MiB"
process = "1GiB"
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
protocol = "http2"
host = "inner.test:81"
resolve_every = "8s"
max_connections = 10
max_streams = 11
max_requests_per_connection = 12
stream_window = "64KiB"
ping_every = "9s"
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
    assert_eq!(settings.listeners[0].listen.to_string(), "0.0.0.0:80");
    assert_eq!(settings.threads.unwrap().get(), 3);
    assert_eq!(settings.max_connections.unwrap().get(), 1000);
    assert_eq!(settings.admin.unwrap().to_string(), "127.0.0.1:9191");
    assert!(settings.admin_access.stage);
    assert_eq!(settings.memory.as_u64(), 64 << 20);
    assert_eq!(settings.cache.max_body_bytes, 1 << 20);
    assert_eq!(settings.process_memory.unwrap().as_u64(), 1 << 30);
    let is_trusted = |ip: &str| settings.gateway.trusted_readers.contains(ip.parse().unwrap());
    assert_eq!(["198.51.100.9", "192.0.2.1"].map(is_trusted), [true, false]);
    let way = settings.ways.otherwise();
    assert_eq!(
        *way.for_strangers.clone().unwrap(),
        way.policy.as_ref().clone().obeys_readers(false)
    );
    let rules = &settings.gateway.listeners[0];
    let trusts = |ip: &str| rules.trusted_peers.contains(ip.parse().unwrap());
    assert_eq!(["192.0.2.1", "192.0.2.2", "2001:db8::9"].map(trusts), [true, false, true]);
    assert!(rules.trusted_peers.trusts(PeerAddress::Unix));
    assert_eq!(rules.forwarded, ForwardedFields::Forwarded);
    let server = &settings.server;
    assert_eq!(server.max_connections_per_address, Some(10));
    assert_eq!((server.grace, server.handshake_timeout), (secs(5), secs(6)));
    let running = settings.running;
    assert_eq!((running.drain_delay, running.upgrade_timeout), (secs(11), secs(12)));
    assert_eq!(server.max_handshakes, 7);
    let http1 = &server.http1;
    assert_eq!((http1.min_rate.bytes_per_second, http1.min_rate.period), (2048, secs(5)));
    let times = [http1.head_timeout, http1.idle_timeout, http1.body_timeout, http1.write_timeout];
    assert_eq!(times, [1, 2, 3, 4].map(secs));
    assert_eq!((way.max_request_body, http1.max_streams), (Some(0), 8));
    assert_eq!(http1.max_request_body, None, "its route may take more");
    assert_eq!(http1.max_requests_per_connection, Some(9));
    assert_eq!((http1.max_connection_age, server.backlog), (Some(secs(3600)), 10));
    let rate = larder_gateway::RateLimit { per_second: 7, burst: 7 };
    assert_eq!(settings.gateway.rate, Some(rate));
    let times = [http1.stalled_timeout, http1.half_closed_timeout, http1.linger_timeout];
    assert_eq!(times, [7, 8, 9].map(secs));
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
    assert_eq!(upstream.protocol, Protocol::Http2);
    assert_eq!(upstream.host.as_ref().unwrap(), "inner.test:81");
    assert_eq!((upstream.resolve_every, upstream.ping_every), (secs(8), secs(9)));
    let counts =
        [upstream.max_connections, upstream.max_streams, upstream.max_requests_per_connection];
    assert_eq!((counts, upstream.stream_window_bytes), ([10, 11, 12], 64 << 10));
    assert_eq!(settings.gateway.name.as_str(), "edge-1");
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
    let way = |path: &str| {
        let uri = format!("http://any{path}").parse().unwrap();
        settings.ways.way(&Method::GET, &uri, &HeaderMap::new()).unwrap()
    };
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
fn what_is_said_of_several_addresses_arrives_where_it_belongs() {
    let text = r#"
[upstream.blog]
balance = "round-robin"
slow_start = "3s"
max_connections = 300
[[upstream.blog.server]]
url = 8001
weight = 3
max_connections = 7
[[upstream.blog.server]]
url = 8002
backup = true
[upstream.blog.retry]
on = ["timeout", "503"]
attempts = 2
percent = 20
per_second = 0
[upstream.blog.breaker]
failures = 7
back_off = "2s"
max_back_off = "4s"
[upstream.blog.health]
path = "/health?deep=1"
host = "blog.test:80"
every = "9s"
timeout = "1s"
expect = [200, 204]
healthy_after = 4
unhealthy_after = 6
"#;
    let (settings, _) = check(text).unwrap();
    let named = &settings.upstreams[0];
    let (secs, origin) = (Duration::from_secs, |port| format!("http://127.0.0.1:{port}").parse());
    let first =
        Address { weight: 3, max_connections: Some(7), ..Address::new(origin(8001).unwrap()) };
    let second = Address { is_backup: true, ..Address::new(origin(8002).unwrap()) };
    assert_eq!(named.addresses, [first, second]);
    assert_eq!(named.shown(), "http://127.0.0.1:8001, weight 3; http://127.0.0.1:8002, backup");
    assert_eq!(named.config.max_connections, 300);
    let health = HealthConfig {
        host: Some("blog.test:80".parse().unwrap()),
        every: secs(9),
        timeout: secs(1),
        expect: vec![StatusCode::OK, StatusCode::NO_CONTENT],
        healthy_after: 4,
        unhealthy_after: 6,
        ..HealthConfig::new("/health?deep=1".parse().unwrap())
    };
    let origins = OriginsConfig {
        balance: Balance::RoundRobin,
        breaker: BreakerConfig { failures: 7, back_off: secs(2), max_back_off: secs(4) },
        retry: RetryConfig {
            on: RetryOn::default().with(Cause::Timeout).with(Cause::Unavailable),
            attempts: 2,
            percent: 20,
            per_second: 0,
        },
        slow_start: secs(3),
        health: Some(health),
        page: None,
    };
    assert_eq!(named.origins, origins);
    assert!(settings.doubts.is_empty(), "{:?}", settings.doubts);
}

#[test]
fn what_says_nothing_of_one_address_is_doubted() {
    let text = format!(
        "{LEAST}balance = \"round-robin\"\n[upstream.blog.retry]\nattempts = 2\n[upstream.blog.health]\nevery = \"1s\"\n"
    );
    let (settings, _) = check(&text).unwrap();
    let doubts: Vec<_> = settings.doubts.iter().map(ToString::to_string).collect();
    // A request may be sent to the same address once more.
    let [balance, health] = doubts.as_slice() else { panic!("{doubts:?}") };
    assert!(balance.starts_with("larder.toml:3:1: balance changes nothing"), "{balance}");
    assert!(health.contains("nothing is asked without a path"), "{health}");
}

#[test]
fn each_listener_has_what_it_says_and_else_what_the_server_says() {
    let text = format!(
        "{LEAST}[server]\nlisten = 8080\ntrusted_peers = [\"10.0.0.0/8\"]\nforwarded = \"forwarded\"\n\
         redirect_to_https = 443\nmax_fields = 9\n\
         [[listener]]\nlisten = \"unix:/run/larder.sock\"\nsocket_mode = \"0600\"\ntrusted_peers = [\"unix\"]\n\
         [[listener]]\nname = \"balanced\"\nlisten = \"0.0.0.0:443\"\nproxy_protocol = true\n"
    );
    let (settings, _) = check(&text).unwrap();
    let listeners = &settings.listeners;
    let names: Vec<_> =
        listeners.iter().map(|one| format!("{} {}", one.name, one.listen)).collect();
    assert_eq!(names, ["server 127.0.0.1:8080", "1 unix:/run/larder.sock", "balanced 0.0.0.0:443"]);
    assert_eq!(listeners[1].socket_mode, 0o600);
    let ports: Vec<_> = listeners.iter().map(|one| one.rules.redirect_to_https).collect();
    assert_eq!(ports, [443.try_into().ok(), None, None]);
    let forwarded: Vec<_> = listeners.iter().map(|one| one.rules.forwarded).collect();
    assert_eq!(forwarded, [ForwardedFields::Forwarded; 3]);
    let trusts = |ip: [u8; 4]| {
        listeners
            .iter()
            .map(move |one| one.rules.trusted_peers.contains(ip.into()))
            .collect::<Vec<_>>()
    };
    assert_eq!(trusts([10, 1, 2, 3]), [true, false, true]);
    assert_eq!(
        listeners.iter().map(|one| one.config.proxy.is_some()).collect::<Vec<_>>(),
        [false, false, true]
    );
    assert!(listeners.iter().all(|one| one.config.http1.max_fields == 9));
    let rules: Vec<_> = listeners.iter().map(|one| one.rules.clone()).collect();
    assert_eq!(settings.gateway.listeners, rules, "in the order of the server's listeners");
    // Beside others, [server] listens only where it says so.
    let (settings, _) = check(&format!("{LEAST}[[listener]]\nlisten = 1\n")).unwrap();
    assert_eq!(settings.listeners.len(), 1);
}

#[test]
fn each_listener_bounds_its_own_connections_and_else_as_the_server_does() {
    let own = "min_rate = 2048\nmin_rate_period = \"2s\"\nhead_timeout = \"3s\"\nidle_timeout = \"4s\"\n\
               body_timeout = \"5s\"\nwrite_timeout = \"6s\"\nstalled_timeout = \"7s\"\nhalf_closed_timeout = \"8s\"\n\
               linger_timeout = \"9s\"\nmax_head = \"8KiB\"\nmax_request_line = 1024\nmax_fields = 10\n\
               max_request_body = 11\nmax_streams = 12\nmax_requests_per_connection = 13\n\
               max_connection_age = \"14s\"\nrequests_per_address = 15\nrequests_burst = 16\n";
    let of_all = "head_timeout = \"1m\"\nmax_request_line = \"12KiB\"\nmax_request_body = 1000\nrequests_per_address = 1\n";
    let text = format!(
        "{LEAST}[server]\n{of_all}[[listener]]\nlisten = 1\n{own}\
         [[listener]]\nlisten = 2\nmax_head = \"4KiB\"\n"
    );
    let (settings, _) = check(&text).unwrap();
    let [own, few] = &settings.listeners[..] else { panic!("two") };
    let secs = Duration::from_secs;
    let http1 = &own.config.http1;
    assert_eq!((http1.min_rate.bytes_per_second, http1.min_rate.period), (2048, secs(2)));
    let times = [
        http1.head_timeout,
        http1.idle_timeout,
        http1.body_timeout,
        http1.write_timeout,
        http1.stalled_timeout,
        http1.half_closed_timeout,
        http1.linger_timeout,
        http1.max_connection_age.unwrap(),
    ];
    assert_eq!(times, [3, 4, 5, 6, 7, 8, 9, 14].map(secs));
    let sizes = [http1.max_head_bytes, http1.max_request_line_bytes, http1.max_fields];
    assert_eq!(sizes, [8192, 1024, 10]);
    assert_eq!((own.rules.max_request_body, http1.max_streams), (Some(11), 12));
    assert_eq!(http1.max_requests_per_connection, Some(13));
    assert_eq!(own.rules.rate, Some(larder_gateway::RateLimit { per_second: 15, burst: 16 }));
    let http1 = &few.config.http1;
    // What `[server]` says of contents each route has.
    assert_eq!((http1.head_timeout, few.rules.max_request_body), (secs(60), None));
    assert_eq!((http1.max_head_bytes, http1.max_request_line_bytes), (4096, 4096), "it fits");
    assert_eq!(few.rules.rate, None, "it counts with all");
    assert_eq!(settings.gateway.rate, Some(larder_gateway::RateLimit { per_second: 1, burst: 1 }));
}

#[test]
fn nobody_may_purge_where_requests_come_until_that_is_said() {
    let (settings, _) = check(LEAST).unwrap();
    assert_eq!(settings.gateway.purge, None);
    let (settings, _) = check(&format!(
        "{LEAST}[purge]\nallow = [\"192.0.2.7\", \"10.0.0.0/8\"]\nmode = \"hard\"\nrate = 7\n"
    ))
    .unwrap();
    let purge = settings.gateway.purge.unwrap();
    let allow = purge.allow.unwrap();
    let allows = |ip: [u8; 4]| allow.contains(ip.into());
    assert_eq!([[192, 0, 2, 7], [192, 0, 2, 8], [10, 1, 2, 3]].map(allows), [true, false, true]);
    assert_eq!((purge.token, purge.mode, purge.rate.get()), (None, Mode::Hard, 7));
    // What purges refresh at the admin API is said there as well.
    let said = "[purge]\nrefresh_queue = 7\nrefresh_at_once = 2\nrefresh_per_second = 3\n";
    let (settings, _) = check(&format!("{LEAST}{said}")).unwrap();
    let refresh = settings.gateway.refresh;
    let said = (refresh.queue, refresh.at_once.get(), refresh.per_second.get());
    assert_eq!((said, settings.doubts.len()), ((7, 2, 3), 0));
    // Half of it is probably not what was meant.
    let (settings, _) = check(&format!("{LEAST}[purge]\nmode = \"hard\"\n")).unwrap();
    assert_eq!((settings.gateway.purge, settings.doubts.len()), (None, 1));
}

#[test]
fn what_can_be_run_and_cannot_be_meant_is_doubted() {
    let folder = tempfile::tempdir().unwrap();
    let token = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        format!("{file:?}")
    };
    let (long, other, short) =
        (token("long", &"a".repeat(32)), token("other", &"b".repeat(32)), token("short", "x"));
    let route = |path: &str, prefix: &str| {
        format!("[[route]]\npath = \"{path}\"\nstrip_prefix = \"{prefix}\"\n")
    };
    let admin = |read: &str, write: &str| {
        format!("[admin]\nread_token_file = {read}\nwrite_token_file = {write}\n")
    };
    for (text, words) in [
        ("[purge]\n".to_owned(), Some("nobody may purge where requests come")),
        (format!("[purge]\ntoken_file = {long}\n"), None),
        (format!("[purge]\ntoken_file = {short}\n"), Some("fewer than 16 letters")),
        (format!("[server]\nexplain_token_file = {short}\n"), Some("fewer than 16 letters")),
        (admin(&long, &other), None),
        (admin(&long, &short), Some("fewer than 16 letters")),
        (admin(&long, &long), Some("are the same")),
        (route("/x/**", "/api"), Some("nothing to take off")),
        (route("/api", "/api/v1"), Some("nothing to take off")),
        (route("/apis/**", "/api"), Some("nothing to take off")),
        (route("/api/**", "/api"), None),
        (route("/api/v1/**", "/api"), None),
        (route("/api", "/api"), None),
        (route("/a*/b", "/api"), None),
        (route("/**", "/api"), None),
    ] {
        let (settings, _) = check(&format!("{LEAST}{text}")).unwrap();
        let doubts: Vec<_> = settings.doubts.iter().map(ToString::to_string).collect();
        assert_eq!(doubts.len(), usize::from(words.is_some()), "{text}: {doubts:?}");
        if let Some(words) = words {
            assert!(doubts[0].contains(words), "{text}: {doubts:?}");
        }
    }
}

#[test]
fn certificates_that_have_ended_or_are_for_others_are_doubted() {
    let ended = Certificate::ended(&["a.example"]);
    let good = Certificate::for_names(&["a.example", "*.b.example"]);
    let text = |certificate: &Certificate| {
        let [file, key] = [certificate.file(), certificate.key()];
        format!(
            "{LEAST}[server.tls]\ncertificate = {file:?}\nkey = {key:?}\n[[route]]\nhost = \"a.example\"\n\
             [[route]]\nhost = \"c.b.example\"\n[[route]]\nhost = \"other.example\"\n"
        )
    };
    let doubts = |text: &str| {
        let (settings, _) = check(text).unwrap();
        settings.doubts.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let said = doubts(&text(&good));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("no certificate is for other.example"), "{said:?}");
    let said = doubts(&text(&ended));
    assert!(said[0].contains("has ended, at 1975-01-01T00:00:00Z: renew it"), "{said:?}");
    // What is answered in the open needs none.
    let open = text(&good).replace("[server.tls]", "[server]\nlisten = 8443\n[server.tls]")
        + "[[listener]]\nlisten = 8081\n";
    assert_eq!(doubts(&open), [""; 0]);
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
    let none = HeaderMap::new();
    let way = settings.ways.way(&Method::GET, &uri("/static/a"), &none).unwrap();
    let secs = Duration::from_secs;
    let policy = Policy::guarded().default_ttl(secs(3600)).default_stale_if_error(secs(3600));
    assert_eq!(*way.policy, policy);
    assert_eq!(settings.upstreams[way.upstream].name, "files");
    let way = settings.ways.way(&Method::GET, &uri("/me"), &none).unwrap();
    assert_eq!((way.is_cached, way.upstream), (false, 0));
    let way = settings.ways.way(&Method::GET, &uri("/elsewhere"), &none).unwrap();
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
        let way =
            settings.ways.way(&Method::GET, &url.parse().unwrap(), &HeaderMap::new()).unwrap();
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
                "" => format!("{line}{LEAST}"),
                "[[upstream.NAME.server]]" => {
                    format!(
                        "[[upstream.blog.server]]\nurl = 8001\n[[upstream.blog.server]]\n{line}"
                    )
                }
                table => format!("{LEAST}{}\n{line}", header(&table.replace("NAME", "blog"))),
            };
            // Taken or refused; where it is refused, at its line or for what it leaves out.
            if let Err(mistakes) = check(&text) {
                assert!(mistakes.iter().count() > 0, "{text}");
            }
        }
    }
}

#[test]
fn an_origin_that_is_not_checked_is_doubted() {
    let text = "[upstream.blog]\nurl = \"https://blog.test\"\n[upstream.blog.tls]\n";
    let (settings, _) = check(&format!("{text}verify = false\n")).unwrap();
    assert!(settings.upstreams[0].config.tls.is_some());
    let doubts: Vec<_> = settings.doubts.iter().map(ToString::to_string).collect();
    assert_eq!(doubts.len(), 1, "{doubts:?}");
    assert!(doubts[0].contains("larder.toml:4:"), "{doubts:?}");
    assert!(doubts[0].contains("can read and change what passes"), "{doubts:?}");
}

#[test]
fn what_was_not_changed_is_the_same_upstream_and_what_was_is_another() {
    let read = |tls: &str| {
        let text =
            format!("[upstream.blog]\nurl = \"https://blog.test\"\n[upstream.blog.tls]\n{tls}");
        check(&text).unwrap().0.upstreams.remove(0)
    };
    let unchecked = "verify = false\n";
    assert_eq!(read(unchecked), read(unchecked));
    let named = "verify = false\nserver_name = \"a.test\"\n";
    assert_ne!(read(unchecked), read(named));
}

#[test]
fn each_rule_of_a_route_arrives_in_its_policy() {
    let text = format!(
        r#"{LEAST}[[route]]
path = "/posts/{{id}}"
header = {{ X-Beta = "1", X-Old = false }}
query = {{ preview = true }}
strip_prefix = "/posts"
add_prefix = "/p"
upstream_host = "inner.test"
min_ttl = "10s"
max_ttl = "1h"
ttl_by_status = {{ 404 = "10s", 5xx = "0s" }}
ttl_jitter = 0.1
soft_timeout = "500ms"
hard_timeout = "10s"
authorization = "pass"
key_cookies = ["lang"]
query_allow = ["page"]
query_deny = ["tracking"]
query_sort = true
tags = ["posts", "post:{{id}}"]
response_headers = {{ set = {{ X-Frame-Options = "DENY" }}, add = {{ Link = ["</a>", "</b>"] }}, remove = ["Server"] }}
max_body = "1MiB"
max_request_body = "2MiB"
max_memory = "64MiB"
max_fetches = 20
requests_per_address = 2
requests_burst = 5
cdn_cache_control = "max-age=3600, stale-if-error=60"
cdn_fields = ["CDN-Cache-Control", "Edge-Control"]
cdn_tags = ["Surrogate-Key", "CDN-Tag"]
etag = true
[[route]]
path_regex = "^/[0-9]+$"
cache = false
"#
    );
    let (settings, _) = check(&text).unwrap();
    let mut fields = HeaderMap::new();
    fields.insert("x-beta", "1".parse().unwrap());
    let way = settings
        .ways
        .way(&Method::GET, &"http://any/posts/7?preview=1".parse().unwrap(), &fields)
        .unwrap();
    let path = PathPattern::parse("/posts/{id}").unwrap();
    let said_in = [ControlField::CdnCacheControl, ControlField::EdgeControl];
    let outgoing =
        Outgoing::default().control("max-age=3600, stale-if-error=60", &said_in).unwrap();
    let frames = ("x-frame-options".parse().unwrap(), "DENY".parse().unwrap());
    let links = ["</a>", "</b>"].map(|link| ("link".parse().unwrap(), link.parse().unwrap()));
    let changed = AnswerFields::new(vec![frames], vec!["server".parse().unwrap()]).unwrap();
    let changed = changed.adding(links.to_vec()).unwrap();
    let secs = Duration::from_secs;
    let policy = Policy::guarded()
        .min_ttl(secs(10))
        .max_ttl(secs(3600))
        .ttl_by_status(vec![("404".parse().unwrap(), secs(10)), ("5xx".parse().unwrap(), secs(0))])
        .ttl_jitter(0.1)
        .soft_timeout(Duration::from_millis(500))
        .hard_timeout(secs(10))
        .passes_credentials(true)
        .key_cookies(vec!["lang".to_owned()])
        .query(
            QueryRecipe::default()
                .only(&["page"])
                .unwrap()
                .without(&["tracking"])
                .unwrap()
                .sorted(true),
        )
        .tags(PathTags::new(Some(path), &["posts", "post:{id}"]).unwrap())
        .answer_fields(changed)
        .outgoing(outgoing.tags(vec![TagField::SurrogateKey, TagField::CdnTag]))
        .own_tags(true)
        .max_body_bytes(1 << 20);
    // By what no URI says, its answers are told apart from others.
    let partition = r#"[("x-beta", Fits("1")), ("x-old", Absent)] [("preview", Present)]"#;
    assert_eq!(*way.policy, policy.partition(Some(partition.to_owned())));
    let rewrite = way.rewrite.as_ref().unwrap();
    assert_eq!((&*rewrite.strip, &*rewrite.add), ("/posts", "/p"));
    let limits = way.limits.as_ref().unwrap();
    assert_eq!((way.max_memory, way.max_request_body), (Some(64 << 20), Some(2 << 20)));
    assert_eq!(way.name.words, limits.route);
    assert!(way.name.line.as_ref().is_some_and(|line| line.starts_with("larder.toml:")));
    assert_eq!(limits.max_fetches, Some(20));
    assert_eq!(limits.rate, Some(larder_gateway::RateLimit { per_second: 2, burst: 5 }));
    assert!(limits.route.starts_with("/posts/{id} header x-beta "), "{}", limits.route);
    let by_expression =
        settings.ways.way(&Method::GET, &"http://any/17".parse().unwrap(), &fields).unwrap();
    assert!(!by_expression.is_cached);
}

#[test]
fn an_access_log_is_there_once_it_has_a_place() {
    use larder_gateway::access::{AccessLogConfig, Addresses, Destination, Format, Query};
    assert_eq!(check(LEAST).unwrap().0.access_log, None);
    let said = |keys: &str| check(&format!("{LEAST}[access_log]\n{keys}")).unwrap().0.access_log;
    let usual = AccessLogConfig::to(Destination::Stdout);
    assert_eq!(said("to = \"stdout\"\n"), Some(usual));
    let all = AccessLogConfig {
        to: Destination::File("access.log".into()),
        format: Format::Combined,
        sample: 0.0,
        query: Query::Drop,
        addresses: Addresses::Mask,
        buffer_bytes: 64 << 10,
    };
    let keys = "to = \"access.log\"\nformat = \"combined\"\nsample = 0\nquery = \"drop\"\n\
                addresses = \"mask\"\nbuffer = \"64KiB\"\n";
    assert_eq!(said(keys), Some(all));
}

#[test]
fn requests_are_traced_once_somebody_takes_spans() {
    use larder_gateway::traces::Parents;
    assert!(check(LEAST).unwrap().0.traces.is_none());
    let said = |keys: &str| {
        let text = format!("{LEAST}[tracing]\nendpoint = \"http://127.0.0.1:4318\"\n{keys}");
        check(&text).unwrap().0.traces.unwrap()
    };
    let usual = said("");
    assert_eq!(usual.endpoint.to_string(), "http://127.0.0.1:4318");
    assert_eq!((usual.path.as_str(), usual.service_name.as_str()), ("/v1/traces", "larder"));
    assert_eq!((usual.sample, usual.parents, usual.buffer), (0.01, Parents::Trusted, 2048));
    let all = said("sample = 1\nservice_name = \"edge\"\nparents = \"none\"\nbuffer = 1\n");
    assert_eq!((all.sample, all.parents, all.buffer), (1.0, Parents::None, 1));
    assert_eq!(all.service_name, "edge");
}

#[test]
fn a_service_that_cannot_switch_is_doubted_where_a_route_names_upgrades() {
    let text = |url: &str, more: &str| {
        format!(
            "[upstream.a]\nurl = \"{url}\"\n{more}[[route]]\npath = \"/chat/**\"\nupgrades = [\"websocket\"]\n"
        )
    };
    let rows = [
        (text("h2c://127.0.0.1:1", ""), 1),
        (text("http://127.0.0.1:1", "protocol = \"http2\"\n"), 1),
        (text("http://127.0.0.1:1", ""), 0),
        (text("h2c://127.0.0.1:1", "").replace("[\"websocket\"]", "[]"), 0),
        ("[upstream.a]\nurl = \"h2c://127.0.0.1:1\"\n".to_owned(), 0),
    ];
    for (text, count) in rows {
        let (settings, _) = check(&text).unwrap();
        assert_eq!(settings.doubts.len(), count, "{text}{:?}", settings.doubts);
        for doubt in &settings.doubts {
            let said = doubt.to_string();
            assert!(said.contains("it cannot switch") && said.contains("upgrades"), "{said}");
        }
    }
}

#[test]
fn a_stream_has_no_usual_time_for_its_head_but_its_own() {
    let text = |own: &str| {
        format!(
            "[upstream.a]\nurl = 8001\n[defaults]\nhard_timeout = \"10s\"\n[[route]]\npath = \"/events/**\"\n{own}"
        )
    };
    let patience = |own: &str| {
        let (settings, _) = check(&text(own)).unwrap();
        let uri = "http://a/events/1".parse().unwrap();
        let way = settings.ways.way(&Method::GET, &uri, &HeaderMap::new()).unwrap();
        way.policy.patience()
    };
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(patience(""), seconds(10));
    assert_eq!(patience("stream = true\n"), None);
    assert_eq!(patience("stream = true\nhard_timeout = \"60s\"\n"), seconds(60));
}
