//! What is told of each route is what its readers and its service saw, and all routes together are all there was.

use std::{collections::BTreeMap, fmt::Write, fs, net::SocketAddr, time::Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    answer::Answer,
    eventually,
    larder::Larder,
    origin::{Origin, ok},
};

const ROUTES: &str = "[[route]]\npath = \"/posts/{id}\"\n\
                      [[route]]\npath = \"/me\"\n\
                      [[route]]\npath = \"/off/**\"\ncache = false\n\
                      [[route]]\npath = \"/login\"\nrequests_per_address = 1\nrequests_burst = 2\n";

fn written(folder: &TempDir, origin: SocketAddr, rest: &str) {
    let text = format!(
        "[server]\nlisten = 0\n[admin]\nlisten = 0\n[upstream.app]\nurl = \"http://{origin}\"\n{rest}\n"
    );
    fs::write(folder.path().join("larder.toml"), text).unwrap();
}

async fn larder(folder: &TempDir, origin: SocketAddr, rest: &str) -> Larder {
    written(folder, origin, rest);
    Larder::in_folder(folder.path(), &["serve"], &[]).await
}

/// `/me` is for one reader, all else for all.
async fn site() -> Origin {
    Origin::answering(|head| {
        let fields = match head.contains(" /me ") {
            true => "set-cookie: a=b\r\ncache-control: max-age=600\r\n",
            false => "cache-control: max-age=600\r\n",
        };
        ok(fields, "hello")
    })
    .await
}

/// What the answer says that its request was.
fn verdict(answer: &Answer) -> &'static str {
    let said = answer.field("cache-status").unwrap_or_default();
    match said {
        said if said.contains(";hit;") && said.ends_with(";detail=hit") => "hit",
        said if said.contains(";hit;") => "stale",
        said if said.contains(";collapsed") => "collapsed",
        said if said.contains(";fwd=method") || said.contains(";fwd=bypass") => "pass",
        said if said.contains(";fwd=") => "miss",
        _ => "refused",
    }
}

/// Asks one after the other, on one connection where that stays open; how often the answer was which, by route and verdict.
async fn ask(
    larder: &Larder,
    asked: &[(&str, &str, &'static str)],
    seen: &mut BTreeMap<(&'static str, &'static str), u64>,
) {
    let mut wire = larder.connect().await;
    for (method, path, route) in asked {
        let length = if *method == "POST" { "content-length: 0\r\n" } else { "" };
        let request = format!("{method} {path} HTTP/1.1\r\nhost: larder.test\r\n{length}\r\n");
        let is_odd = *method == "TRACE" || path.contains('%');
        let mut own = if is_odd { Some(larder.connect().await) } else { None };
        let wire = own.as_mut().unwrap_or(&mut wire);
        wire.send(request).await;
        let answer = wire.answer().await;
        *seen.entry((*route, verdict(&answer))).or_default() += 1;
    }
}

async fn table(larder: &Larder, query: &str) -> Value {
    let answer = larder.get_from_admin(&format!("/v1/routes{query}")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    serde_json::from_str(answer.text()).unwrap()
}

fn lines(table: &Value) -> &[Value] {
    table["routes"].as_array().unwrap()
}

fn line<'a>(table: &'a Value, route: &str) -> &'a Value {
    let found = lines(table).iter().find(|line| line["route"] == route);
    found.unwrap_or_else(|| panic!("no {route} in {table:#}"))
}

fn sum(table: &Value, of: impl Fn(&Value) -> u64) -> u64 {
    lines(table).iter().map(of).sum()
}

fn counts(table: &Value) -> BTreeMap<(String, String), u64> {
    let each = lines(table).iter().flat_map(|line| {
        let route = line["route"].as_str().unwrap();
        let requests = line["requests"].as_object().unwrap();
        requests.iter().map(move |(verdict, count)| {
            ((route.to_owned(), verdict.clone()), count.as_u64().unwrap())
        })
    });
    each.filter(|(_, count)| *count > 0).collect()
}

/// What routes hold together is what the cache holds.
async fn holds_what_the_cache_holds(larder: &Larder) -> Value {
    eventually("the sums are the cache's", async || {
        let table = table(larder, "?limit=1000").await;
        let stats = larder.get_from_admin("/v1/stats").await;
        let stats: Value = serde_json::from_str(stats.text()).unwrap();
        let cache = &stats["caches"][0];
        let of = |name: &str| sum(&table, |line| line[name].as_u64().unwrap());
        let is_same = of("bytes") == cache["bytes"].as_u64().unwrap()
            && of("entries") == cache["entries"].as_u64().unwrap();
        is_same.then_some(table)
    })
    .await
}

#[tokio::test]
async fn the_counts_of_each_route_are_what_its_readers_and_its_service_saw() {
    let (origin, folder) = (site().await, tempfile::tempdir().unwrap());
    let larder = larder(&folder, origin.address, ROUTES).await;
    let mut asked = Vec::new();
    for round in 0..150 {
        let path = ["/posts/1", "/posts/2", "/posts/3"][round % 3];
        asked.push(("GET", path, "/posts/{id}"));
        asked.push(("GET", "/other", "otherwise"));
        if round % 10 == 0 {
            asked.push(("GET", "/me", "/me"));
            asked.push(("GET", "/off/1", "/off/**"));
            asked.push(("POST", "/posts/9", "/posts/{id}"));
            asked.push(("GET", "/login", "/login"));
            asked.push(("GET", "/off/..%2fme", "otherwise"));
            asked.push(("TRACE", "/", "otherwise"));
        }
    }
    let mut seen = BTreeMap::new();
    ask(&larder, &asked, &mut seen).await;
    let table = table(&larder, "?order=name").await;
    let seen: BTreeMap<_, _> = seen
        .into_iter()
        .map(|((route, verdict), count)| ((route.to_owned(), verdict.to_owned()), count))
        .collect();
    assert_eq!(counts(&table), seen, "{table:#}");
    assert!(seen[&("/posts/{id}".to_owned(), "hit".to_owned())] > 100, "{seen:?}");
    assert_eq!(table["total"], 5);
    assert!(table["next"].is_null());
    let calls = sum(&table, |line| line["origin_calls"].as_u64().unwrap());
    assert_eq!(calls as usize, origin.requests().len());
    // Each is told as it is.
    let posts = line(&table, "/posts/{id}");
    assert_eq!((&posts["line"], &posts["upstream"]), (&"larder.toml:7".into(), &"app".into()));
    assert!(
        posts["saved_seconds"].as_f64().unwrap() > 0.0 && posts["hit_ratio"].as_f64() > Some(0.9)
    );
    for (name, at_most) in [("hit_seconds", 0.5), ("miss_seconds", 5.0)] {
        let times = ["p50", "p95", "p99"].map(|which| posts[name][which].as_f64().unwrap());
        assert!(times.is_sorted() && times[0] > 0.0 && times[2] < at_most, "{posts:#}");
    }
    let me = line(&table, "/me");
    assert_eq!(me["reasons"]["set-cookie"], 15, "{me:#}");
    assert_eq!(line(&table, "/off/**")["is_cached"], false);
    assert!(line(&table, "/login")["limited"].as_u64().unwrap() > 0);
    // As the metrics tell it, and as the cache counts it.
    for ((route, verdict), count) in &seen {
        let name =
            format!("larder_route_requests_total{{route=\"{route}\",verdict=\"{verdict}\"}}");
        assert_eq!(larder.metric(&name).await, *count as f64, "{name}");
    }
    let stats = larder.get_from_admin("/v1/stats").await;
    let stats: Value = serde_json::from_str(stats.text()).unwrap();
    let hits = sum(&table, |line| line["requests"]["hit"].as_u64().unwrap());
    assert_eq!(stats["caches"][0]["hits"], hits);
    let saved: f64 = lines(&table).iter().map(|line| line["saved_seconds"].as_f64().unwrap()).sum();
    let saved_in_all = stats["caches"][0]["saved_seconds"].as_f64().unwrap();
    assert!((saved - saved_in_all).abs() < 1e-3, "{saved} and {saved_in_all}");
    let held = holds_what_the_cache_holds(&larder).await;
    assert_eq!(line(&held, "/posts/{id}")["entries"], 3);
    assert_eq!(line(&held, "/me")["entries"], 0);
}

/// What stands in `/v1/stats` of all requests.
async fn traffic(larder: &Larder) -> Value {
    let stats = larder.get_from_admin("/v1/stats").await;
    let mut stats: Value = serde_json::from_str(stats.text()).unwrap();
    stats["traffic"].take()
}

#[tokio::test]
async fn a_call_without_an_answer_or_with_5xx_has_failed_also_where_nothing_is_stored_of_it() {
    let slow = Origin::playing(|mut visit| async move {
        while let Some(head) = visit.request().await {
            if head.contains("/slow") {
                std::future::pending::<()>().await;
            }
            let status = match () {
                () if head.contains(" /500") => "500 Internal Server Error",
                () if head.contains(" /503") => "503 Service Unavailable",
                () if head.contains(" /404") => "404 Not Found",
                () => "200 OK",
            };
            let fields = "cache-control: max-age=60\r\ncontent-length: 1\r\n";
            visit.send(format!("HTTP/1.1 {status}\r\n{fields}\r\na")).await;
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let dead = crate::support::free_port();
    let routes = format!(
        "[defaults]\nupstream = \"app\"\n[upstream.dead]\nurl = \"http://127.0.0.1:{dead}\"\n\
         [[route]]\npath = \"/off/**\"\ncache = false\n\
         [[route]]\npath = \"/dead/**\"\nupstream = \"dead\"\ncache = false\n\
         [[route]]\npath = \"/slow/**\"\nhard_timeout = \"100ms\"\n"
    );
    let larder = larder(&folder, slow.address, &routes).await;
    let asked = [
        ("GET", "/500", "", 500, 1),
        ("GET", "/503", "", 503, 1),
        ("GET", "/404", "", 404, 0),
        ("GET", "/a", "", 200, 0),
        ("POST", "/500/b", "content-length: 0\r\n", 500, 1),
        ("GET", "/off/c", "", 200, 0),
        ("GET", "/dead/1", "", 502, 1),
        ("POST", "/dead/2", "content-length: 0\r\n", 502, 1),
        ("GET", "/slow/1", "", 504, 1),
        ("POST", "/slow/2", "content-length: 0\r\n", 504, 1),
    ];
    let (mut calls, mut failures) = (0, 0);
    for (method, path, fields, status, fails) in asked {
        let mut wire = larder.connect().await;
        wire.send(format!("{method} {path} HTTP/1.1\r\nhost: larder.test\r\n{fields}\r\n")).await;
        assert_eq!(wire.answer().await.status(), status, "{method} {path}");
        (calls, failures) = (calls + 1, failures + fails);
        let counted = traffic(&larder).await;
        let told = ["origin_calls", "origin_failures", "reader_errors"].map(|name| &counted[name]);
        let [calls, failures] = [calls, failures].map(Value::from);
        assert_eq!(told, [&calls, &failures, &failures], "{method} {path}: {counted}");
    }
    // A reader who leaves before the answer makes no failure of it.
    let mut wire = larder.connect().await;
    wire.send("GET /off/slow HTTP/1.1\r\nhost: larder.test\r\n\r\n").await;
    eventually("its call", async || {
        (traffic(&larder).await["origin_calls"] == calls + 1).then_some(())
    })
    .await;
    drop(wire);
    let open = "larder_connections_open";
    eventually("it has left", async || (larder.metric(open).await == 0.0).then_some(())).await;
    let table = table(&larder, "?order=name").await;
    for (route, fails) in [("/dead/**", 2), ("/off/**", 0), ("/slow/**", 2)] {
        assert_eq!(line(&table, route)["origin_failures"], fails, "{table:#}");
        assert_eq!(line(&table, route)["reader_errors"], fails, "{table:#}");
        for metric in ["origin_failures", "reader_errors"] {
            let name = format!("larder_route_{metric}_total{{route=\"{route}\"}}");
            assert_eq!(larder.metric(&name).await, f64::from(fails), "{name}");
        }
    }
    assert_eq!(larder.metric("larder_reader_errors_total").await, failures as f64);
    // The seconds together have all of them.
    eventually("the failures in the history", async || {
        let history = larder.get_from_admin("/v1/history").await;
        let history: Value = serde_json::from_str(history.text()).unwrap();
        let sum = |name: &str| {
            let samples = history["samples"].as_array().unwrap().iter();
            samples.map(|sample| sample[name].as_u64().unwrap()).sum::<u64>()
        };
        ((sum("origin_failures"), sum("reader_errors")) == (failures, failures)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn counts_and_memory_stay_with_their_route_when_the_rules_are_replaced() {
    let (origin, folder) = (site().await, tempfile::tempdir().unwrap());
    let rules = "[[route]]\npath = \"/a/*\"\n[[route]]\npath = \"/b/*\"\n";
    let larder = larder(&folder, origin.address, rules).await;
    for path in ["/a/1", "/a/2", "/b/1", "/c/1"] {
        larder.get(path).await;
    }
    let before = holds_what_the_cache_holds(&larder).await;
    let rules = "[[route]]\npath = \"/new\"\n[[route]]\npath = \"/b/*\"\nttl = \"1m\"\n";
    written(&folder, origin.address, rules);
    larder.signal(Signal::HUP);
    larder.told("the settings are those of").await;
    let after = holds_what_the_cache_holds(&larder).await;
    let names: Vec<_> = lines(&after).iter().map(|line| line["route"].as_str().unwrap()).collect();
    assert!(names.contains(&"other") && !names.contains(&"/a/*"), "{names:?}");
    assert_eq!(counts(&after).values().sum::<u64>(), counts(&before).values().sum::<u64>());
    for name in ["requests", "entries", "bytes", "origin_calls"] {
        assert_eq!(line(&after, "/b/*")[name], line(&before, "/b/*")[name], "{name}");
        assert_eq!(line(&after, "other")[name], line(&before, "/a/*")[name], "{name}");
    }
    // What is stored is answered as before, and counts for whatever route it fits now.
    assert_eq!(verdict(&larder.get("/a/1").await), "hit");
    let more = table(&larder, "").await;
    let hits = |table: &Value| line(table, "otherwise")["requests"]["hit"].as_u64().unwrap();
    assert_eq!(hits(&more), hits(&after) + 1);
}

#[tokio::test]
async fn what_a_route_may_not_hold_goes_and_takes_nothing_of_others() {
    let origin = Origin::answering(|head| {
        let kib = if head.contains("/huge ") { 300 } else { 20 };
        ok("cache-control: max-age=600\r\n", vec![b'x'; kib << 10])
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let rules = "[memory]\nsize = \"64MiB\"\n\
                 [[route]]\npath = \"/big/*\"\nmax_memory = \"256KiB\"\n\
                 [[route]]\npath = \"/share/*\"\nmax_memory = \"1%\"\n";
    let larder = larder(&folder, origin.address, rules).await;
    for number in 0..20 {
        larder.get(&format!("/other/{number}")).await;
    }
    let bound = 256 << 10;
    for number in 0..60 {
        larder.get(&format!("/big/{number}")).await;
        let bytes = line(&table(&larder, "").await, "/big/*")["bytes"].as_u64().unwrap();
        assert!(bytes <= bound, "{bytes}");
    }
    let huge = larder.get("/big/huge").await;
    assert!(huge.field("cache-status").unwrap().ends_with("detail=too-large"), "{}", huge.head);
    let held = holds_what_the_cache_holds(&larder).await;
    let big = line(&held, "/big/*");
    assert_eq!(big["max_bytes"], bound);
    // As many as fit, and one more would not.
    let (entries, bytes) = (big["entries"].as_u64().unwrap(), big["bytes"].as_u64().unwrap());
    assert!(entries > 8 && bytes + bytes / entries > bound, "{big:#}");
    assert_eq!(big["evicted"], 60 - entries);
    assert_eq!(line(&held, "otherwise")["entries"], 20);
    assert_eq!(line(&held, "/share/*")["max_bytes"], (64 << 20) / 100);
    let evicted = larder.metric("larder_route_evictions_total{route=\"/big/*\"}").await;
    assert_eq!(evicted, (60 - entries) as f64);
    // A smaller share holds at once, and one that is gone no more.
    let smaller = rules.replace("256KiB", "80KiB");
    written(&folder, origin.address, &smaller);
    larder.signal(Signal::HUP);
    eventually("the share is smaller", async || {
        let table = table(&larder, "").await;
        (line(&table, "/big/*")["max_bytes"] == 80 << 10).then_some(())
    })
    .await;
    let held = holds_what_the_cache_holds(&larder).await;
    assert_eq!(line(&held, "/big/*")["entries"], 3);
    written(&folder, origin.address, &rules.replace("max_memory = \"256KiB\"\n", ""));
    larder.signal(Signal::HUP);
    eventually("the share is gone", async || {
        let table = table(&larder, "").await;
        line(&table, "/big/*")["max_bytes"].is_null().then_some(())
    })
    .await;
    for number in 0..30 {
        larder.get(&format!("/big/{number}")).await;
    }
    assert!(line(&table(&larder, "").await, "/big/*")["entries"].as_u64() >= Some(30));
}

#[tokio::test]
async fn ten_thousand_routes_are_told_page_by_page_and_a_hundred_have_metrics() {
    const ROUTES: usize = 10_000;
    let (origin, folder) = (site().await, tempfile::tempdir().unwrap());
    let mut rules = String::new();
    for number in 0..ROUTES {
        write!(rules, "[[route]]\npath = \"/r{number}/*\"\n").unwrap();
    }
    let larder = larder(&folder, origin.address, &rules).await;
    // Who scrapes before anybody asks sees no name, and gives none away.
    let metrics = larder.get_from_admin("/metrics").await;
    let names = metrics.text().matches("larder_route_origin_calls_total{").count();
    assert_eq!(names, 1, "the others");
    let at_rest = larder.memory_kib("VmRSS");
    let mut wire = larder.connect().await;
    let mut asked = 0;
    for number in (0..ROUTES).filter(|number| number % 10 == 0 || *number >= ROUTES - 50) {
        // The last ones are the busiest.
        let times = if number >= ROUTES - 50 { 3 } else { 1 };
        asked += times;
        for _ in 0..times {
            wire.send(format!("GET /r{number}/a HTTP/1.1\r\nhost: larder.test\r\n\r\n")).await;
            assert_eq!(wire.answer().await.status(), 200);
        }
    }
    let (mut seen, mut after, began) = (Vec::new(), String::new(), Instant::now());
    let mut pages = 0;
    loop {
        let page = table(&larder, &format!("?order=name&limit=1000{after}")).await;
        assert_eq!(page["total"], ROUTES + 1);
        seen.extend(lines(&page).iter().map(|line| line["route"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    println!(
        "{} KiB at rest, {} KiB with some requests to a thousand; a page takes {:?}",
        at_rest,
        larder.memory_kib("VmRSS"),
        began.elapsed() / pages
    );
    assert_eq!(seen.len(), ROUTES + 1);
    assert!(seen.is_sorted());
    let busiest = table(&larder, "?limit=50").await;
    assert!(lines(&busiest).iter().all(|line| {
        line["requests"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>()
            == 3
    }));
    let metrics = larder.get_from_admin("/metrics").await;
    let of_routes = |name: &str| {
        let lines = metrics.text().lines().filter(|line| line.starts_with(name));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(of_routes("larder_route_entries{").len(), 101);
    let requests: f64 = of_routes("larder_route_requests_total{").iter().sum();
    assert_eq!(requests, f64::from(asked));
    for query in ["limit=1001", "limit=0", "order=age", "after=nonsense"] {
        assert_eq!(
            larder.get_from_admin(&format!("/v1/routes?{query}")).await.status(),
            400,
            "{query}"
        );
    }
}
