//! What no service answers has the fields that all answers get: those of its route, and of `[defaults]` where there is none.

use std::fs;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{
    answer::{field, status},
    eventually, free_port,
    larder::{Larder, request},
    origin::{Origin, ok},
    program::curl,
};

/// Says nothing to who is slow.
async fn service() -> Origin {
    Origin::playing(|mut visit| async move {
        while let Some(head) = visit.request().await {
            if head.contains(" /slow/") {
                std::future::pending::<()>().await;
            }
            visit.send(ok("cache-control: public, max-age=60\r\nlink: </own>\r\n", "hello")).await;
        }
    })
    .await
}

fn write(folder: &TempDir, origin: &Origin, (server, defaults): (&str, &str)) {
    let route = |name: &str, rules: &str| {
        format!(
            "[[route]]\npath = \"/{name}/**\"\n{rules}\nresponse_headers = {{ set = {{ X-Of = \"{name}\", \
             Cache-Control = \"max-age=9\", CDN-Cache-Control = \"max-age=9\", Content-Type = \"text/x\" }} }}\n"
        )
    };
    let routes = [
        route("dead", "upstream = \"dead\""),
        route("page", "upstream = \"down\""),
        route("slow", "hard_timeout = \"100ms\""),
        route("often", "requests_per_address = 1"),
        route("small", "max_request_body = 1"),
    ];
    let (routes, app, dead) = (routes.concat(), origin.address, free_port());
    let text = format!(
        "[server]\nlisten = 0\n{server}\n[admin]\nlisten = 0\n[upstream.app]\nurl = \"http://{app}\"\n\
         [upstream.dead]\nurl = {dead}\n[upstream.down]\nurl = {dead}\nmaintenance_page = \"down.html\"\n\
         [defaults]\nupstream = \"app\"\nresponse_headers = {{ set = {{ X-Of = \"{defaults}\" }}, \
         add = {{ Link = [\"</a>\", \"</b>\"] }} }}\n{routes}"
    );
    fs::write(folder.path().join("down.html"), "<p>down").unwrap();
    fs::write(folder.path().join("larder.toml"), text).unwrap();
}

const CONTENT: &str = "content-length: 2\r\n\r\nab";
const CHUNKS: &str = "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n";

#[tokio::test]
async fn each_answer_that_no_service_made_has_the_fields_of_its_route_or_of_the_defaults() {
    let (origin, folder) = (service().await, tempfile::tempdir().unwrap());
    write(&folder, &origin, ("", "defaults"));
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let twice = "GET /dead/a HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_owned();
    let rows = [
        (request("GET", "/dead/a", ""), 502, "dead"),
        (request("POST", "/dead/a", ""), 502, "dead"),
        (request("GET", "/page/a", ""), 503, "page"),
        (request("GET", "/slow/a", ""), 504, "slow"),
        (request("GET", "/often/a", ""), 200, "often"),
        (request("GET", "/often/b", ""), 429, "often"),
        (request("POST", "/small/a", CONTENT), 413, "small"),
        // By then the connection knows no more than that there is too much.
        (request("POST", "/small/a", CHUNKS), 413, "defaults"),
        (request("TRACE", "/dead/a", ""), 405, "dead"),
        (twice, 400, "defaults"),
    ];
    for (request, expected, of) in rows {
        let answer = larder.say(&request).await;
        assert_eq!(status(&answer), expected, "{request}{answer}");
        assert_eq!(field(&answer, "x-of"), Some(of), "{request}{answer}");
        if expected != 200 {
            // What it is and how long it may be kept no rule says.
            assert_ne!(field(&answer, "cache-control"), Some("max-age=9"), "{request}{answer}");
            assert_eq!(field(&answer, "cdn-cache-control"), None, "{request}{answer}");
            assert_ne!(field(&answer, "content-type"), Some("text/x"), "{request}{answer}");
        }
    }
    for (path, expected, of) in [("/dead/b", 502, "dead"), ("/slow/b", 504, "slow")] {
        let url = larder.url(path);
        let said = curl(&["--http2-prior-knowledge", "--dump-header", "-", &url]).await;
        assert!(said.starts_with(&format!("HTTP/2 {expected}")), "{said}");
        assert_eq!(field(&said, "x-of"), Some(of), "{said}");
    }
    // One with too many fields is refused by its connection, over HTTP/2 as well.
    let url = larder.url("/a");
    let fields: Vec<_> = (0..150).map(|number| format!("x-{number}: 1")).collect();
    let mut words = vec!["--http2-prior-knowledge", "--dump-header", "-", &url];
    words.extend(fields.iter().flat_map(|field| ["--header", field]));
    let said = curl(&words).await;
    assert!(said.starts_with("HTTP/2 431"), "{said}");
    assert_eq!(field(&said, "x-of"), Some("defaults"), "{said}");
    write(&folder, &origin, ("", "others"));
    larder.signal(Signal::HUP);
    eventually("the new rules", async || {
        let answer = larder.say("GET / HTTP/1.1\r\nhost: a b\r\n\r\n").await;
        (field(&answer, "x-of") == Some("others")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_is_sent_on_to_https_is_told_by_the_rules_of_the_route() {
    let (origin, folder) = (service().await, tempfile::tempdir().unwrap());
    write(&folder, &origin, ("redirect_to_https = 443", "defaults"));
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    for (path, of) in [("/dead/a", "dead"), ("/a", "defaults")] {
        let answer = larder.get(path).await;
        assert_eq!((answer.status(), answer.field("x-of")), (308, Some(of)), "{}", answer.head);
        let location = format!("https://larder.test{path}");
        assert_eq!(answer.field("location"), Some(&*location));
    }
}

#[tokio::test]
async fn what_is_added_stands_beside_what_the_service_says_in_hits_as_well() {
    let (origin, folder) = (service().await, tempfile::tempdir().unwrap());
    write(&folder, &origin, ("", "defaults"));
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    for is_hit in [false, true, true] {
        let answer = larder.get("/a").await;
        let links = answer.head.lines().filter_map(|line| line.strip_prefix("link: "));
        assert_eq!(links.collect::<Vec<_>>(), ["</own>", "</a>", "</b>"], "{}", answer.head);
        assert_eq!(answer.handling() == "hit", is_hit, "{}", answer.head);
    }
}
