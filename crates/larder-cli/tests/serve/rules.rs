//! What each rule of a route does, asked of a running gateway: beside a route without it, where the same is otherwise.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::support::{
    answer::Answer,
    eventually,
    larder::Larder,
    origin::{Origin, ok},
};

/// Routes by their rules: `/NAME/**` goes by what is said of that name, and `/plain/**` by nothing.
async fn larder(origin: &Origin, rules: &[(&str, &str)]) -> (Larder, TempDir) {
    let listeners = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    let routes = rules
        .iter()
        .map(|(name, rules)| format!("[[route]]\npath = \"/{name}/**\"\n{rules}\n"))
        .collect::<String>();
    let upstream = format!("[upstream.app]\nurl = \"http://{}\"\n", origin.address);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("larder.toml"), format!("{listeners}{upstream}{routes}")).unwrap();
    (Larder::in_folder(folder.path(), &["serve"], &[]).await, folder)
}

/// For how long an answer is fresh yet, as the cache says.
#[track_caller]
fn ttl(answer: &Answer) -> i64 {
    let said = answer.field("cache-status").unwrap();
    let ttl = said.split(';').find_map(|parameter| parameter.trim().strip_prefix("ttl="));
    ttl.unwrap_or_else(|| panic!("no time is told: {said}")).parse().unwrap()
}

/// What the service says is what stands behind the last slash of a path: each `+` is the end of a line, `_` a space, `~` a slash.
fn said_in(path: &str) -> Vec<u8> {
    let path = path.split('?').next().unwrap();
    let (status, fields) = path.rsplit('/').next().unwrap().split_once('+').unwrap();
    let fields = fields.replace('+', "\r\n").replace('_', " ").replace('~', "/");
    let fields = if fields.is_empty() { fields } else { fields + "\r\n" };
    let body = "x".repeat(2000);
    format!("HTTP/1.1 {status} So\r\ncontent-length: 2000\r\n{fields}\r\n{body}").into_bytes()
}

async fn saying() -> Origin {
    Origin::answering(|head: &str| said_in(head.split(' ').nth(1).unwrap())).await
}

#[tokio::test]
async fn what_a_rule_makes_storable_is_stored_there_and_nowhere_else() {
    let origin = saying().await;
    // By which rule, what the service says, and what the request: stored by the rule, and not without it.
    let rows = [
        ("ttl = \"1h\"", "200+", ""),
        ("ttl_override = \"1h\"", "200+cache-control:max-age=0", ""),
        ("ttl_by_status = { \"404\" = \"1h\" }", "404+", ""),
        ("ttl_by_status = { \"5xx\" = \"1h\" }", "503+", ""),
        ("heuristics = true", "200+last-modified:Sat,_01_Jan_2011_00:00:00_GMT", ""),
        ("cookies_matter = false", "200+cache-control:max-age=60", "cookie: sid=1\r\n"),
        ("ignore_cookies = [\"sid\"]", "200+cache-control:max-age=60", "cookie: sid=1\r\n"),
        ("key_cookies = [\"lang\"]", "200+cache-control:max-age=60", "cookie: lang=en\r\n"),
        ("set_cookie = \"store-without\"", "200+cache-control:max-age=60+set-cookie:sid=1", ""),
        ("path_type = \"any\"", "200+cache-control:max-age=60+content-type:text~html+x:.css", ""),
        ("obey_readers = false", "200+cache-control:max-age=60", "cache-control: no-cache\r\n"),
        ("policy = \"standard\"", "200+cache-control:max-age=60", "cookie: sid=1\r\n"),
    ];
    let names: Vec<_> = (0..rows.len()).map(|number| format!("r{number}")).collect();
    let rules: Vec<_> = names.iter().zip(rows).map(|(name, row)| (&**name, row.0)).collect();
    let (larder, _folder) = larder(&origin, &rules).await;
    for (name, (rule, said, asked)) in names.iter().zip(rows) {
        for (route, second) in [(&**name, true), ("plain", false)] {
            let path = format!("/{route}/{said}");
            larder.get_with(&path, asked).await;
            let again = larder.get_with(&path, asked).await;
            assert_eq!(again.handling() == "hit", second, "{rule}: {}", again.head);
            assert_eq!(again.body.len(), 2000, "{rule}");
        }
    }
    let dropped = larder.get(&format!("/r8/{}", rows[8].1)).await;
    assert_eq!((dropped.handling(), dropped.field("set-cookie")), ("hit", None));
}

#[tokio::test]
async fn what_a_rule_keeps_out_is_stored_elsewhere() {
    let origin = saying().await;
    let fresh = "200+cache-control:max-age=60";
    let rows = [
        ("cache = false", fresh, ""),
        ("max_body = \"1KiB\"", fresh, ""),
        ("ttl_by_status = { \"200\" = \"0s\" }", fresh, ""),
        (
            "authorization = \"pass\"",
            "200+cache-control:public,max-age=60",
            "authorization: Basic YTpi\r\n",
        ),
        ("stream = true", fresh, ""),
    ];
    let names: Vec<_> = (0..rows.len()).map(|number| format!("r{number}")).collect();
    let rules: Vec<_> = names.iter().zip(rows).map(|(name, row)| (&**name, row.0)).collect();
    let (larder, _folder) = larder(&origin, &rules).await;
    for (name, (rule, said, asked)) in names.iter().zip(rows) {
        for (route, second) in [(&**name, false), ("plain", true)] {
            let path = format!("/{route}/{said}");
            larder.get_with(&path, asked).await;
            let again = larder.get_with(&path, asked).await;
            assert_eq!(again.handling() == "hit", second, "{rule}: {}", again.head);
        }
    }
}

#[tokio::test]
async fn times_are_what_a_route_says() {
    let origin = saying().await;
    let rules = [
        ("least", "min_ttl = \"1h\""),
        ("most", "max_ttl = \"10s\""),
        ("scattered", "ttl_jitter = 0.5"),
    ];
    let (larder, _folder) = larder(&origin, &rules).await;
    let of = async |path: String| {
        larder.get(&path).await;
        let again = larder.get(&path).await;
        assert_eq!(again.handling(), "hit", "{}", again.head);
        ttl(&again)
    };
    assert!(of("/least/200+cache-control:max-age=1000".into()).await > 1000);
    assert!(of("/most/200+cache-control:max-age=1000".into()).await <= 10);
    let mut scattered = BTreeSet::new();
    for number in 0..20 {
        let ttl = of(format!("/scattered/{number}/200+cache-control:max-age=100000")).await;
        // It is told a moment after it was stored.
        assert!((49_000..=100_000).contains(&ttl), "{ttl}");
        scattered.insert(ttl / 1000);
    }
    assert!(scattered.len() > 3, "they end together: {scattered:?}");
    assert!(of("/plain/200+cache-control:max-age=100000".into()).await > 99_000);
}

#[tokio::test]
async fn keys_are_what_a_route_says() {
    let origin = saying().await;
    let rules = [
        ("field", "key_fields = [\"X-Tenant\"]"),
        ("cookie", "key_cookies = [\"lang\"]"),
        ("allow", "query_allow = [\"q\"]"),
        ("deny", "query_deny = [\"tracking\", \"s\"]"),
        ("sort", "query_sort = true"),
        ("etag", "etag = true"),
        (
            "fields",
            "response_headers = { set = { X-Said = \"here\" }, remove = [\"X-Powered-By\"] }",
        ),
    ];
    let (larder, _folder) = larder(&origin, &rules).await;
    let fresh = "200+cache-control:max-age=60+x-powered-by:y";
    // Two requests, and whether they share an answer.
    for (name, one, other, is_shared) in [
        ("field", ("", "x-tenant: a\r\n"), ("", "x-tenant: b\r\n"), false),
        ("field", ("?2", "x-tenant: a\r\n"), ("?2", "x-tenant: a\r\n"), true),
        ("plain", ("?3", "x-tenant: a\r\n"), ("?3", "x-tenant: b\r\n"), true),
        ("cookie", ("", "cookie: lang=en\r\n"), ("", "cookie: lang=de\r\n"), false),
        ("cookie", ("?2", "cookie: lang=en\r\n"), ("?2", "cookie: lang=en\r\n"), true),
        ("allow", ("?q=1&x=1", ""), ("?x=2&q=1", ""), true),
        ("allow", ("?q=1", ""), ("?q=2", ""), false),
        ("deny", ("?q=1&utm_source=1", ""), ("?s=3&q=1&gclid=2", ""), true),
        ("deny", ("?p=1", ""), ("?p=2", ""), false),
        ("sort", ("?a=1&b=2", ""), ("?b=2&a=1", ""), true),
        ("plain", ("?a=1&b=2", ""), ("?b=2&a=1", ""), false),
    ] {
        larder.get_with(&format!("/{name}/{fresh}{}", one.0), one.1).await;
        let second = larder.get_with(&format!("/{name}/{fresh}{}", other.0), other.1).await;
        assert_eq!(
            second.handling() == "hit",
            is_shared,
            "{name} {one:?} {other:?}: {}",
            second.head
        );
    }
    for is_hit in [false, true] {
        // It is of the stored bytes: the first reader's answer leaves before they are all there.
        let tagged = larder.get(&format!("/etag/{fresh}")).await;
        assert_eq!((tagged.handling() == "hit", tagged.field("etag").is_some()), (is_hit, is_hit));
        let changed = larder.get(&format!("/fields/{fresh}")).await;
        let fields = (changed.field("x-said"), changed.field("x-powered-by"));
        assert_eq!((changed.handling() == "hit", fields), (is_hit, (Some("here"), None)));
    }
    let tag = larder.get(&format!("/etag/{fresh}")).await.field("etag").unwrap().to_owned();
    let known =
        larder.get_with(&format!("/etag/{fresh}"), &format!("if-none-match: {tag}\r\n")).await;
    assert_eq!(known.status(), 304);
}

#[tokio::test]
async fn what_is_stored_is_purged_by_the_tag_that_its_path_makes() {
    let origin = saying().await;
    let fresh = "200+cache-control:max-age=60";
    let rule = "[[route]]\npath = \"/posts/{id}/{rest}\"\ntags = [\"posts\", \"post:{id}\"]\n";
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [upstream.app]\nurl = \"http://{}\"\n{rule}",
        origin.address
    );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let handling =
        async |post: u32| larder.get(&format!("/posts/{post}/{fresh}")).await.handling().to_owned();
    for (tag, gone) in
        [("post:1", [true, false]), ("post:2", [false, true]), ("posts", [true, true])]
    {
        for post in [1, 2] {
            handling(post).await;
            assert_eq!(handling(post).await, "hit", "{post}");
        }
        let purge = format!("{{\"tags\":[\"{tag}\"],\"mode\":\"hard\"}}");
        assert_eq!(larder.post_to_admin("/v1/purge", &purge).await.status(), 200);
        for (post, is_gone) in [1, 2].into_iter().zip(gone) {
            assert_eq!(handling(post).await != "hit", is_gone, "{tag}, {post}");
        }
    }
}

/// What the service does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Failing,
    Slow,
}

/// How long a slow service takes: longer than any limit here.
const SLOW: Duration = Duration::from_millis(1500);

/// Its answers are stale at once, and each is another.
async fn moody(mood: Arc<AtomicUsize>, is_asked: Arc<AtomicBool>) -> Origin {
    let asked = Arc::new(AtomicUsize::new(0));
    Origin::playing(move |mut visit| {
        let (mood, is_asked, asked) =
            (Arc::clone(&mood), Arc::clone(&is_asked), Arc::clone(&asked));
        async move {
            while visit.request().await.is_some() {
                is_asked.store(true, Relaxed);
                let number = asked.fetch_add(1, Relaxed);
                let mood = [Mood::Well, Mood::Failing, Mood::Slow][mood.load(Relaxed)];
                if mood == Mood::Slow {
                    tokio::time::sleep(SLOW).await;
                }
                let answer = match mood {
                    Mood::Failing => {
                        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_vec()
                    }
                    _ => ok("cache-control: max-age=5\r\nage: 6\r\n", number.to_string()),
                };
                visit.send(answer).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn stale_answers_are_served_where_a_route_says_so() {
    let (mood, is_asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let origin = moody(Arc::clone(&mood), Arc::clone(&is_asked)).await;
    let rules = [
        ("behind", "stale_while_revalidate = \"1h\""),
        ("error", "stale_if_error = \"1h\""),
        ("never", "stale_if_disconnected = \"0s\""),
        ("soft", "stale_if_error = \"1h\"\nsoft_timeout = \"50ms\""),
        ("hard", "stale_if_disconnected = \"0s\"\nhard_timeout = \"300ms\""),
    ];
    let (larder, _folder) = larder(&origin, &rules).await;
    // Of which route, in which mood of the service, what its reader gets, and whether that waits for a slow service.
    for (name, now, status, does_wait) in [
        ("behind", Mood::Slow, 200, false),
        ("plain", Mood::Slow, 200, true),
        ("error", Mood::Failing, 200, false),
        ("plain", Mood::Failing, 503, false),
        ("soft", Mood::Slow, 200, false),
        ("hard", Mood::Slow, 504, false),
    ] {
        let path = format!("/{name}/{now:?}");
        mood.store(Mood::Well as usize, Relaxed);
        let first = larder.get(&path).await;
        assert_eq!(first.status(), 200);
        mood.store(now as usize, Relaxed);
        is_asked.store(false, Relaxed);
        let began = Instant::now();
        let mut reader = larder.connect().await;
        reader.send(format!("GET {path} HTTP/1.1\r\nhost: larder.test\r\n\r\n")).await;
        let answer = reader.answer().await;
        assert_eq!(answer.status(), status, "{path}: {}", answer.head);
        assert!(!does_wait || began.elapsed() >= SLOW, "{path}");
        if now == Mood::Slow && !does_wait {
            assert!(began.elapsed() < SLOW, "{path} has waited for {:?}", began.elapsed());
        }
        let is_stale = status == 200 && !does_wait;
        assert_eq!(answer.text() == first.text(), is_stale, "{path}: {}", answer.head);
        eventually("the service to be asked", async || is_asked.load(Relaxed).then_some(())).await;
        // What it was asked behind ends before the mood changes.
        eventually("nothing to be under way", async || {
            (larder.metric("larder_turns_taken").await == 0.0).then_some(())
        })
        .await;
    }
    mood.store(Mood::Well as usize, Relaxed);
    let last = larder.get("/plain/gone").await;
    larder.get("/never/gone").await;
    drop(origin);
    assert_eq!(larder.get("/plain/gone").await.text(), last.text(), "it cannot be reached at all");
    assert_eq!(larder.get("/never/gone").await.status(), 502);
}
