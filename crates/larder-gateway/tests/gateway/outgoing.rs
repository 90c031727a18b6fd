//! What goes out to caches outside: every way an answer comes about, to those who may know its tags and to strangers.

use std::{net::IpAddr, num::NonZeroUsize, time::Duration};

use larder::{
    Cache,
    http::{
        HttpCache, Policy, Variants,
        policy::{
            outgoing::{ControlField, Outgoing},
            settings::SetCookie,
            tags_out::{TagField, tag_out},
        },
    },
};
use larder_gateway::{
    Gateway, GatewayConfig, ListenerRules, Loops, Server, ServerConfig, upstream::UpstreamConfig,
};
use tokio_util::sync::CancellationToken;

use crate::support::{Origin, Wire, eventually, field, program::curl, status, upstream};

const BODY: &str = "abcdefghij";

/// An origin, and two gateways with one cache before it: one believes its peers, the other nobody.
struct Site {
    cache: HttpCache,
    trusting: String,
    strange: String,
    _origin: Origin,
    _loops: Loops,
    stop: CancellationToken,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Site {
    async fn with(policy: Policy, origin: Origin) -> Site {
        let store = Cache::<Variants>::builder().max_bytes(16 << 20).build();
        let cache = HttpCache::new(store, policy);
        let loops = Loops::start(NonZeroUsize::MIN).unwrap();
        let stop = CancellationToken::new();
        let start = |trusted: Option<IpAddr>| {
            let trusted_peers = trusted.into_iter().collect();
            let listeners = vec![ListenerRules { trusted_peers, ..ListenerRules::default() }];
            let config = GatewayConfig { listeners, ..GatewayConfig::default() };
            let upstream = upstream(origin.address, UpstreamConfig::default());
            let gateway = Gateway::new(&cache, upstream, config);
            let bound = Server::bind(([127, 0, 0, 1], 0).into(), ServerConfig::default()).unwrap();
            let url = format!("http://{}", bound.address());
            bound.serve_on(&loops, gateway.clone(), gateway, stop.clone());
            url
        };
        let trusting = start(Some([127, 0, 0, 1].into()));
        let strange = start(None);
        Site { cache, trusting, strange, _origin: origin, _loops: loops, stop }
    }

    /// Head and body of an answer, asked for by one name at both.
    async fn ask(&self, at: &str, path: &str, options: &[&str]) -> (String, String) {
        let url = format!("{at}{path}");
        let mut words = vec!["-i", "-H", "host: a.example"];
        words.extend(options);
        words.push(&url);
        let told = curl(&words).await;
        let (head, body) = told.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    async fn stored(&self, path: &str) {
        let key = format!("http://a.example{path}");
        eventually("an answer to be stored", async || {
            self.cache.cache().get(key.as_str()).map(drop)
        })
        .await;
    }
}

/// Says by its path what is asked of it.
async fn play(mut wire: Wire, _: usize) {
    while wire.has_more().await {
        let head = wire.head().await;
        let path = head.split(' ').nth(1).unwrap();
        let fields = match path {
            "/private" => "cache-control: private\r\nset-cookie: a=1\r\nsurrogate-key: own\r\n",
            "/cookie" => "cache-control: max-age=60\r\nset-cookie: a=1\r\nsurrogate-key: own\r\n",
            "/qualified" => "cache-control: max-age=60, private=\"x-user\"\r\nx-user: me\r\n",
            "/aged" => {
                "age: 100\r\ncache-control: public, max-age=60, stale-while-revalidate=600\r\n\
                 x-accel-expires: 600\r\nexpires: Sun, 06 Nov 2094 08:49:37 GMT\r\netag: \"1\"\r\n"
            }
            "/checked" => "cache-control: no-cache, max-age=60\r\netag: \"1\"\r\n",
            _ => {
                "cache-control: public, max-age=60, stale-while-revalidate=600\r\n\
                 cdn-cache-control: max-age=50, stale-while-revalidate=600\r\netag: \"1\"\r\nsurrogate-key: Post:1 own\r\n"
            }
        };
        // Who has it is told so; a refresh that never ends leaves what is stale as it is.
        if head.contains("if-none-match") || head.contains("If-None-Match") {
            std::future::pending::<()>().await;
        }
        let length = BODY.len();
        let text = format!("HTTP/1.1 200 OK\r\n{fields}content-length: {length}\r\n\r\n{BODY}");
        wire.send(text).await;
    }
}

fn rules() -> Outgoing {
    let fields = [ControlField::CdnCacheControl, ControlField::SurrogateControl];
    let said = Outgoing::default().control("max-age=3600", &fields).unwrap();
    said.tags(vec![TagField::SurrogateKey, TagField::CdnTag])
}

fn policy() -> Policy {
    Policy::guarded().outgoing(rules()).set_cookie(SetCookie::StoreWithout)
}

fn told<'a>(head: &'a str, name: &str) -> &'a str {
    field(head, name).unwrap_or("-")
}

#[tokio::test]
async fn every_way_an_answer_comes_about_tells_the_same() {
    let site = Site::with(policy(), Origin::playing(play).await).await;
    let (space, comma) = {
        let mut tags = ["own".to_owned(), tag_out("Post:1").into_owned()];
        tags.sort_unstable();
        (tags.join(" "), tags.join(","))
    };
    const FRESH: &str = "public, max-age=60, stale-while-revalidate=600";
    let ways: [(&str, &[&str], u16); 6] = [
        ("a hit", &[], 200),
        ("a hit in HTTP/2", &["--http2-prior-knowledge"], 200),
        ("a 304", &["-H", "if-none-match: \"1\""], 304),
        ("HEAD", &["--head"], 200),
        ("a range", &["-H", "range: bytes=2-4"], 206),
        ("several ranges", &["-H", "range: bytes=0-1,4-5"], 206),
    ];
    let check = |way: &str, head: &str, is_trusted: bool, is_fresh: bool| {
        let expected = match is_fresh {
            true => ("max-age=3600", "max-age=3600", FRESH),
            false => ("max-age=0", "max-age=0", "public, max-age=0"),
        };
        let control = told(head, "cdn-cache-control");
        let said = (control, told(head, "surrogate-control"), told(head, "cache-control"));
        assert_eq!(said, expected, "{way}: {head}");
        let expected = if is_trusted { (&*space, &*comma) } else { ("-", "-") };
        let said = (told(head, "surrogate-key"), told(head, "cdn-tag"));
        assert_eq!(said, expected, "{way} {is_trusted}: {head}");
    };
    for (at, is_trusted) in [(&site.trusting, true), (&site.strange, false)] {
        let path = if is_trusted { "/trusted" } else { "/strange" };
        let (head, body) = site.ask(at, path, &[]).await;
        assert_eq!(body, BODY);
        check("a miss", &head, is_trusted, true);
        site.stored(path).await;
        for (way, options, expected) in &ways {
            let (head, _) = site.ask(at, path, options).await;
            assert_eq!(status(&head.replace("HTTP/2 ", "HTTP/1.1 ")), *expected, "{way}: {head}");
            check(way, &head, is_trusted, true);
        }
        // From now on it is stale, by a purge: younger than its origin says it may be.
        site.cache.cache().soft_purge_tag("own");
        for (way, options, expected) in &ways {
            let (head, _) = site.ask(at, path, options).await;
            assert_eq!(status(&head.replace("HTTP/2 ", "HTTP/1.1 ")), *expected, "{way}: {head}");
            assert!(told(&head, "cache-status").contains("stale"), "{way}: {head}");
            check(&format!("stale, {way}"), &head, is_trusted, false);
        }
    }
    // The same bytes, whoever has brought them.
    let (head, _) = site.ask(&site.strange, "/fresh", &[]).await;
    check("a miss", &head, false, true);
    site.stored("/fresh").await;
    let (head, _) = site.ask(&site.trusting, "/fresh", &[]).await;
    check("a hit on what a stranger brought", &head, true, true);
    let (head, _) = site.ask(&site.strange, "/fresh", &[]).await;
    check("a hit", &head, false, true);
}

#[tokio::test]
async fn what_may_be_one_reader_s_is_offered_to_no_cache_outside() {
    let site = Site::with(policy(), Origin::playing(play).await).await;
    for (path, control) in [
        ("/private", "-"),
        // Its reader gets the cookie, and who asks later does not.
        ("/cookie", "-"),
        ("/qualified", "-"),
        // It is to be asked for each time, here and there.
        ("/checked", "max-age=0"),
    ] {
        let (head, _) = site.ask(&site.strange, path, &[]).await;
        assert_eq!(told(&head, "cdn-cache-control"), control, "{path}: {head}");
        assert_eq!(told(&head, "surrogate-key"), "-", "{path}: {head}");
    }
    site.stored("/cookie").await;
    let (head, _) = site.ask(&site.strange, "/cookie", &[]).await;
    let said = (told(&head, "set-cookie"), told(&head, "cdn-cache-control"));
    assert_eq!(said, ("-", "max-age=3600"), "{head}");
    let (head, _) = site.ask(&site.trusting, "/private", &[]).await;
    assert_eq!((told(&head, "surrogate-key"), told(&head, "cdn-cache-control")), ("own", "-"));
}

#[tokio::test]
async fn without_rules_all_goes_out_as_the_origin_sent_it_but_what_was_purged_is_fresh_to_nobody() {
    let site = Site::with(Policy::guarded(), Origin::playing(play).await).await;
    let fresh = "public, max-age=60, stale-while-revalidate=600";
    for _ in 0..2 {
        let (head, _) = site.ask(&site.strange, "/a", &[]).await;
        let said = (told(&head, "surrogate-key"), told(&head, "cache-control"));
        assert_eq!(said, ("Post:1 own", fresh), "{head}");
        let said = told(&head, "cdn-cache-control");
        assert_eq!(said, "max-age=50, stale-while-revalidate=600");
        site.stored("/a").await;
    }
    site.cache.cache().soft_purge_tag("own");
    let (head, _) = site.ask(&site.strange, "/a", &[]).await;
    let said = (told(&head, "cdn-cache-control"), told(&head, "cache-control"));
    assert_eq!(said, ("max-age=0", "public, max-age=0"), "{head}");
}

#[tokio::test]
async fn what_is_older_than_it_may_be_is_fresh_to_nobody_who_looks_at_no_age() {
    let site = Site::with(Policy::guarded(), Origin::playing(play).await).await;
    // As the service has sent it, which its reader may have.
    let (head, _) = site.ask(&site.strange, "/aged", &[]).await;
    assert_eq!(told(&head, "x-accel-expires"), "600", "{head}");
    site.stored("/aged").await;
    let (head, _) = site.ask(&site.strange, "/aged", &[]).await;
    assert!(told(&head, "cache-status").contains("stale"), "{head}");
    let said = ["x-accel-expires", "expires", "cache-control"].map(|name| told(&head, name));
    assert_eq!(said, ["0", "-", "public, max-age=0"], "{head}");
}

#[tokio::test]
async fn tags_that_do_not_fit_are_counted_and_the_answer_says_so() {
    let tags: Vec<String> = (0..80).map(|number| format!("t{number:03}")).collect();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\nsurrogate-key: {}\r\ncontent-length: 1\r\n\r\na",
        tags.join(" ")
    );
    let site = Site::with(policy(), Origin::saying(answer).await).await;
    let (head, _) = site.ask(&site.trusting, "/a", &[]).await;
    let told: Vec<&str> = told(&head, "surrogate-key").split(' ').collect();
    assert_eq!((told.len(), told.last()), (50, Some(&"larder-overflow")));
    assert_eq!(site.cache.cache().stats().tags_left_out, 31);
}

/// Answers with `Last-Modified` or without, and shows what it was asked by.
async fn without_tag(mut wire: Wire, _: usize) {
    while wire.has_more().await {
        let head = wire.head().await;
        let asked = ["if-none-match", "if-match", "if-range", "range", "if-modified-since"]
            .map(|name| format!("{name}={}", field(&head, name).unwrap_or("-")))
            .join("; ");
        let body = if head.contains("/changing") { asked.as_str() } else { BODY };
        let date = match head.contains("/dated") {
            true => "last-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            false => "",
        };
        if head.contains("/dated") && field(&head, "if-modified-since").is_some() {
            let text = format!(
                "HTTP/1.1 304 Not Modified\r\ncache-control: max-age=0\r\nx-asked: {asked}\r\n\r\n"
            );
            wire.send(text).await;
            continue;
        }
        let age = if head.contains("/kept") { 60 } else { 0 };
        let text = format!(
            "HTTP/1.1 200 OK\r\ncache-control: max-age={age}\r\n{date}x-asked: {asked}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        wire.send(text).await;
    }
}

#[tokio::test]
async fn where_the_origin_gives_no_tag_the_bytes_do_and_the_origin_is_never_asked_by_it() {
    let policy = Policy::guarded().own_tags(true).default_stale_while_revalidate(Duration::ZERO);
    let site = Site::with(policy, Origin::playing(without_tag).await).await;
    let at = site.strange.clone();
    let (head, _) = site.ask(&at, "/kept", &[]).await;
    assert_eq!(told(&head, "etag"), "-", "before its bytes are here it has none");
    site.stored("/kept").await;
    let (head, _) = site.ask(&at, "/kept", &[]).await;
    let tag = told(&head, "etag").to_owned();
    assert!(tag.starts_with("\"larder-") && tag.len() == 41, "{head}");
    let named = format!("if-none-match: {tag}");
    let (head, body) = site.ask(&at, "/kept", &["-H", &named]).await;
    assert_eq!((status(&head), &*body, told(&head, "etag")), (304, "", &*tag));
    let ranged = format!("if-range: {tag}");
    let (head, body) = site.ask(&at, "/kept", &["-H", &ranged, "-H", "range: bytes=2-3"]).await;
    assert_eq!((status(&head), &*body), (206, "cd"));
    let (head, _) = site.ask(&at, "/kept?other", &[]).await;
    assert_eq!(status(&head), 200);
    site.stored("/kept?other").await;
    let (head, _) = site.ask(&at, "/kept?other", &[]).await;
    assert_eq!(told(&head, "etag"), tag, "the same bytes have the same tag");

    // What passes, and what is asked for anew.
    let (_, body) = site.ask(&at, "/changing", &["-H", &named, "-X", "POST"]).await;
    assert!(body.starts_with("if-none-match=-; if-match=-"), "{body}");
    let matched = format!("if-match: \"1\", {tag}");
    let (_, body) = site.ask(&at, "/changing", &["-H", &matched, "-X", "PUT"]).await;
    assert!(body.contains("if-match=\"1\"; "), "the service's own stays: {body}");
    // A version that the service cannot know is no last one, and nothing is overwritten by chance.
    let matched = format!("if-match: {tag}");
    let (head, body) = site.ask(&at, "/changing", &["-H", &matched, "-X", "PUT"]).await;
    assert_eq!(status(&head), 412, "{head}");
    assert!(body.contains("a cache on the way"), "{body}");
    let both = ["-H", &*ranged, "-H", "range: bytes=1-", "-H", "cache-control: no-store"];
    let (head, body) = site.ask(&at, "/changing?ranged", &both).await;
    assert_eq!(status(&head), 200);
    assert!(body.contains("if-range=-; range=-"), "{body}");

    // Validated by its date alone, it keeps its tag.
    site.ask(&at, "/dated", &[]).await;
    site.stored("/dated").await;
    for _ in 0..2 {
        let (head, body) = site.ask(&at, "/dated", &[]).await;
        let asked = "if-none-match=-; if-match=-; if-range=-; range=-; if-modified-since=Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!((told(&head, "x-asked"), &*body), (asked, BODY), "{head}");
        assert_eq!(told(&head, "etag"), tag, "{head}");
    }
}
