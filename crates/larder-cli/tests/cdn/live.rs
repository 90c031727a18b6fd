//! Live: `larder check --live` says of each place in a file whether it answers, and changes nothing there.

use std::{fs, net::SocketAddr};

use crate::{
    outer::Varnish,
    support::{
        Redis, free_port,
        larder::run_in,
        origin::{Origin, ok},
    },
};

/// Another Larder's admin API that takes one token.
async fn other_larder() -> Origin {
    Origin::answering(|head: &str| {
        let is_known = head.to_ascii_lowercase().contains("authorization: bearer right\r\n");
        match is_known && head.starts_with("GET /v1/stats ") {
            true => ok("content-type: application/json\r\n", "{}"),
            false => b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n".to_vec(),
        }
    })
    .await
}

fn file(app: SocketAddr, redis: SocketAddr, cdns: &str) -> String {
    format!("[upstream.app]\nurl = \"http://{app}\"\n[shared]\nurl = \"redis://{redis}\"\n{cdns}")
}

#[tokio::test]
async fn each_place_is_asked_and_has_a_line() {
    let app = Origin::saying(ok("", "a")).await;
    let (redis, larder, varnish) =
        (Redis::start().await, other_larder().await, Varnish::before(free_port()).await);
    let folder = tempfile::tempdir().unwrap();
    let cdn = |name: &str, vendor: &str, keys: &str| {
        format!("[[cdn]]\nname = \"{name}\"\n[cdn.{vendor}]\n{keys}\n")
    };
    let api = format!("api = \"http://{}\"", larder.address);
    let cdns = [
        cdn("other", "larder", &format!("{api}\ntoken_file = \"right\"")),
        cdn("edge", "varnish", &format!("api = \"http://{}\"", varnish.address)),
        cdn("silent", "nginx", "api = \"http://127.0.0.1:1\""),
    ];
    fs::write(folder.path().join("right"), "right").unwrap();
    fs::write(folder.path().join("wrong"), "wrong").unwrap();
    let write = |text: String| fs::write(folder.path().join("larder.toml"), text).unwrap();
    write(file(app.address, redis.address(), &cdns.concat()));
    let exit = run_in(folder.path(), &["check", "--live"]).await;
    assert_eq!(exit.code, Some(0), "{}{}", exit.out, exit.log);
    for line in [
        format!("ok      upstream app at http://{}: takes connections", app.address),
        format!("ok      shared tier, Redis at {}: answers", redis.address()),
        "ok      cdn other, larder: its credentials are good".to_owned(),
        "ok      cdn edge, varnish: its credentials are good".to_owned(),
        "ok      cdn silent, nginx: not asked: it has no call that changes nothing".to_owned(),
    ] {
        assert!(exit.out.contains(&line), "{line}\n{}", exit.out);
    }
    assert!(app.requests().is_empty());
    let cdns = [
        cdn("other", "larder", &format!("{api}\ntoken_file = \"wrong\"")),
        cdn("gone", "varnish", "api = \"http://127.0.0.1:1\""),
    ];
    let nobody = ([127, 0, 0, 1], 1).into();
    write(file(nobody, nobody, &cdns.concat()));
    let exit = run_in(folder.path(), &["check", "--live"]).await;
    assert_eq!(exit.code, Some(1), "{}{}", exit.out, exit.log);
    for line in [
        "FAILED  upstream app at http://127.0.0.1:1: ",
        "FAILED  shared tier, Redis at 127.0.0.1:1: ",
        "FAILED  cdn other, larder: it does not take these credentials: 401",
        "FAILED  cdn gone, varnish: it does not answer: ",
    ] {
        assert!(exit.out.contains(line), "{line}\n{}", exit.out);
    }
    assert!(exit.log.contains("4 of 4 do not answer as they should"), "{}", exit.log);
    assert!(!exit.out.contains("wrong") && !exit.log.contains("wrong"));
    // Without it nobody is asked.
    assert_eq!(run_in(folder.path(), &["check"]).await.code, Some(0));
}
