//! Routes and rules of a running gateway: by fields and parameters, under other paths, from several files.

use std::fs;

use crate::support::{
    Wire, eventually,
    larder::{Larder, run_in},
    nginx::Nginx,
    origin::{Origin, ok},
};

const LISTENERS: &str = "[server]\nlisten = \"127.0.0.1:0\"\nreload = \"on-change\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";

fn upstream(name: &str, origin: &Origin) -> String {
    format!("[upstream.{name}]\nurl = \"http://{}\"\n", origin.address)
}

#[tokio::test]
async fn requests_for_one_url_go_by_their_fields_and_are_never_answered_from_each_other() {
    let fresh = "cache-control: max-age=60\r\n";
    let (old, beta) =
        (Origin::saying(ok(fresh, "old")).await, Origin::saying(ok(fresh, "beta")).await);
    let text = format!(
        "{}{}{LISTENERS}[defaults]\nupstream = \"old\"\n[[route]]\nheader = {{ X-Beta = \"1\" }}\nupstream = \"beta\"\n",
        upstream("beta", &beta),
        upstream("old", &old),
    );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    for handling in ["uri-miss", "hit"] {
        let answer = larder.get("/a").await;
        assert_eq!((answer.text(), answer.handling()), ("old", handling));
        let answer = larder.get_with("/a", "x-beta: 1\r\n").await;
        let handling = if handling == "hit" { "hit" } else { "vary-miss" };
        assert_eq!((answer.text(), answer.handling()), ("beta", handling));
    }
    let url = "http://larder.test/a";
    let arguments = ["check", "larder.toml", "--explain", url, "-H", "X-Beta: 1"];
    let told = run_in(folder.path(), &arguments).await;
    assert!(told.out.contains("  upstream                beta "), "{}", told.out);
}

#[tokio::test]
async fn a_service_under_another_path_and_host_is_what_readers_ask_for() {
    let origin = Origin::answering(|head: &str| {
        let is_moved = head.starts_with("GET /inner/old ");
        let to = "location: http://inner.test/inner/new\r\n";
        if is_moved {
            format!("HTTP/1.1 301 Moved\r\ncontent-length: 0\r\n{to}\r\n").into_bytes()
        } else {
            ok("cache-control: max-age=60\r\n", head)
        }
    })
    .await;
    let route = "[[route]]\npath = \"/api/**\"\nstrip_prefix = \"/api\"\nadd_prefix = \"/inner\"\n\
                 upstream_host = \"inner.test\"\nquery_deny = [\"tracking\"]\n";
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{}{LISTENERS}{route}", upstream("app", &origin));
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let answer = larder.get("/api/x?q=1&utm_source=y").await;
    let asked = answer.text().to_lowercase();
    assert!(asked.starts_with("get /inner/x?q=1 http/1.1\r\n"), "{asked}");
    assert!(asked.contains("\r\nhost: inner.test\r\n"), "{asked}");
    assert_eq!(larder.get("/api/x?q=1").await.handling(), "hit");
    let moved = larder.get("/api/old").await;
    assert_eq!(moved.field("location"), Some("http://larder.test/api/new"));
}

#[tokio::test]
async fn files_that_are_included_are_read_again_when_one_changes_or_comes() {
    let origin = Origin::saying(ok("", "a")).await;
    let folder = tempfile::tempdir().unwrap();
    let routes = folder.path().join("routes");
    fs::create_dir(&routes).unwrap();
    let text = format!("include = [\"routes/*.toml\"]\n{}{LISTENERS}", upstream("app", &origin));
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    assert_eq!(larder.get("/a").await.handling(), "uri-miss");
    assert_eq!(larder.get("/a").await.handling(), "uri-miss", "nothing says how long it is fresh");
    fs::write(routes.join("one.toml"), "[[route]]\npath = \"/a\"\nttl = \"1m\"\n").unwrap();
    let applied = "larder_config_reloads_total{outcome=\"applied\"}";
    let is_read = async || (larder.metric(applied).await >= 1.0).then_some(());
    eventually("the file that came", is_read).await;
    larder.get("/a").await;
    assert_eq!(larder.get("/a").await.handling(), "hit");
    fs::write(routes.join("one.toml"), "[[route]]\npath = \"/a\"\nttl = 1\n").unwrap();
    let is_refused = async || (larder.metric("larder_config_refused").await == 1.0).then_some(());
    eventually("the file that is wrong", is_refused).await;
    larder.told("one.toml:3:1: ttl: say a time with its unit").await;
    assert_eq!(larder.get("/a").await.handling(), "hit");
}

#[tokio::test]
async fn what_stands_in_an_included_file_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("more.toml", "[server]\nlisten = 1\n[upstream.app]\nurl = 2\n");
    for (include, said) in [
        ("more.toml", "more.toml:1:2: [server] is said in larder.toml itself"),
        ("more.toml", "more.toml:3:11: there is an [upstream.app] already, at larder.toml:2:11"),
        ("../more.toml", "files that are included lie below this one"),
        ("/more.toml", "files that are included lie below this one"),
        ("none.toml", "cannot read none.toml"),
        ("larder.toml", "larder.toml is included twice"),
        ("*/more.toml", "* stands in the name of the file only"),
    ] {
        write("larder.toml", &format!("include = [\"{include}\"]\n[upstream.app]\nurl = 1\n"));
        let exit = run_in(folder.path(), &["check", "larder.toml"]).await;
        assert_eq!(exit.code, Some(2), "{include}");
        assert!(exit.log.contains(said), "{include}\n{}", exit.log);
    }
}

/// Paths that nginx, as it is set up by default, takes for `/account`: it decodes them, merges slashes, and takes out dots.
const READ_AS_ACCOUNT: [&str; 8] = [
    "//account",
    "/%2Faccount",
    "/%2faccount",
    "/static/..%2Faccount",
    "/static/x%2F..%2F..%2Faccount",
    "/static//../account",
    "/static/x/..//../account",
    "/static%2F..%2Faccount",
];

#[tokio::test]
async fn no_route_is_passed_by_a_path_that_its_service_reads_otherwise() {
    let service = Nginx::start(
        "",
        "default_type text/html;
         location /static/ { return 200 static; }
         location /account { return 200 \"account of $http_cookie\"; }
         location / { return 200 home; }",
    )
    .await;
    let routes = "[[route]]\npath = \"/account/**\"\ncache = false\n\
                  [[route]]\npath = \"/static/**\"\ncookies_matter = false\nttl = \"1h\"\n";
    let folder = tempfile::tempdir().unwrap();
    let text = format!("[upstream.app]\nurl = \"http://{}\"\n{LISTENERS}{routes}", service.address);
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    for path in READ_AS_ACCOUNT {
        // So it is: a route that is passed by would be seen.
        let mut wire = Wire::connect(service.address).await;
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\ncookie: sid=1\r\n\r\n")).await;
        assert_eq!(wire.answer().await.text(), "account of sid=1", "{path}");
        let refused = larder.get_with(path, "cookie: sid=1\r\n").await;
        assert_eq!(refused.status(), 400, "{path}: {refused:?}");
        assert!(refused.text().contains("several ways"), "{}", refused.text());
    }
    // Parameters of a part are no part of its name to many services, if not to this one.
    let with_parameters = ["/account;x/me", "/account;/me", "/account%3Bx/me", "/account%3bx/me"];
    for path in with_parameters {
        assert_eq!(larder.get(path).await.status(), 400, "{path}");
    }
    // Odd ones whose readings fit one route all the same pass as they are.
    for path in
        ["/a//b", "/group%2Fproject", "/static/a%2Fb", "/static//a", "/static/a;b=c", "/a;b"]
    {
        assert_eq!(larder.get(path).await.status(), 200, "{path}");
    }
    let counted = larder.metric("larder_requests_with_ambiguous_paths_total").await;
    assert_eq!(counted, (READ_AS_ACCOUNT.len() + with_parameters.len()) as f64);
    let url = format!("http://larder.test{}", READ_AS_ACCOUNT[3]);
    let told = run_in(folder.path(), &["check", "larder.toml", "--explain", &url]).await;
    assert!(told.out.contains("400"), "{}", told.out);
}

#[tokio::test]
async fn a_pattern_with_percent_encodings_fits_in_any_spelling() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "page")).await;
    let route = "[[route]]\npath = \"/caf%c3%a9/%7euser/**\"\ncache = false\n";
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{}{LISTENERS}{route}", upstream("app", &origin));
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    for path in ["/caf%c3%a9/~user/a", "/caf%C3%A9/%7Euser/a", "/caf%C3%a9/%7euser/"] {
        assert_eq!(larder.get(path).await.handling(), "bypass", "{path}");
    }
    assert_eq!(larder.get("/caf%C3%A8/~user/a").await.handling(), "uri-miss");
}
