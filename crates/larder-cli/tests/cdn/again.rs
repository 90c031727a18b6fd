//! Again: a call that was under way when a gateway was killed, or whose answer was lost, is made again under its name, which
//! its vendor knows.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    site::{Site, state, write},
    support::{
        Redis, eventually,
        larder::Larder,
        origin::{Origin, ok},
    },
};

/// An order as it came: its name, and all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Order {
    name: String,
    target: String,
    body: String,
}

/// A vendor that knows orders by their names.
#[derive(Clone, Default)]
struct Vendor {
    orders: Arc<Mutex<Vec<Order>>>,
    /// It takes orders, and says nothing.
    is_silent: Arc<AtomicBool>,
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    Some(text.split_once(from)?.1.split_once(to)?.0)
}

/// The name of an order, in whichever of the three ways.
fn name(head: &str, body: &str) -> String {
    let line = head.lines().next().unwrap();
    let found = between(body, "<CallerReference>", "</CallerReference>")
        .or_else(|| between(line, "requestId=", " "))
        .or_else(|| between(body, "\"id\":\"", "\""));
    found.unwrap_or_else(|| panic!("no name in {line}\n{body}")).to_owned()
}

/// As CloudFront and Google answer to orders and to questions about them, and any other.
fn answer(target: &str, is_question: bool) -> Vec<u8> {
    let status = |now: &'static str, later: &'static str| if is_question { later } else { now };
    if target.starts_with("/2020-05-31/") {
        let status = status("InProgress", "Completed");
        let body = format!("<Invalidation><Id>I1</Id><Status>{status}</Status></Invalidation>");
        return ok("content-type: text/xml\r\n", &body);
    }
    if target.starts_with("/compute/") {
        let status = status("RUNNING", "DONE");
        let body = json!({ "kind": "compute#operation", "name": "o1", "status": status });
        return ok("content-type: application/json\r\n", body.to_string());
    }
    ok("", "")
}

impl Vendor {
    async fn serve(&self) -> Origin {
        let vendor = self.clone();
        Origin::playing(move |visit| {
            let vendor = vendor.clone();
            async move {
                let mut wire = visit.into_wire();
                while wire.has_more().await {
                    let head = wire.head().await;
                    let Some(body) = wire.body(&head).await else { return };
                    let body = String::from_utf8(body).unwrap();
                    let target = head.split(' ').nth(1).unwrap().to_owned();
                    let is_question = head.starts_with("GET ");
                    if !is_question {
                        let order =
                            Order { name: name(&head, &body), target: target.clone(), body };
                        vendor.orders.lock().unwrap().push(order);
                        if vendor.is_silent.load(SeqCst) {
                            std::future::pending::<()>().await;
                        }
                    }
                    if wire.try_send(answer(&target, is_question)).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    fn orders(&self) -> Vec<Order> {
        self.orders.lock().unwrap().clone()
    }
}

/// The vendors that know calls by their names, as tables of a file; and how many of these tags go into a call at most.
fn vendors(cdn: &Origin) -> [(&'static str, String, usize); 3] {
    let api = format!("http://{}", cdn.address);
    let cloudfront = format!(
        "[cdn.cloudfront]\ndistribution = \"E1\"\naccess_key_id = \"AKID\"\nsecret_file = \"secret\"\napi = \"{api}\"\n"
    );
    let google = format!(
        "[cdn.google]\nproject = \"p\"\nurl_map = \"m\"\ntoken_file = \"secret\"\napi = \"{api}\"\n"
    );
    let template = format!(
        "[cdn.template.tag]\nurl = \"{api}/purge\"\nbody = '{{\"tags\":[{{items}}],\"id\":\"{{id}}\"}}'\nmost = 50\n"
    );
    [("cloudfront", cloudfront, 3000), ("google", google, 10), ("template", template, 50)]
}

fn tables(vendor: &str, more: &str) -> String {
    format!(
        "[[cdn]]\ncalls_per_minute = 6000\nburst = 100\npropagation = \"0s\"\n{more}{vendor}[outbox]\njournal = \"cdn\"\nsettle = \"0s\"\n"
    )
}

async fn site(origin: &Origin, tables: &str) -> Site {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "s3cret").unwrap();
    write(&folder, 0, origin.address, tables);
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    Site { larder, folder }
}

async fn pages() -> Origin {
    Origin::saying(ok("cache-control: max-age=600\r\n", "page")).await
}

const TAGS: usize = 120;

fn tags() -> Vec<String> {
    (0..TAGS).map(|tag| format!("t{tag:03}")).collect()
}

/// The tags that these orders are about.
fn named(orders: &[Order]) -> BTreeSet<String> {
    let is_in = |tag: &String| orders.iter().any(|order| order.body.contains(tag.as_str()));
    tags().into_iter().filter(is_in).collect()
}

async fn is_made_again_by_the_next_process(nth: usize) {
    let (origin, vendor) = (pages().await, Vendor::default());
    vendor.is_silent.store(true, SeqCst);
    let cdn = vendor.serve().await;
    let (what, table, most) = vendors(&cdn)[nth].clone();
    let Site { larder, folder } = site(&origin, &tables(&table, "")).await;
    let site = Site { larder, folder };
    let story = site.post(&json!({ "tags": tags(), "mode": "hard" })).await;
    let id = story["id"].as_str().unwrap().to_owned();
    eventually("an order", async || (!vendor.orders().is_empty()).then_some(())).await;
    let told = site.story(&id).await;
    let Site { larder, folder } = site;
    larder.signal(Signal::KILL);
    larder.exit().await;
    let before = vendor.orders();
    assert_eq!(before.len(), 1, "{what}: {before:?}");
    vendor.is_silent.store(false, SeqCst);
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let site = Site { larder, folder };
    let last = eventually("it to be confirmed", async || {
        let story = site.story(&id).await;
        (state(&story) == "confirmed").then_some(story)
    })
    .await;
    let orders = vendor.orders();
    let again: Vec<_> = orders[1..].iter().filter(|order| order.name == before[0].name).collect();
    assert_eq!(again, [&before[0]], "{what}: once more, and word for word\n{orders:?}");
    assert_eq!(named(&orders[1..]).len(), TAGS, "{what}");
    assert!(orders.iter().all(|order| named(std::slice::from_ref(order)).len() <= most));
    // Nothing was on its way when it was first made, so that nothing has to be done twice.
    let of_first = named(&before[..1]);
    let twice = orders[1..].iter().filter(|order| {
        order.name != before[0].name && !named(std::slice::from_ref(order)).is_disjoint(&of_first)
    });
    assert_eq!(twice.count(), 0, "{what}: {orders:?}");
    assert_eq!(last["purges"], Value::from(TAGS), "{told}\n{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_cloudfront_that_a_killed_gateway_has_made_has_its_reference_again() {
    is_made_again_by_the_next_process(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_google_that_a_killed_gateway_has_made_has_its_request_id_again() {
    is_made_again_by_the_next_process(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_by_a_template_that_a_killed_gateway_has_made_has_its_id_again() {
    is_made_again_by_the_next_process(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_the_killed_leader_of_a_fleet_has_made_the_next_one_makes_by_its_name() {
    let (origin, vendor, redis) = (pages().await, Vendor::default(), Redis::start().await);
    vendor.is_silent.store(true, SeqCst);
    let cdn = vendor.serve().await;
    let (_, table, _) = vendors(&cdn)[0].clone();
    let shared =
        format!("[shared]\nurl = \"redis://{}\"\nmax_incoherence = \"1s\"\n", redis.address());
    // Longer than it takes from the list to the call.
    let tables = shared + &tables(&table, "call_timeout = \"60s\"\n") + "old_answers = \"5s\"\n";
    let (one, other) = (site(&origin, &tables).await, site(&origin, &tables).await);
    let leads = async |site: &Site| site.larder.metric("larder_cdn_leading").await > 0.0;
    let is_one = eventually("a leader", async || match (leads(&one).await, leads(&other).await) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    })
    .await;
    let (leader, other) = if is_one { (one, other) } else { (other, one) };
    let story = other.post(&json!({ "tags": ["t000"], "mode": "hard" })).await;
    let id = story["id"].as_str().unwrap();
    eventually("an order", async || (!vendor.orders().is_empty()).then_some(())).await;
    leader.larder.signal(Signal::KILL);
    leader.larder.exit().await;
    vendor.is_silent.store(false, SeqCst);
    eventually("it to be confirmed", async || {
        (state(&other.story(id).await) == "confirmed").then_some(())
    })
    .await;
    let orders = vendor.orders();
    assert_eq!(orders[0], orders[1], "once more, and word for word");
    // What is told again, since answers were on their way, has another name.
    assert_ne!(orders.last().unwrap().name, orders[0].name, "{orders:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_answers_are_lost_has_one_name_however_often_it_is_made() {
    let (origin, vendor) = (pages().await, Vendor::default());
    vendor.is_silent.store(true, SeqCst);
    let cdn = vendor.serve().await;
    let (_, table, _) = vendors(&cdn)[0].clone();
    let site = site(&origin, &tables(&table, "call_timeout = \"100ms\"\n")).await;
    let story = site.post(&json!({ "tags": ["t000"], "mode": "hard" })).await;
    // More often than one goes on before it makes room for others.
    eventually("five tries", async || (vendor.orders().len() >= 5).then_some(())).await;
    let told = site.story(story["id"].as_str().unwrap()).await;
    assert!(told["tiers"]["cdn"][0]["reason"].is_string(), "{told}");
    vendor.is_silent.store(false, SeqCst);
    eventually("it to be confirmed", async || {
        (state(&site.story(story["id"].as_str().unwrap()).await) == "confirmed").then_some(())
    })
    .await;
    let orders = vendor.orders();
    let names: BTreeSet<&String> = orders.iter().map(|order| &order.name).collect();
    assert_eq!(names.len(), 1, "{orders:?}");
    let Site { larder, folder } = site;
    larder.signal(Signal::TERM);
    assert_eq!(larder.exit().await, Some(0));
    // What is over is not kept, neither purge nor call.
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let site = Site { larder, folder };
    let story = site.post(&json!({ "tags": ["t001"], "mode": "hard" })).await;
    eventually("another to be confirmed", async || {
        (state(&site.story(story["id"].as_str().unwrap()).await) == "confirmed").then_some(())
    })
    .await;
    let since = vendor.orders().split_off(orders.len());
    assert_eq!(named(&since), BTreeSet::from(["t001".to_owned()]), "{since:?}");
}
