//! What `deploy/prometheus`, `deploy/grafana` and `docs/metrics.md` say of the metrics, beside those that there are.
//!
//! `docs/metrics.md` is written anew with `LARDER_BLESS=1`.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use larder_test_support::{
    certificate::Certificate, eventually::within, program::run, prometheus::Prometheus,
};
use tempfile::TempDir;

use crate::support::{
    larder::Larder,
    origin::{Origin, ok},
};

/// A scrape each second, and the time that a busy machine takes.
const SCRAPED: Duration = Duration::from_secs(60);

fn at_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A gateway with all parts that have metrics.
async fn with_all_parts() -> (Larder, Origin, (TempDir, Certificate)) {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::new();
    let [file, key] =
        [certificate.file(), certificate.key()].map(|path| path.display().to_string());
    let (place, port) = (origin.address, origin.address.port());
    let text = format!(
        "[[listener]]\nname = \"plain\"\nlisten = \"127.0.0.1:0\"\n\
         [[listener]]\nname = \"tls\"\nlisten = \"127.0.0.1:0\"\n\
         [listener.tls]\ncertificate = {file:?}\nkey = {key:?}\n\
         [admin]\nlisten = \"127.0.0.1:0\"\nstage = true\n\
         [upstream.app]\nurls = [\"http://{place}\", \"http://localhost:{port}\"]\n\
         [[route]]\npath = \"/slow/**\"\nmax_fetches = 3\nrequests_per_address = 100\n\
         [[cdn]]\nname = \"edge\"\nhosts = [\"www.example.org\"]\n\
         [cdn.varnish]\napi = \"http://127.0.0.1:9\"\n\
         [tracing]\nendpoint = \"http://127.0.0.1:9\"\nsample = 1\n"
    );
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    (larder, origin, (folder, certificate))
}

/// What is said of a metric before its samples.
#[derive(Default)]
struct Said {
    kind: String,
    unit: String,
    help: String,
    labels: BTreeSet<String>,
}

/// All metrics in the text of `/metrics`, in its order.
fn metrics(text: &str) -> Vec<(String, Said)> {
    let mut all: Vec<(String, Said)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for line in text.lines() {
        if let Some(said) = line.strip_prefix("# ") {
            let [what, name, rest] = said.splitn(3, ' ').collect::<Vec<_>>()[..] else { continue };
            let place = *places.entry(name.to_owned()).or_insert_with(|| {
                all.push((name.to_owned(), Said::default()));
                all.len() - 1
            });
            let said = &mut all[place].1;
            match what {
                "TYPE" => rest.clone_into(&mut said.kind),
                "UNIT" => rest.clone_into(&mut said.unit),
                "HELP" => rest.clone_into(&mut said.help),
                other => panic!("{other} is none of the lines that there are"),
            }
            continue;
        }
        // An exemplar's labels are none of its metric.
        let sample = line.split_once(" # ").map_or(line, |(sample, _)| sample);
        let Some((name, labels)) = sample.split_once('{') else { continue };
        let place = places.iter().filter(|(known, _)| is_sample_of(name, known));
        let place = place.max_by_key(|(known, _)| known.len()).map(|(_, place)| *place);
        let labels = labels.rsplit_once('}').map_or("", |(labels, _)| labels);
        let names = labels.split("\",").filter_map(|label| label.split_once('='));
        let names = names.map(|(name, _)| name.to_owned()).filter(|name| name != "le");
        all[place.unwrap_or_else(|| panic!("{line} is of no metric"))].1.labels.extend(names);
    }
    all
}

/// Whether a line of this name is a sample of `metric`.
fn is_sample_of(name: &str, metric: &str) -> bool {
    let ends = ["", "_total", "_bucket", "_sum", "_count"];
    name.strip_prefix(metric).is_some_and(|end| ends.contains(&end))
}

const OF_REQUESTS: [&str; 5] = [
    "larder_requests",
    "larder_answers",
    "larder_origin_calls",
    "larder_origin_failures",
    "larder_origin_seconds",
];

/// Where a metric stands in the page.
fn part_of(name: &str, said: &Said) -> &'static str {
    let begins = |beginnings: &[&str]| {
        beginnings.iter().any(|beginning| name.starts_with(&format!("larder_{beginning}")))
    };
    match () {
        () if OF_REQUESTS.contains(&name) => "Requests",
        () if begins(&["lower_"]) => "The shared tier",
        () if said.labels.contains("cache") => "Caches",
        () if begins(&["route_"]) => "Routes",
        () if begins(&["upstream_"]) => "Upstreams",
        () if begins(&["cdn_"]) => "CDNs",
        () if begins(&[
            "process_",
            "memory_",
            "config_",
            "tls_certificate",
            "gateway_",
            "log_",
            "admin_",
            "trace_",
        ]) =>
        {
            "The process"
        }
        () if begins(&["turns_", "arriving_", "crowded_", "compression_", "purge_"]) => {
            "Fetches, compression and purges of the gateway"
        }
        () => "Readers",
    }
}

const PARTS: [&str; 9] = [
    "Requests",
    "Caches",
    "The shared tier",
    "Routes",
    "Readers",
    "Fetches, compression and purges of the gateway",
    "Upstreams",
    "CDNs",
    "The process",
];

fn page(metrics: &[(String, Said)]) -> String {
    let mut page = "\
# Metrics

`GET /metrics` of the admin API, in the format of OpenMetrics 1.0. A counter's samples end in `_total`; a histogram has
`_bucket`, `_sum` and `_count`. Labels have values from closed sets, or from the file of settings: never a key or a URL of a
reader. `deploy/prometheus` has settings for Prometheus and alerts, `deploy/grafana` a dashboard.

Buckets of `larder_route_wait_seconds` each name one of their requests (an exemplar: `request_id`, and `trace_id` where it was traced) where answers have ids:
`larder explain --request ID` says what became of it, while it is remembered. Prometheus keeps exemplars when it is started with
`--enable-feature=exemplar-storage`.

`route` is the name of a route of the file. A hundred routes have names: those with the most requests of late, each of which has
had one. All others, and those that are gone from the file, are `other`. A route that becomes twice as busy as one that has a name
takes that one's place: from then on its counts are told under its own name, and the other's under `other`. What a route had
before it got its name stays with `other`, so its counters can be below those of `/v1/routes`; rates are right at any time, no
counter goes down, and `larder_requests_total` is of all requests.

There is one hit ratio, on the console, in `larder stats` and `larder top`, at `/v1/stats` and `/v1/routes`, in the alerts and the
dashboard: of the requests that the cache had a part in (`hit`, `stale`, `collapsed`, `miss` of `larder_requests_total`; neither
`pass` nor `refused`), those that cost the service nothing, which are the first three. Who waited for another reader's request
(`collapsed`) has cost it nothing. An old copy that stood in for a service that failed is `stale`, and one of the hits, although the
service was asked. `larder_lookups_total` is the cache's own count: those who waited are among its misses, and an old copy that
stood in is there twice, as `miss` and as `stale`.

This page is made of what a gateway with all parts says; the shared tier's are zero where there is none.
"
    .to_owned();
    for part in PARTS {
        page += &format!(
            "\n## {part}\n\n| metric | type | labels | what it is |\n| --- | --- | --- | --- |\n"
        );
        for (name, said) in metrics.iter().filter(|(name, said)| part_of(name, said) == part) {
            let labels: Vec<_> = said.labels.iter().map(|label| format!("`{label}`")).collect();
            let Said { kind, help, .. } = said;
            page += &format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "));
        }
    }
    page
}

/// Every `larder_…` in a text.
fn named_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("larder_")).collect()
}

#[tokio::test]
async fn the_page_of_metrics_is_what_a_gateway_says() {
    let (larder, _origin, _files) = with_all_parts().await;
    larder.get("/a").await;
    larder.get("/slow/a").await;
    let all = metrics(larder.get_from_admin("/metrics").await.text());
    for (name, said) in &all {
        assert!(!said.help.is_empty() && !said.kind.is_empty(), "{name} says not what it is");
        // The format wants a unit at the end of the name.
        assert!(said.unit.is_empty() || name.ends_with(&said.unit), "{name} is in {}", said.unit);
    }
    let now = page(&all);
    let file = at_root("docs/metrics.md");
    if env::var_os("LARDER_BLESS").is_some() {
        fs::write(file, now).unwrap();
        return;
    }
    let stands = fs::read_to_string(file).unwrap_or_default();
    assert_eq!(stands, now, "docs/metrics.md is written anew with LARDER_BLESS=1");
}

#[tokio::test]
async fn what_alerts_and_dashboard_ask_for_is_there() {
    let (larder, _origin, _files) = with_all_parts().await;
    let all = metrics(larder.get_from_admin("/metrics").await.text());
    for file in ["deploy/prometheus/larder.rules.yml", "deploy/grafana/larder.json"] {
        let text = fs::read_to_string(at_root(file)).unwrap();
        let named = named_in(&text);
        assert!(named.len() > 10, "{file} names {named:?}");
        for name in named {
            let is_there = all.iter().any(|(metric, said)| {
                let is_whole = said.kind == "counter" && name == metric;
                is_sample_of(name, metric) && !is_whole
            });
            assert!(is_there, "{file}: there is no {name}");
        }
    }
}

#[tokio::test]
async fn each_alert_is_raised_by_what_it_is_for_and_by_nothing_else() {
    let folder = at_root("deploy/prometheus");
    let check = |arguments: &[&str]| {
        let mut command = Command::new("promtool");
        command.current_dir(&folder).args(arguments);
        command
    };
    run(&mut check(&["check", "config", "prometheus.yml"])).await;
    run(&mut check(&["test", "rules", "larder.test.yml"])).await;
}

#[tokio::test]
async fn a_real_prometheus_scrapes_what_was_counted_and_evaluates_the_alerts() {
    let (larder, _origin, _files) = with_all_parts().await;
    for _ in 0..7 {
        larder.get("/a").await;
    }
    let settings = fs::read_to_string(at_root("deploy/prometheus/prometheus.yml")).unwrap();
    let settings = settings
        .replace("127.0.0.1:9191", &larder.admin().to_string())
        .replace("interval: 15s", "interval: 1s");
    let rules = at_root("deploy/prometheus/larder.rules.yml");
    let prometheus = Prometheus::start(&settings, &[&rules]).await;
    // The gateway is asked once more for each answer that was stored just before.
    let hits = "larder_lookups_total{verdict=\"hit\"}";
    let counted = larder.metric("larder_lookups_total{cache=\"gateway\",verdict=\"hit\"}").await;
    assert!(counted >= 6.0, "{counted}");
    within(SCRAPED, "the hits in Prometheus", async || {
        (prometheus.value(hits).await? == counted).then_some(())
    })
    .await;
    assert_eq!(prometheus.value("up{job=\"larder\"}").await, Some(1.0));
    // The first request has waited, and each bucket with something in it says whose that was.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let past = format!("/api/v1/query_exemplars?start={}&end={}", now - 600, now + 600);
    let labels = within(SCRAPED, "an exemplar in Prometheus", async || {
        let asked = prometheus.ask(&past, Some("query=larder_route_wait_seconds_bucket")).await;
        let labels = asked["data"][0]["exemplars"][0]["labels"].clone();
        labels.is_object().then_some(labels)
    })
    .await;
    let id = labels["request_id"].as_str().unwrap();
    let told = larder.get_from_admin(&format!("/v1/requests/{id}")).await;
    let told: serde_json::Value = serde_json::from_str(told.text()).unwrap();
    assert_eq!((&told["verdict"], &told["status"]), (&"miss".into(), &200.into()), "{told}");
    assert!(labels["trace_id"].is_string() && labels["trace_id"] == told["trace_id"], "{labels}");
    // What the dashboard asks for, Prometheus understands.
    let dashboard = fs::read_to_string(at_root("deploy/grafana/larder.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().cloned()).flatten();
    let mut asked = 0;
    for target in targets {
        let expression = target["expr"].as_str().unwrap();
        let plain = expression.replace("$instance", ".*").replace("$__rate_interval", "1m");
        let answer = prometheus.ask("/api/v1/query", Some(&format!("query={plain}"))).await;
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        asked += 1;
    }
    assert!(asked > 30, "{asked}");
    let rules = within(SCRAPED, "the alerts to be evaluated", async || {
        let answer = prometheus.ask("/api/v1/rules", None).await;
        let groups = answer["data"]["groups"].as_array()?.clone();
        let rules: Vec<_> =
            groups.iter().flat_map(|group| group["rules"].as_array().cloned()).flatten().collect();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    })
    .await;
    assert_eq!(rules.len(), 18);
    assert!(rules.iter().all(|rule| rule["health"] == "ok"), "{rules:?}");
    assert!(rules.iter().all(|rule| rule["state"] != "firing"), "{rules:?}");
}

#[tokio::test]
async fn an_alert_is_raised_in_a_real_prometheus_while_the_service_fails() {
    let origin = Origin::answering(
        |_| "HTTP/1.1 500 Broken\r\ncache-control: max-age=60\r\ncontent-length: 1\r\n\r\na",
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[server]\nlisten = 0\n[admin]\nlisten = 0\n[upstream.app]\nurl = \"http://{}\"\n\
         [[route]]\npath = \"/api/**\"\ncache = false\n",
        origin.address
    );
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let settings = fs::read_to_string(at_root("deploy/prometheus/prometheus.yml")).unwrap();
    let settings = settings
        .replace("127.0.0.1:9191", &larder.admin().to_string())
        .replace("interval: 15s", "interval: 1s");
    // Nobody waits for five minutes here; what is asked is the same.
    let rules = fs::read_to_string(at_root("deploy/prometheus/larder.rules.yml")).unwrap();
    let rules = rules.replace("for: 5m", "for: 1s").replace("[5m]", "[20s]");
    let file = folder.path().join("larder.rules.yml");
    fs::write(&file, rules).unwrap();
    let prometheus = Prometheus::start(&settings, &[&file]).await;
    let firing = within(SCRAPED, "the alert", async || {
        larder.get("/api/a").await;
        let answer = prometheus.ask("/api/v1/alerts", None).await;
        let alerts = answer["data"]["alerts"].as_array()?.clone();
        let is_it = |alert: &serde_json::Value| {
            alert["state"] == "firing" && alert["labels"]["alertname"] == "LarderRouteFails"
        };
        alerts.into_iter().find(is_it)
    })
    .await;
    assert_eq!(firing["labels"]["route"], "/api/**", "{firing}");
    let says = firing["annotations"]["summary"].as_str().unwrap();
    assert!(says.starts_with("100% of the calls for /api/**"), "{says}");
}
