//! Purges where requests come, in the bytes of the applications that send them, and of those who should not.

use std::{fs, net::SocketAddr, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Redis, Wire,
    answer::Answer,
    eventually,
    larder::Larder,
    nginx::Nginx,
    origin::{Origin, ok},
};

/// A gateway that runs by a file, before an origin that tags what it answers by its path.
struct Site {
    origin: Origin,
    larder: Larder,
    _folder: TempDir,
}

/// `/posts/1` has the tags `path-posts-1` and `all`, in the field of each application.
async fn tagging() -> Origin {
    Origin::answering(|head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let tag = format!("path{}", path.replace('/', "-"));
        let fields = match path {
            _ if path.starts_with("/magento") => format!("x-magento-tags: {tag},all\r\n"),
            _ if path.starts_with("/fos") => format!("x-cache-tags: {tag},all\r\n"),
            _ if path.starts_with("/drupal") => format!("cache-tags: {tag} all\r\n"),
            _ => format!("surrogate-key: {tag} all\r\n"),
        };
        ok(&format!("cache-control: max-age=600\r\n{fields}"), path)
    })
    .await
}

fn write(folder: &Path, origin: SocketAddr, text: &str) {
    fs::write(folder.join("token"), "open sesame\n").unwrap();
    let text = format!(
        "[server]\nlisten = 0\n[admin]\nlisten = 0\n[upstream.app]\nurl = \"http://{origin}\"\n{text}"
    );
    fs::write(folder.join("larder.toml"), text).unwrap();
}

impl Site {
    async fn with(text: &str) -> Site {
        let (origin, folder) = (tagging().await, tempfile::tempdir().unwrap());
        write(folder.path(), origin.address, text);
        let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
        Site { origin, larder, _folder: folder }
    }

    /// Each is stored afterwards.
    async fn filled(&self, paths: &[&str]) {
        for path in paths {
            self.larder.get(path).await;
            assert_eq!(self.larder.get(path).await.handling(), "hit", "{path}");
        }
    }

    /// How each is answered now, without asking the origin for anything.
    async fn stored(&self, paths: &[&str]) -> Vec<bool> {
        let mut stored = Vec::new();
        for path in paths {
            let answer = self.larder.get_with(path, "cache-control: only-if-cached\r\n").await;
            stored.push(answer.status() == 200);
        }
        stored
    }

    async fn say(&self, bytes: &str) -> Answer {
        say(self.larder.address, bytes).await
    }

    async fn counted(&self, outcome: &str) -> f64 {
        self.larder.metric(&format!("larder_purge_requests_total{{outcome=\"{outcome}\"}}")).await
    }
}

async fn say(address: SocketAddr, bytes: &str) -> Answer {
    let mut wire = Wire::connect(address).await;
    wire.send(bytes).await;
    wire.answer().await
}

/// By the rules of its route and of the site, whichever spelling is purged.
#[tokio::test]
async fn a_url_is_purged_under_the_key_that_its_route_makes_of_it_and_in_any_spelling_of_its_host()
{
    let text = "[purge]\nallow = [\"127.0.0.1\"]\n[[route]]\npath = \"/q/**\"\nquery_sort = true\n\
                query_deny = [\"utm_*\"]\n";
    let site = Site::with(text).await;
    let ask = async |host: &str, target: &str| {
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\ncache-control: only-if-cached\r\n\r\n"
        );
        site.say(&head).await.status() == 200
    };
    let fill = async |host: &str, target: &str| {
        site.say(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert!(ask(host, target).await, "{host} {target}");
    };
    for (host, target, purged_host, purged) in [
        ("a.test", "/q/x?b=2&a=1", "a.test", "/q/x?b=2&a=1"),
        ("a.test", "/q/x?b=2&a=1", "a.test", "/q/x?a=1&b=2"),
        ("a.test", "/q/x?a=1&utm_source=x", "a.test", "/q/x?utm_source=x&a=1"),
        ("a.test", "/q/x?a=1", "A.test.:80", "/q/x?utm_source=x&a=1"),
        ("a.test", "/x", "a.test.", "/x"),
        ("[::1]", "/x", "[0:0:0:0:0:0:0:1]", "/x"),
    ] {
        let what = format!("{host}{target} by {purged_host}{purged}");
        fill(host, target).await;
        let said =
            site.say(&format!("PURGE {purged} HTTP/1.1\r\nHost: {purged_host}\r\n\r\n")).await;
        assert_eq!(said.status(), 200, "{what}");
        assert!(!ask(host, target).await, "{what}: {}", said.text());
        // And so by the admin API, with and without a scheme.
        for scheme in ["http://", "//", ""] {
            fill(host, target).await;
            let body =
                json!({ "keys": [format!("{scheme}{purged_host}{purged}")], "mode": "hard" });
            let said = site.larder.post_to_admin("/v1/purge", &body.to_string()).await;
            assert!(!ask(host, target).await, "{what} {scheme}: {}", said.text());
        }
    }
    // Where nothing is stored by that route, the order matters.
    fill("a.test", "/x?b=2&a=1").await;
    site.say("PURGE /x?a=1&b=2 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(ask("a.test", "/x?b=2&a=1").await);
}

fn purge(path: &str, fields: &str) -> String {
    format!("PURGE {path} HTTP/1.1\r\nHost: larder.test\r\n{fields}\r\n")
}

const ALLOWED: &str = "[purge]\nallow = [\"127.0.0.1\"]\nmode = \"hard\"\n";

#[tokio::test]
async fn each_application_purges_what_it_means_and_nothing_else() {
    let site = Site::with(ALLOWED).await;
    // What is sent, as the application writes it; what is there; what of it is left.
    type Row<'a> = (&'a str, &'a str, &'a [&'a str], &'a [bool]);
    let rows: [Row<'_>; 12] = [
        (
            "W3 Total Cache",
            "PURGE /posts/1 HTTP/1.1\r\nHost: larder.test\r\nUser-Agent: W3 Total Cache\r\nConnection: close\r\n\r\n",
            &["/posts/1", "/posts/12"],
            &[false, true],
        ),
        (
            "Proxy Cache Purge, one page",
            "PURGE /posts/1 HTTP/1.1\r\nHost: larder.test\r\nUser-Agent: WordPress/6.6; https://larder.test\r\n\
             Accept: */*\r\nAccept-Encoding: deflate, gzip\r\nX-Purge-Method: default\r\nConnection: close\r\n\r\n",
            &["/posts/1", "/posts/2"],
            &[false, true],
        ),
        (
            "Proxy Cache Purge, all of a site",
            "PURGE /.* HTTP/1.1\r\nHost: larder.test\r\nUser-Agent: WordPress/6.6; https://larder.test\r\n\
             Accept: */*\r\nX-Purge-Method: regex\r\nConnection: close\r\n\r\n",
            &["/", "/posts/1"],
            &[false, false],
        ),
        (
            "Magento, by tag",
            "PURGE / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAccept-encoding: gzip, deflate\r\n\
             X-Magento-Tags-Pattern: ((^|,)path-magento-1(,|$))|((^|,)path-magento-2(,|$))\r\n\r\n",
            &["/magento/1", "/magento/2", "/magento/3"],
            &[false, false, true],
        ),
        (
            "Magento, everything",
            "PURGE / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Magento-Tags-Pattern: .*\r\n\r\n",
            &["/magento/1", "/posts/1"],
            &[false, false],
        ),
        (
            "FOSHttpCache, one page",
            "PURGE /fos/1 HTTP/1.1\r\nHost: larder.test\r\nUser-Agent: GuzzleHttp/7\r\n\r\n",
            &["/fos/1", "/fos/2"],
            &[false, true],
        ),
        (
            "FOSHttpCache, tags by ban",
            "BAN / HTTP/1.1\r\nHost: larder.test\r\nX-Host: .*\r\nX-Url: .*\r\nX-Content-Type: .*\r\n\
             X-Cache-Tags: (^|,)(path\\-fos\\-1)(,|$)\r\n\r\n",
            &["/fos/1", "/fos/2"],
            &[false, true],
        ),
        (
            "FOSHttpCache, paths by ban",
            "BAN / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Host: ^(larder\\.test)$\r\nX-Url: /fos/.*\\.png$\r\n\
             X-Content-Type: .*\r\n\r\n",
            &["/fos/1.png", "/en/fos/2.png", "/fos/3.html"],
            &[false, false, true],
        ),
        (
            "FOSHttpCache, xkey",
            "PURGEKEYS / HTTP/1.1\r\nHost: larder.test\r\nxkey-purge: path-fos-1 path-fos-2\r\n\r\n",
            &["/fos/1", "/fos/2", "/fos/3"],
            &[false, false, true],
        ),
        (
            "FOSHttpCache, Symfony's cache",
            "PURGETAGS / HTTP/1.1\r\nHost: larder.test\r\nX-Cache-Tags: path-fos-1,path-fos-2\r\n\r\n",
            &["/fos/1", "/fos/2", "/fos/3"],
            &[false, false, true],
        ),
        (
            "Drupal's purge module",
            "BAN / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: varnish_purger module for Drupal 8.\r\n\
             Cache-Tags: path-drupal-1|path-drupal-2\r\n\r\n",
            &["/drupal/1", "/drupal/2", "/drupal/3"],
            &[false, false, true],
        ),
        (
            "a pattern",
            "PURGE /posts/*.html HTTP/1.1\r\nHost: larder.test\r\n\r\n",
            &["/posts/1.html", "/posts/a/b.html", "/posts/1.txt"],
            &[false, false, true],
        ),
    ];
    let (count, mut requests) = (rows.len(), 0);
    for (application, bytes, paths, left) in rows {
        site.filled(paths).await;
        requests = site.origin.requests().len();
        let answer = site.say(bytes).await;
        assert_eq!(answer.status(), 200, "{application}: {} {}", answer.head, answer.text());
        assert!(answer.text().contains("\"receipts\":[{"), "{}", answer.text());
        assert_eq!(site.stored(paths).await, left, "{application}");
        // The next application finds nothing of it.
        site.say(&purge("/*", "")).await;
    }
    assert_eq!(site.origin.requests().len(), requests, "the service has seen no purge");
    assert_eq!(site.counted("made").await, 2.0 * count as f64);
}

#[tokio::test]
async fn without_a_word_in_the_configuration_purge_is_a_method_like_any_other() {
    let site = Site::with("").await;
    let answer = site.say(&purge("/posts/1", "authorization: Bearer open sesame\r\n")).await;
    assert_eq!((answer.status(), answer.text()), (200, "/posts/1"));
    assert!(
        site.origin.requests()[0].starts_with("PURGE /posts/1 "),
        "{:?}",
        site.origin.requests()
    );
}

#[tokio::test]
async fn a_token_is_asked_for_and_goes_no_further() {
    let site = Site::with("[purge]\ntoken_file = \"token\"\n").await;
    site.filled(&["/a"]).await;
    let refused = site.say(&purge("/a", "")).await;
    assert_eq!(refused.status(), 401, "{}", refused.head);
    assert!(refused.field("www-authenticate").unwrap().starts_with("Bearer"), "{}", refused.head);
    assert_eq!(refused.field("content-type"), Some("application/problem+json"));
    for smuggled in [
        "authorization: Bearer wrong\r\n",
        "authorization: Bearer wrong\r\nauthorization: Bearer open sesame\r\n",
        "authorization: Basic open sesame\r\n",
        "cookie: token=open sesame\r\n",
        "x-purge-token: open sesame\r\n",
    ] {
        assert_eq!(site.say(&purge("/a", smuggled)).await.status(), 401, "{smuggled}");
    }
    assert_eq!(site.stored(&["/a"]).await, [true]);
    let made = site.say(&purge("/a", "Fastly-Key: open sesame\r\n")).await;
    assert_eq!(made.status(), 200, "{}", made.text());
    let made = site.say(&purge("/a", "Authorization: Bearer open sesame\r\n")).await;
    assert_eq!(made.status(), 200, "{}", made.text());
    assert_eq!(site.origin.requests().len(), 1, "{:?}", site.origin.requests());
    // Whoever guesses on is not listened to any more.
    let mut last = 0;
    for _ in 0..20 {
        last = site.say(&purge("/a", "fastly-key: guess\r\n")).await.status();
    }
    assert_eq!(last, 429);
    let right = site.say(&purge("/a", "fastly-key: open sesame\r\n")).await;
    assert_eq!(right.status(), 429);
    assert!(right.field("retry-after").is_some(), "{}", right.head);
    assert!(!site.larder.log().contains("sesame"), "{}", site.larder.log());
}

#[tokio::test]
async fn only_clients_that_are_known_purge_whatever_they_say_of_themselves() {
    let direct = Site::with("[purge]\nallow = [\"192.0.2.0/24\"]\n").await;
    for spoofed in ["", "x-forwarded-for: 192.0.2.7\r\n", "forwarded: for=192.0.2.7\r\n"] {
        assert_eq!(direct.say(&purge("/a", spoofed)).await.status(), 403, "{spoofed}");
    }
    // A proxy that is not trusted, on an address that may purge, asks for anybody.
    let local = Site::with(ALLOWED).await;
    for proxied in ["x-forwarded-for: 192.0.2.7\r\n", "via: 1.1 a\r\n", "x-real-ip: 127.0.0.1\r\n"]
    {
        assert_eq!(local.say(&purge("/a", proxied)).await.status(), 403, "{proxied}");
    }
    assert_eq!(local.say(&purge("/a", "")).await.status(), 200);
    assert_eq!(local.counted("refused").await, 3.0);
    assert_eq!(direct.origin.requests().len() + local.origin.requests().len(), 0);
}

#[tokio::test]
async fn behind_nginx_the_client_that_it_names_counts() {
    let trusted = "trusted_peers = [\"127.0.0.1\"]\n";
    let (origin, folder) = (tagging().await, tempfile::tempdir().unwrap());
    write(folder.path(), origin.address, "[purge]\nallow = [\"192.0.2.7\"]\n");
    let file = folder.path().join("larder.toml");
    let text = fs::read_to_string(&file)
        .unwrap()
        .replace("listen = 0\n[admin]", &format!("listen = 0\n{trusted}[admin]"));
    fs::write(&file, text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let pass = format!("proxy_pass http://{}; proxy_set_header Host $host;", larder.address);
    // The test says who it is to nginx, which tells it in its own words.
    let server = format!(
        "set_real_ip_from 127.0.0.1; real_ip_header X-Test-Client;
         location / {{ {pass} proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }}
         location /silent {{ {pass} proxy_set_header X-Forwarded-For \"\"; }}"
    );
    let nginx = Nginx::start("", &server).await;
    let asked = async |path: &str, client: &str, spoofed: &str| {
        say(
            nginx.address,
            &purge(path, &format!("x-test-client: {client}\r\n{spoofed}connection: close\r\n")),
        )
        .await
        .status()
    };
    assert_eq!(asked("/a", "192.0.2.7", "").await, 200);
    assert_eq!(asked("/a", "192.0.2.8", "").await, 403);
    assert_eq!(asked("/a", "192.0.2.8", "x-forwarded-for: 192.0.2.7\r\n").await, 403);
    assert_eq!(asked("/silent", "192.0.2.7", "").await, 403);
}

#[tokio::test]
async fn a_flood_of_purges_is_turned_away_and_readers_are_served() {
    let site = Site::with("[purge]\nallow = [\"127.0.0.1\"]\nrate = 1\n").await;
    site.filled(&["/other"]).await;
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(site.say(&purge("/a", "")).await.status());
    }
    let made = statuses.iter().filter(|status| **status == 200).count();
    assert!(made >= 10 && statuses.contains(&429), "{statuses:?}");
    let limited = statuses.len() - made;
    assert_eq!(site.counted("limited").await, limited as f64, "{statuses:?}");
    assert_eq!(site.larder.get("/other").await.handling(), "hit");
}

#[tokio::test]
async fn what_cannot_be_purged_is_refused_and_nothing_is() {
    let site = Site::with(ALLOWED).await;
    site.filled(&["/a"]).await;
    let many = "*b".repeat(1000);
    let rows = [
        (format!("/{many}"), ""),
        ("/a".to_owned(), "x-magento-tags-pattern: cat_[0-9]+\r\n"),
        ("/a".to_owned(), "xkey: \r\n"),
        ("/a".to_owned(), "surrogate-key: \r\n"),
        ("/a".to_owned(), "surrogate-key: a, b\r\n"),
        ("/a".to_owned(), "cache-tag: a b\r\n"),
        ("/a".to_owned(), "x-url: (((\r\n"),
    ];
    for (path, fields) in &rows {
        let answer = site.say(&purge(path, fields)).await;
        assert_eq!(answer.status(), 422, "{path:.20} {fields}: {}", answer.text());
    }
    assert_eq!(site.counted("not_understood").await, rows.len() as f64);
    assert_eq!(site.stored(&["/a"]).await, [true]);
}

#[tokio::test]
async fn who_sends_a_purge_and_leaves_has_purged() {
    let site = Site::with(ALLOWED).await;
    site.filled(&["/a", "/b/c"]).await;
    for path in ["/a", "/b/*"] {
        let mut wire = Wire::connect(site.larder.address).await;
        wire.send(purge(path, "")).await;
        drop(wire);
    }
    eventually("both to be gone", async || {
        (site.stored(&["/a", "/b/c"]).await == [false, false]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_soft_purge_leaves_what_may_stand_in() {
    let site = Site::with("[purge]\nallow = [\"127.0.0.1\"]\n").await;
    site.filled(&["/a"]).await;
    let answer = site.say(&purge("/a", "Fastly-Soft-Purge: 1\r\n")).await;
    let told: Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!((&told["purged"], &told["mode"]), (&json!(1), &json!("soft")), "{told}");
    assert_ne!(site.larder.get("/a").await.handling(), "hit");
    assert_eq!(site.origin.requests().len(), 2);
}

#[tokio::test]
async fn a_purge_at_one_gateway_reaches_the_other_also_by_pattern() {
    let redis = Redis::start().await;
    let (origin, folder) = (tagging().await, tempfile::tempdir().unwrap());
    write(
        folder.path(),
        origin.address,
        &format!("{ALLOWED}[shared]\nurl = \"{}\"\n", redis.url()),
    );
    let one = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let other = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let hits = async |larder: &Larder, path: &str| {
        eventually("a hit", async || (larder.get(path).await.handling() == "hit").then_some(()))
            .await;
    };
    for (asked, fields) in [
        ("/posts/1", ""),
        ("/posts/*", ""),
        ("/posts/*1", ""),
        ("/", "surrogate-key: path-posts-1\r\n"),
    ] {
        for larder in [&one, &other] {
            hits(larder, "/posts/1").await;
        }
        let before = origin.requests().len();
        let answer = say(one.address, &purge(asked, fields)).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let told: Value = serde_json::from_str(answer.text()).unwrap();
        let shared = &told["receipts"][0]["tiers"][1];
        assert_eq!(shared["tier"], "shared", "{told}");
        // A pattern is more there than here.
        let is_more = shared["what"].as_str().is_some_and(|what| what.starts_with("prefix "));
        assert_eq!(is_more, asked == "/posts/*1", "{told}");
        eventually("the other to have heard", async || {
            let answer = other.get_with("/posts/1", "cache-control: only-if-cached\r\n").await;
            (answer.status() == 504).then_some(())
        })
        .await;
        one.get("/posts/1").await;
        assert_eq!(origin.requests().len(), before + 1, "{asked} {fields}");
    }
}
