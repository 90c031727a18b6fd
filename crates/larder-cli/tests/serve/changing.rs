//! Requests that change something, and what another route than theirs has stored for the same URI.

use std::fs;

use crate::support::{
    larder::Larder,
    larder::request,
    origin::{Origin, ok},
};

const FRESH: &str = "cache-control: public, max-age=60\r\n";

/// Who asks whether `route` lets a POST to `target`, which has these fields, purge what is stored of `target`.
async fn is_purged(routes: &str, target: &str, fields: &str) -> bool {
    let origin = Origin::answering(|_: &str| ok(FRESH, "a")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [upstream.app]\nurl = \"http://{}\"\n{routes}",
        origin.address
    );
    fs::write(folder.path().join("larder.toml"), file).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    larder.get(target).await;
    assert_eq!(larder.get(target).await.handling(), "hit", "{routes}");
    let changed =
        larder.say(request("POST", target, &format!("content-length: 0\r\n{fields}"))).await;
    assert!(changed.starts_with("HTTP/1.1 200"), "{changed}");
    let again = larder.get(target).await;
    let is_purged = again.handling() != "hit";
    if is_purged {
        assert_eq!(larder.get(target).await.handling(), "hit", "its own answer is stored again");
    }
    is_purged
}

#[tokio::test]
async fn what_is_stored_by_another_route_is_purged_by_what_changes_it() {
    let posts = "[[route]]\nmethods = [\"POST\"]\npath = \"/posts/**\"\ncache = false\n";
    let editors = "[[route]]\nheader = { Cookie = \"*session=*\" }\ncache = false\n";
    let tracked = "[[route]]\nmethods = [\"GET\"]\nquery_deny = [\"tracking\"]\n";
    for (routes, target, fields) in [
        // By its method, before whatever else is stored.
        (posts.to_owned(), "/posts/1", ""),
        (format!("{posts}[[route]]\npath = \"/posts/{{id}}\"\nttl = \"1m\"\n"), "/posts/1", ""),
        // By who sends it: everybody else is answered from what is stored.
        (editors.to_owned(), "/posts/1", "cookie: session=1\r\n"),
        // Under the key by which it is stored there.
        (format!("{posts}{tracked}"), "/posts/1?utm_source=mail&a=1", ""),
        (tracked.to_owned(), "/posts/1?utm_source=mail&a=1", ""),
        // And by its own.
        ("[[route]]\npath = \"/posts/**\"\nttl = \"1m\"\n".to_owned(), "/posts/1", ""),
    ] {
        assert!(is_purged(&routes, target, fields).await, "{routes}");
    }
}
