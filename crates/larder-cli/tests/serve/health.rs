//! `larder health`, and flags that come from the environment: what containers use.

use crate::support::{
    Certificate,
    larder::{Larder, run, run_with, tls_flags},
    origin::{Origin, ok},
};

#[tokio::test]
async fn health_is_0_for_a_gateway_that_is_ready_and_1_for_any_other() {
    let origin = Origin::saying(ok("", "well")).await;
    let larder = Larder::before(origin.address).await;
    let admin = larder.admin().to_string();
    let port = larder.admin().port().to_string();
    for (arguments, variables, code, words) in [
        (vec!["health", "--admin", &admin], vec![], 0, ""),
        (vec!["health"], vec![("LARDER_ADMIN", admin.as_str())], 0, ""),
        (vec!["health", &larder.url("/path")], vec![], 0, ""),
        (vec!["health", &format!("http://{admin}/nothing")], vec![], 1, "answered 404"),
        (vec!["health", "http://127.0.0.1:1/"], vec![], 1, "gave no answer"),
        (vec!["health", "--admin", "127.0.0.1:1"], vec![], 1, "runs with --admin 127.0.0.1:1"),
        (vec!["health", "--admin", "[::1%1]:1"], vec![], 1, "runs with --admin [::1]:1"),
        (vec!["health", "9191"], vec![], 2, "of the form http://host:port/path"),
        (vec!["health", "h2c://127.0.0.1:1/"], vec![], 2, "of the form http://host:port/path"),
        (vec!["health", "https://127.0.0.1:1/", "--insecure"], vec![], 1, "gave no answer"),
        (vec!["health", "https://example.org/", "--insecure"], vec![], 2, "for this one alone"),
        (vec!["health", "https://127.0.0.1:1/", "--cacert", "none.pem"], vec![], 2, "none.pem"),
        (vec!["health", "--admin", &port], vec![], 0, ""),
        (vec!["health", "--admin", "a b"], vec![], 2, "say an address and a port"),
    ] {
        let exit = run_with(&arguments, &variables).await;
        assert_eq!(exit.code, Some(code), "{arguments:?}: {}", exit.log);
        assert_eq!(exit.log.is_empty(), code == 0, "{arguments:?}: {}", exit.log);
        assert!(exit.log.contains(words), "{arguments:?}: {}", exit.log);
    }
}

#[tokio::test]
async fn flags_come_from_the_environment_and_an_empty_variable_counts_as_unset() {
    // What is wrong is told by the last of the flags, so all before were understood.
    let variables = [
        ("LARDER_UPSTREAM", "http://127.0.0.1:9"),
        ("LARDER_LISTEN", "127.0.0.1:0"),
        ("LARDER_ADMIN", ""),
        ("LARDER_TTL", ""),
        ("LARDER_THREADS", ""),
        ("LARDER_TLS_KEY", ""),
        ("LARDER_POLICY", "standard"),
        ("LARDER_LOG", "info"),
        ("LARDER_MEMORY", "1KiB"),
    ];
    let exit = run_with(&["serve"], &variables).await;
    assert_eq!(exit.code, Some(2), "{}", exit.log);
    assert!(exit.log.contains("--memory 1.0 KiB is too little"), "{}", exit.log);
    // A flag goes before.
    let exit = run_with(&["serve", "--memory", "2KiB"], &variables).await;
    assert!(exit.log.contains("--memory 2.0 KiB is too little"), "{}", exit.log);
    let help = run(&["serve", "--help"]).await.out;
    for (variable, _) in variables {
        assert!(help.contains(&format!("[env: {variable}")), "{variable} is not in the help");
    }
}

#[tokio::test]
async fn a_missing_upstream_is_told_with_its_variable() {
    let exit = run(&["serve"]).await;
    assert_eq!(exit.code, Some(2), "{}", exit.log);
    assert!(exit.log.contains("--upstream <URL>"), "{}", exit.log);
    assert!(exit.log.contains("LARDER_UPSTREAM"), "{}", exit.log);
}

#[tokio::test]
async fn health_asks_over_tls_by_who_vouches_or_by_nobody_on_this_machine() {
    let origin = Origin::saying(ok("", "well")).await;
    let certificate = Certificate::for_names(&["localhost"]);
    let flags = tls_flags(&certificate);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let larder = Larder::with(origin.address, &flags).await;
    let port = larder.address.port();
    let (named, other) =
        (format!("https://localhost:{port}/a"), format!("https://127.0.0.1:{port}/a"));
    let file = certificate.file().to_str().unwrap().to_owned();
    for (arguments, code) in [
        (vec!["health", &named, "--cacert", &file], 0),
        (vec!["health", &named, "--ca-file", &file], 0),
        (vec!["health", &other, "--cacert", &file], 1),
        (vec!["health", &other, "--insecure"], 0),
        (vec!["health", &other], 1),
    ] {
        let exit = run(&arguments).await;
        assert_eq!(exit.code, Some(code), "{arguments:?}: {}", exit.log);
    }
}
