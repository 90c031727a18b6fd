//! Flags, what start-up says, and how it ends where it cannot run.

use std::net::TcpListener;

use crate::support::{
    Certificate, eventually, free_port,
    larder::{Larder, run, run_with},
    origin::{Origin, ok},
};

const UPSTREAM: [&str; 3] = ["serve", "--upstream", "http://127.0.0.1:9"];

#[tokio::test]
async fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["serve"], "larder serve --upstream http://127.0.0.1:8001"),
        (&["serve"], "larder init > larder.toml"),
        (&["serve", "--config", "/no/such.toml"], "cannot read /no/such.toml: No such file"),
        (&["check", "/no/such.toml"], "cannot read /no/such.toml: No such file"),
        (&["check", "--method", "GET"], "--explain"),
        (&["sreve"], "serve"),
        (&["serve", "--upstream", "ftp://127.0.0.1:9"], "--upstream"),
        (&["serve", "--upstream", ""], "--upstream"),
        (&["serve", "--upstream", "ftp://127.0.0.1:9"], "only http://, https://, h2c:// and unix:"),
        (&["--listen", "127.0.0.1"], "a port is missing: 127.0.0.1:8080"),
        (&["--listen", "http://127.0.0.1:8080"], "without a scheme"),
        (&["--admin", "localhost"], "say an address and a port (127.0.0.1:8080), or a port (8080)"),
        (&["--ttl", "5 minuets"], "--ttl <DURATION>': say a number and its unit: 90s, 5m, 1h"),
        (&["--memory", "much"], "--memory <SIZE>': say a number and its unit: 64MiB"),
        (&["--memory", "1023KiB"], "--memory 1023.0 KiB is too little"),
        (&["--threads", "0"], "--threads <NUMBER>': say a whole number from 1 on"),
        (&["--max-connections", "0"], "--max-connections <NUMBER>': say a whole number from 1 on"),
        (&["--max-connections", "99999999999"], "--max-connections 99999999999 needs"),
        (&["--max-connections-per-address", "few"], "say a whole number from 1 on"),
        (&["--policy", "lax"], "guarded, standard"),
        (&["--admin", "0.0.0.0:0"], "is not a loopback address"),
        (&["--log", "larder=loud"], "larder=loud"),
        (&["--log", "debgu"], "debgu"),
        (&["--log", ""], "is neither error, warn"),
        (&["--uptsream", "x"], "--upstream"),
        (&["--tls-certificate", "a"], "--tls-key"),
        (&["--tls-key", "a"], "--tls-certificate"),
        (&["--shared-namespace", "a"], "--shared <URL>"),
        (&["--max-incoherence", "5s"], "--shared <URL>"),
        (&["--shared-outbox", "a"], "--shared <URL>"),
        (&["--shared", "redis://127.0.0.1", "--shared-sentinel-user", "a"], "without sentinels"),
        (&["--shared", "http://127.0.0.1:6379"], "its scheme is not redis or rediss"),
        (&["--shared", "redis://127.0.0.1", "--max-incoherence", "1h"], "is from 1s to 30m"),
        (&["--shared", "redis://127.0.0.1", "--unsure", "maybe"], "fetch, serve-stale"),
    ];
    for (flags, words) in cases {
        let is_whole = !flags.first().is_some_and(|flag| flag.starts_with("--"));
        let arguments = if is_whole { flags.to_vec() } else { [&UPSTREAM, *flags].concat() };
        let exit = run(&arguments).await;
        assert_eq!(exit.code, Some(2), "{flags:?}: {}", exit.log);
        assert!(exit.log.contains(words), "{flags:?}: {}", exit.log);
        assert_eq!(exit.out, "", "{flags:?}");
    }
}

#[tokio::test]
async fn a_password_in_the_url_of_the_shared_tier_ends_with_2_and_is_never_shown() {
    const URL: &str = "redis://user:hidden@127.0.0.1:6379";
    let exit = run(&[&UPSTREAM[..], &["--shared", URL, "--max-incoherence", "1ms"]].concat()).await;
    assert_eq!(exit.code, Some(2), "{}", exit.log);
    for words in ["--shared-password-file FILE", "LARDER_SHARED_PASSWORD", "from 1s to 30m"] {
        assert!(exit.log.contains(words), "{words}: {}", exit.log);
    }
    // From the environment it is taken, and as little shown.
    let variables = [("LARDER_SHARED", URL), ("LARDER_SHARED_PASSWORD", "hidden")];
    let help = run_with(&["serve", "--help"], &variables).await;
    let refused =
        run_with(&[&UPSTREAM[..], &["--max-incoherence", "1ms"]].concat(), &variables).await;
    assert_eq!((help.code, refused.code), (Some(0), Some(2)), "{}", refused.log);
    assert!(!refused.log.contains("has a password in it"), "{}", refused.log);
    for exit in [exit, help, refused] {
        assert!(!exit.out.contains("hidden") && !exit.log.contains("hidden"), "{}", exit.log);
    }
}

#[tokio::test]
async fn a_port_in_use_ends_with_1_and_names_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--admin"] {
        let free = if flag == "--listen" { "--admin" } else { "--listen" };
        let exit = run(&[&UPSTREAM[..], &[flag, &address, free, "127.0.0.1:0"]].concat()).await;
        assert_eq!(exit.code, Some(1), "{}", exit.log);
        assert!(exit.log.contains(&format!("cannot listen on {address} ({flag})")), "{}", exit.log);
        assert!(exit.log.contains("because: "), "{}", exit.log);
    }
}

#[tokio::test]
async fn one_address_for_both_listeners_ends_with_2_and_names_both_flags() {
    for (listen, admin, other) in [
        ("127.0.0.1:9191", "127.0.0.1:9191", 9192),
        ("127.0.0.1:8080", "127.0.0.1:8080", 9191),
        ("[::1]:8080", "[::1]:8080", 9191),
        // Whoever listens on all addresses does so on this one, too.
        ("0.0.0.0:8080", "127.0.0.1:8080", 9191),
    ] {
        let exit = run(&[&UPSTREAM[..], &["--listen", listen, "--admin", admin]].concat()).await;
        assert_eq!(exit.code, Some(2), "{}", exit.log);
        let said = format!("--listen {listen} and --admin {admin} are one address");
        assert!(exit.log.contains(&said), "{}", exit.log);
        assert!(exit.log.trim_end().ends_with(&format!(":{other}")), "{}", exit.log);
    }
}

#[tokio::test]
async fn files_for_tls_that_will_not_do_end_with_2_before_any_port_is_taken() {
    let (certificate, other) = (Certificate::new(), Certificate::new());
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (file, key) = (text(certificate.file()), text(certificate.key()));
    // Whoever came as far as the port would say that it is taken.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (file, key, words) in [
        (
            "/no/such.pem",
            key.as_str(),
            "because: cannot read /no/such.pem\n  because: No such file",
        ),
        (&file, "/no/such.pem", "because: cannot read /no/such.pem\n  because: No such file"),
        (&key, &key, "there is no certificate in /"),
        (&file, &file, "there is no private key in /"),
        (&file, &text(other.key()), "is not that of the first certificate in /"),
    ] {
        let flags = ["--tls-certificate", file, "--tls-key", key, "--listen", &address];
        let exit = run(&[&UPSTREAM[..], &flags].concat()).await;
        assert_eq!(exit.code, Some(2), "{}", exit.log);
        let begin = "larder: the files of --tls-certificate and --tls-key will not do\n  because: ";
        assert!(exit.log.starts_with(begin) && exit.log.contains(words), "{}", exit.log);
        assert_eq!(exit.out, "");
    }
}

#[tokio::test]
async fn a_port_that_a_larder_serves_is_in_use_however_many_threads_serve_it() {
    let origin = Origin::saying(ok("", "")).await;
    let larder = Larder::with(origin.address, &["--threads", "3"]).await;
    let address = larder.address.to_string();
    let exit = run(&[&UPSTREAM[..], &["--listen", &address, "--threads", "3"]].concat()).await;
    assert_eq!(exit.code, Some(1), "{}", exit.log);
    assert!(exit.log.contains(&format!("cannot listen on {address} (--listen)")), "{}", exit.log);
}

#[tokio::test]
async fn help_and_version_are_no_mistakes() {
    for (arguments, words) in [
        (&["--help"][..], "serve"),
        (&["serve", "--help"], "--upstream <URL>"),
        (&["serve", "--help"], "--tls-certificate cert.pem --tls-key key.pem"),
        (&["serve", "--help"], "/v1/purge -H 'content-type: application/json'"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let exit = run(arguments).await;
        assert_eq!(exit.code, Some(0), "{}", exit.log);
        assert!(exit.out.contains(words), "{}", exit.out);
    }
}

#[tokio::test]
async fn it_says_where_it_listens_and_what_it_caches() {
    let origin = Origin::saying(ok("", "")).await;
    let flags = ["--ttl", "90s", "--memory", "32MiB", "--policy", "standard"];
    let larder = Larder::with(origin.address, &flags).await;
    let log = larder.log();
    assert!(log.contains(&format!("listening on http://{}", larder.address)), "{log}");
    let caching = format!(
        "caching http://{}: what its answers allow, 1m 30s where they do not say for how long, \
         up to 32.0 MiB",
        origin.address
    );
    assert!(log.contains(&caching), "{log}");
    assert!(!log.contains('\u{1b}'), "no colours where nobody sees them: {log}");
}

#[tokio::test]
async fn nothing_is_logged_for_a_request_unless_asked_for() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let larder = Larder::before(origin.address).await;
    let before = larder.log();
    larder.get("/secret").await;
    assert_eq!(larder.log(), before);
}

#[tokio::test]
async fn a_ttl_is_for_answers_that_do_not_say_how_long() {
    let origin = Origin::answering(|head| match head.split(' ').nth(1) {
        Some("/silent") => ok("", "silent"),
        _ => ok("cache-control: no-store\r\n", "not to be stored"),
    })
    .await;
    let larder = Larder::with(origin.address, &["--ttl", "5m"]).await;
    for (path, then) in [("/silent", "hit"), ("/no", "uri-miss")] {
        larder.get(path).await;
        assert_eq!(larder.get(path).await.handling(), then, "{path}");
    }
    let larder = Larder::before(origin.address).await;
    larder.get("/silent").await;
    assert_eq!(larder.get("/silent").await.handling(), "uri-miss");
}

#[tokio::test]
async fn addresses_may_be_written_as_elsewhere() {
    let origin = Origin::saying(ok("", "here")).await;
    let port = origin.address.port();
    for (upstream, listen) in [
        (port.to_string(), "0"),
        (format!(":{port}"), ":0"),
        (format!("localhost:{port}"), "localhost:0"),
    ] {
        let flags = ["serve", "--upstream", &upstream, "--listen", listen, "--admin", listen];
        let larder = Larder::with_arguments(&flags).await;
        assert!(larder.address.ip().is_loopback(), "{}", larder.address);
        assert_eq!(larder.get("/").await.status(), 200, "{upstream}");
    }
}

#[tokio::test]
async fn an_upstream_that_is_nobody_or_larder_itself_is_told() {
    let (own, admin) = (free_port(), free_port());
    let (own_flag, admin_flag) = (format!("0.0.0.0:{own}"), format!("127.0.0.1:{admin}"));
    for (upstream, words) in [
        (format!("localhost:{own}"), format!("is this larder itself (--listen {own_flag})")),
        (
            format!("http://0.0.0.0:{admin}"),
            format!("is this larder itself (--admin {admin_flag})"),
        ),
        (
            "no-such-host.invalid".to_owned(),
            "there is no address for \"no-such-host.invalid\"".to_owned(),
        ),
    ] {
        let flags = ["--upstream", &upstream, "--listen", &own_flag, "--admin", &admin_flag];
        let larder = Larder::with_arguments(&[&["serve"], &flags[..]].concat()).await;
        eventually(&words, async || larder.log().contains(&words).then_some(())).await;
    }
}

#[tokio::test]
async fn the_address_that_is_printed_for_the_admin_answers_with_a_page() {
    let origin = Origin::saying(ok("", "")).await;
    let larder = Larder::before(origin.address).await;
    let answer = larder.get_from_admin("/").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.field("content-type"), Some("text/html; charset=utf-8"));
}

#[tokio::test]
async fn a_purge_of_a_path_says_which_key_was_meant() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let larder = Larder::before(origin.address).await;
    larder.get("/index.html").await;
    let body = r#"{"keys":["/index.html"]}"#;
    let answer = larder.post_to_admin("/v1/purge", body).await;
    let meant =
        r#"{"key":"/index.html","purged":0,"did_you_mean":["http://larder.test/index.html"]}"#;
    assert!(answer.text().contains(meant), "{}", answer.text());
    let answer = larder.post_to_admin("/v1/purge", r#"{"all":true}"#).await;
    assert!(answer.text().contains(r#""purged":1"#), "{}", answer.text());
}
