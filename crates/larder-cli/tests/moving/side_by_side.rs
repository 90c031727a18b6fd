//! Side by side: nginx with its file, and Larder with what was made of it, before the same kind of service.

use std::{fs, process::Command};

use crate::support::{
    answer::{field, status},
    eventually,
    larder::{Larder, run_in},
    nginx::Nginx,
    origin::Origin,
    program,
};

/// A service that says what it was asked, and how often it was asked anything.
pub(crate) async fn service() -> Origin {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    Origin::answering(move |head: &str| {
        let count = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let line = head.lines().next().unwrap_or_default().to_owned();
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let host = field(head, "host").unwrap_or_default().to_owned();
        let upgrade = field(head, "upgrade").map_or(String::new(), |to| format!(" to {to}"));
        let body = format!(
            "{} {target} at {host}{upgrade}, the {count}th\n",
            line.split(' ').next().unwrap_or_default()
        );
        let (status, fields) = match target.split('?').next().unwrap_or_default() {
            path if path.ends_with("/moved") => {
                ("302 Found", format!("location: http://{host}/v2/there\r\n"))
            }
            path if path.ends_with("/none") => ("404 Not Found", String::new()),
            path if path.ends_with("/private") => {
                ("200 OK", "cache-control: private, max-age=60\r\n".to_owned())
            }
            path if path.ends_with("/no-store") => {
                ("200 OK", "cache-control: no-store\r\n".to_owned())
            }
            path if path.ends_with("/a-minute") => {
                ("200 OK", "cache-control: max-age=60\r\n".to_owned())
            }
            path if path.ends_with("/cookie") => ("200 OK", "set-cookie: a=1\r\n".to_owned()),
            path if path.ends_with("/broken") => ("500 Internal Server Error", String::new()),
            _ => ("200 OK", "x-powered-by: tests\r\n".to_owned()),
        };
        let length = if line.starts_with("HEAD ") { String::new() } else { body.clone() };
        format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n{length}", body.len())
            .into_bytes()
    })
    .await
}

/// What a reader is told, but for what differs in any case: the number of the answer tells hits from misses.
pub(crate) async fn asked(base: &str, request: &[&str]) -> String {
    let (path, arguments) = request.split_last().unwrap();
    let url = format!("{base}{path}");
    let mut command = Command::new("curl");
    command.args(["--silent", "--include", "--max-time", "60"]).args(arguments).arg(&url);
    let said = String::from_utf8(program::run(&mut command).await.stdout).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or((&said, ""));
    let fields = ["location", "x-frame-options", "x-powered-by", "set-cookie"];
    let fields: Vec<_> =
        fields.iter().filter_map(|name| Some(format!("{name}: {}", field(head, name)?))).collect();
    // Errors that are their own have words of their own.
    let own = if body.contains("th\n") { body } else { "" };
    format!("{} {fields:?} {own}", status(head)).replace(base.trim_start_matches("http://"), "HERE")
}

/// Waits until what was asked for is in its place.
pub(crate) async fn settled(larder: &Larder) {
    eventually("all fetches to have ended", async || {
        let begun = larder.metric("larder_fetches_total{cache=\"gateway\"}").await;
        let ended = larder.metric("larder_fetch_duration_seconds_count{cache=\"gateway\"}").await;
        (begun == ended).then_some(())
    })
    .await;
}

/// nginx's `http` and `server` by these texts, in which `ORIGIN` is the service; and requests, each with what differs,
/// if anything does, and why.
async fn compare(http: &str, server: &str, requests: &[(&[&str], Option<&str>)]) {
    let (behind_nginx, behind_larder) = (service().await, service().await);
    let cache = "proxy_cache_path cache keys_zone=zone:1m;";
    let with = |text: &str, origin: &Origin| text.replace("ORIGIN", &origin.address.to_string());
    let nginx = Nginx::start(
        &with(&format!("{cache} {http}"), &behind_nginx),
        &with(server, &behind_nginx),
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = format!("http {{ {cache} {http} server {{ listen 127.0.0.1:8080; {server} }} }}");
    fs::write(folder.path().join("nginx.conf"), with(&file, &behind_larder)).unwrap();
    let told = run_in(folder.path(), &["import", "nginx", "nginx.conf"]).await;
    assert_eq!(told.code, Some(0), "{}", told.log);
    let text =
        told.out.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:9191", "127.0.0.1:0");
    fs::write(folder.path().join("larder.toml"), &text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let (before, after) = (format!("http://{}", nginx.address), larder.url(""));
    let mut wrong = Vec::new();
    for (request, differs) in requests {
        let of_nginx = asked(&before, request).await;
        let of_larder = asked(&after, request).await;
        // What is stored is there a moment after its reader has it.
        settled(&larder).await;
        let here =
            |text: String, origin: &Origin| text.replace(&origin.address.to_string(), "ORIGIN");
        let (of_nginx, of_larder) =
            (here(of_nginx, &behind_nginx), here(of_larder, &behind_larder));
        if (of_nginx != of_larder) != differs.is_some() {
            wrong.push(format!(
                "{request:?}, {differs:?}\n  nginx:  {of_nginx}\n  larder: {of_larder}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}\n{text}\n{}", wrong.join("\n"), larder.log());
}

#[tokio::test]
async fn paths_and_hosts_go_the_same_ways() {
    let server = "server_name one.test;
        location / { proxy_pass http://ORIGIN; proxy_set_header Host $http_host; }
        location /api/ { proxy_pass http://ORIGIN/v2/; }
        location = /api/login { proxy_pass http://ORIGIN/login; }
        location ^~ /static/ { proxy_pass http://ORIGIN; proxy_set_header Host static.test; }
        location ~ \\.php$ { return 403; }
        location ~* ^/(de|fr)/ { proxy_pass http://ORIGIN; proxy_set_header Host $http_host; }
        location /host/ { proxy_pass http://ORIGIN; proxy_set_header Host $host; }
        location /images { proxy_pass http://ORIGIN; proxy_set_header Host images.test; }
        location /closed/ { deny all; proxy_pass http://ORIGIN; }";
    let of_itself = Some("what nginx answers by itself is 502 here");
    let requests: [(&[&str], _); 17] = [
        (&["/"], None),
        (&["/a?b=c"], None),
        (&["/api/x?q=1"], None),
        (&["/api/login"], None),
        (&["/api/moved"], None),
        (&["/static/a.php"], None),
        (&["/a.php"], of_itself),
        (&["/DE/a"], None),
        (
            &["/host/"],
            Some("$host has no port, and the service is told the host as it was asked for"),
        ),
        (&["/images"], None),
        (&["/imagesque/a"], None),
        (&["/images.php"], of_itself),
        (&["/closed/a"], of_itself),
        (&["/none"], None),
        (&["--data", "x=1", "/a"], None),
        (&["--head", "/a"], None),
        (&["--request", "DELETE", "/api/x"], None),
    ];
    compare("", server, &requests).await;
}

#[tokio::test]
async fn the_same_answers_are_stored_and_for_the_same_readers() {
    let server = "location / {
            proxy_pass http://ORIGIN; proxy_set_header Host $http_host;
            proxy_cache zone; proxy_cache_valid 200 302 1h; proxy_cache_valid 404 1h;
            proxy_cache_bypass $cookie_session $arg_nocache $http_x_fresh;
            proxy_no_cache $cookie_session $arg_nocache $http_x_fresh;
            proxy_hide_header X-Powered-By; add_header X-Frame-Options DENY always;
        }
        location /plain/ { proxy_pass http://ORIGIN; proxy_set_header Host $http_host; }
        location /api/ { proxy_pass http://ORIGIN/v2/; proxy_cache zone; proxy_cache_valid any 1h; }";
    let two: [&[&str]; 16] = [
        &["/a"],
        &["/a?b"],
        &["--header", "cookie: other=1", "/a"],
        &["--header", "cookie: session=1", "/a"],
        &["--header", "x-fresh: 1", "/a"],
        &["/a?nocache=1"],
        &["--header", "cache-control: no-cache", "/a"],
        &["--head", "/a"],
        &["/none"],
        &["/moved"],
        &["/private"],
        &["/no-store"],
        &["/a-minute"],
        &["/cookie"],
        &["/broken"],
        &["/plain/a"],
    ];
    let api: [&[&str]; 3] = [&["/api/moved"], &["/api/broken"], &["/api/none"]];
    let twice = two.iter().chain(&api).flat_map(|request| [(*request, None), (*request, None)]);
    compare("", server, &twice.collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn keys_and_times_that_are_said_hold() {
    let server = "location / {
            proxy_pass http://ORIGIN; proxy_set_header Host $http_host;
            proxy_cache zone; proxy_cache_valid any 1h; proxy_ignore_headers Cache-Control;
            proxy_cache_key $scheme$host$uri$cookie_lang;
        }";
    let hides = Some("the service does not see parameters that are no part of the key");
    let holds = Some("no-store and private hold here");
    let requests: [(&[&str], _); 12] = [
        (&["/a"], None),
        (&["/a?x=1"], None),
        (&["/b?x=1"], hides),
        (&["--header", "cookie: lang=de", "/a"], None),
        (&["--header", "cookie: lang=de", "/a"], None),
        (&["--header", "cookie: lang=fr; other=1", "/a"], None),
        (&["/a-minute"], None),
        (&["/a-minute"], None),
        (&["/broken"], None),
        (&["/broken"], None),
        (&["/no-store"], None),
        (&["/no-store"], holds),
    ];
    compare("", server, &requests).await;
}

#[tokio::test]
async fn bounds_and_upgrades_are_the_same() {
    let server = "client_max_body_size 1k;
        location / { proxy_pass http://ORIGIN; proxy_set_header Host $http_host; }
        location /chat/ {
            proxy_pass http://ORIGIN; proxy_set_header Host $http_host;
            proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
        }";
    let (small, large) = ("x".repeat(1024), "x".repeat(1025));
    let asks: [&str; 4] = ["--header", "connection: upgrade", "--header", "upgrade: websocket"];
    let [plain, chat] = ["/a", "/chat/a"].map(|path| [&asks[..], &[path]].concat());
    let requests: [(&[&str], _); 4] = [
        (&["--data", &small, "/a"], None),
        (&["--data", &large, "/a"], None),
        (&plain, None),
        (&chat, None),
    ];
    compare("", server, &requests).await;
}
