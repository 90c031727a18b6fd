//! What `POST /v1/explain` tells of a request is what the next one finds: by random routes, in random states.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Full};
use larder::http::policy::{cache_status::CacheStatus, reason::Reason};
use larder_admin::Admin;
use larder_gateway::config;
use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestRunner};
use serde_json::{Value, json};
use tower::Service;

use crate::{
    explained::{conditions, rules},
    site::{Reader, service, settings},
};

/// What is done before the next question.
#[derive(Clone, Debug)]
enum Doing {
    Ask(&'static str, &'static str, &'static str, Vec<(&'static str, &'static str)>),
    Purge(Value),
}

/// The fence of the last write stands here.
const FENCE: &str = "FENCE";

fn doing() -> impl Strategy<Value = Doing> {
    let method = select(vec!["GET", "GET", "GET", "GET", "POST", "DELETE"]);
    let path = select(vec![
        "/a",
        "/a",
        "/a/b",
        "/silent/a",
        "/private",
        "/cookie",
        "/missing",
        "/de/7",
        "/stale",
    ]);
    let query = select(vec!["", "", "?b=1&a=2", "?utm_source=x&a=2&b=1", "?preview=1"]);
    let fields = select(vec![
        vec![],
        vec![],
        vec![("x-beta", "1")],
        vec![("cookie", "lang=de")],
        vec![("cookie", "session=1")],
        vec![("authorization", "Basic eDp5")],
        vec![("cache-control", "no-cache")],
        vec![("cache-control", "only-if-cached")],
        vec![("range", "bytes=0-2")],
        vec![("if-none-match", "\"x\"")],
        vec![("connection", "upgrade"), ("upgrade", "websocket")],
        vec![("connection", "upgrade"), ("upgrade", "other")],
        vec![("connection", "x-beta"), ("x-beta", "1")],
        vec![("cookie", FENCE)],
        vec![("larder-fence", "none")],
        vec![("cookie", "Larder-Fence=none; lang=de")],
        vec![("max-forwards", "0")],
    ]);
    let asked = (method, path, query, fields);
    let purge = select(vec![
        json!({ "all": true }),
        json!({ "all": true, "mode": "hard" }),
        json!({ "keys": ["http://any.test/a"] }),
        json!({ "keys": ["http://any.test/a"], "mode": "hard" }),
        json!({ "prefix": "http://any.test/a/" }),
    ]);
    prop_oneof![
        8 => asked.prop_map(|(method, path, query, fields)| Doing::Ask(method, path, query, fields)),
        1 => purge.prop_map(Doing::Purge),
    ]
}

async fn post<R, B>(router: &mut R, path: &str, body: &Value) -> Value
where
    R: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: HttpBody,
    B::Error: std::fmt::Debug,
{
    let request = Request::post(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    let answer = router.call(request).await.unwrap();
    let (status, body) = (answer.status(), answer.into_body().collect().await.unwrap().to_bytes());
    assert!(status.is_success(), "{path}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

/// What the answer says of the whole of which a reader is told.
fn is_as_told(told: &Value, said: &str, status: u16) -> Result<(), String> {
    let word = |pointer: &str| told.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == word("/verdict/reason"));
    let detail = format!(";detail={}", word("/verdict/reason"));
    // `fwd=uri-miss`, say: why the service was asked. What came of it is beyond what can be told before.
    let forwarded = reason.map(|reason| CacheStatus::forwarded(reason, None).to_field());
    let forwarded = forwarded.as_deref().and_then(|field| field.split(';').nth(1));
    let is_so = match word("/verdict/verdict") {
        "hit" | "stale" => said.starts_with("Larder;hit") && said.contains(&detail),
        "miss" | "pass" => forwarded.is_some_and(|fwd| said.split(';').any(|part| part == fwd)),
        "refused" => {
            !said.contains(";hit") && !said.contains(";fwd") && (status == 200 || status >= 300)
        }
        other => return Err(format!("there is no verdict {other}")),
    };
    if !is_so {
        return Err("another verdict or reason".to_owned());
    }
    let is_stored = word("/verdict/verdict") != "pass" && word("/verdict/verdict") != "refused";
    let key = format!("key=\"{}\"", word("/key/key"));
    if is_stored && !said.contains(&key) { Err("another key".to_owned()) } else { Ok(()) }
}

#[test]
fn what_is_told_of_a_request_is_what_becomes_of_the_next() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let (one, two) = runtime.block_on(async { (service("one").await, service("two").await) });
    let route = (conditions(), rules())
        .prop_map(|(conditions, rules)| format!("[[route]]\n{conditions}{rules}"));
    let cases = (rules(), vec(route, 0..4), vec(doing(), 1..12));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(100));
    let found = runner.run(&cases, |(defaults, routes, doings)| {
        let defaults = match defaults.contains("upstream") {
            true => defaults,
            false => format!("upstream = \"one\"\n{defaults}"),
        };
        let text = format!(
            "[upstream.one]\nurl = \"{}\"\n[upstream.two]\nurl = \"{}\"\n[defaults]\n{defaults}{}",
            one.url(),
            two.url(),
            routes.concat(),
        );
        let (config, places, mistakes) = config::read_on("larder.toml".as_ref(), &text);
        prop_assert!(mistakes.is_empty(), "{text}\n{mistakes:?}");
        if config::Settings::of(&config, &places, config::Secrets::default()).is_err() {
            return Ok(());
        }
        let (mut settings, _) = settings(&text);
        let writes =
            larder_gateway::gateway::ReadYourWrites::new("secret", Duration::from_secs(10));
        settings.gateway.read_your_writes = Some(writes);
        let first = Reader::of(&settings);
        let admin = Admin::new().http_cache(first.cache()).explain_with(first.gateway().clone());
        let mut router = admin.router();
        let mut fence = "Larder-Fence=none".to_owned();
        let mut before = Vec::new();
        for doing in doings {
            let context = format!("{text}\nafter {before:?}\n{doing:?}");
            before.push(doing.clone());
            let (method, path, query, fields) = match doing {
                Doing::Ask(method, path, query, fields) => (method, path, query, fields),
                Doing::Purge(what) => {
                    runtime.block_on(post(&mut router, "/v1/purge", &what));
                    continue;
                }
            };
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (*name, if *value == FENCE { fence.as_str() } else { value }))
                .collect();
            let target = format!("{path}{query}");
            let question = json!({
                "url": format!("http://any.test{target}"), "method": method, "headers": fields,
                "client": "127.0.0.1",
            });
            let told = runtime.block_on(post(&mut router, "/v1/explain", &question));
            let mut reader = first.again();
            let answer = runtime.block_on(reader.ask(method, &target, &fields));
            let said = answer.field("cache-status").unwrap_or_default();
            if let Err(wrong) = is_as_told(&told, said, answer.status()) {
                prop_assert!(false, "{wrong}: {} {said}\n{told:#}\n{context}", answer.head);
            }
            if let Some(given) = answer.field("larder-fence") {
                fence = format!("Larder-Fence={given}");
            }
        }
        Ok(())
    });
    found.unwrap_or_else(|error| panic!("{error}"));
    runtime.shutdown_timeout(Duration::from_secs(1));
}
