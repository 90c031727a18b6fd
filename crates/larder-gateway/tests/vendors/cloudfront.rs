//! CloudFront: signed XML, the same reference for the same order, and questions how far it is.

use std::{collections::BTreeMap, time::Duration};

use larder::{Mode, Purge};
use larder_gateway::cdn::{
    OutboxConfig,
    driver::{Bounds, Driver},
};

use crate::{
    client::{End, send, settle},
    documented::CLOUDFRONT_BEGUN,
    double::{Double, Mishap, Reply, Seen, Vendor},
    setups::{cloudfront, everything, host, prefix, tags, url},
    signatures::{AWS_TAKES, is_signed_for_aws},
    told::{Told, unhindered},
};

#[derive(Default)]
struct CloudFront {
    /// How old a signature may be, where not as usual.
    takes: Option<Duration>,
    /// By reference: the whole order, its id, and how often it was asked for.
    orders: BTreeMap<String, (String, String, u32)>,
    paths: Vec<String>,
    created: usize,
    /// Orders that were refused because too much was under way.
    refused: usize,
}

const PATH: &str = "/2020-05-31/distribution/EDFDVBD6EXAMPLE/invalidation";

pub(crate) fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    Some(text.split_once(from)?.1.split_once(to)?.0)
}

/// As they are written in an order.
pub(crate) fn paths_of(order: &str) -> impl Iterator<Item = &str> {
    let items = between(order, "<Items>", "</Items>").unwrap_or("").split("</Path>");
    items.filter_map(|item| item.strip_prefix("<Path>"))
}

fn wrong(status: u16, code: &str) -> Reply {
    let body = format!(
        "<ErrorResponse xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{code} it says</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    );
    Reply::of(status, body)
}

pub(crate) fn invalidation(id: &str, status: &str) -> String {
    CLOUDFRONT_BEGUN.replace("IDFDVBD632BHDS5", id).replace("InProgress", status)
}

impl Vendor for CloudFront {
    fn answer(&mut self, seen: &Seen) -> Reply {
        let takes = self.takes.unwrap_or(AWS_TAKES);
        if !is_signed_for_aws(seen, ("AKIDEXAMPLE", "s3cret-secret"), "cloudfront", takes) {
            return wrong(403, "SignatureDoesNotMatch");
        }
        let path = seen.target.path();
        match seen.method.as_str() {
            "GET" if path == PATH => Reply::of(200, "<InvalidationList></InvalidationList>"),
            "GET" => {
                let id = path.strip_prefix(PATH).and_then(|rest| rest.strip_prefix('/'));
                let order = self.orders.values_mut().find(|(_, of, _)| Some(of.as_str()) == id);
                let Some((_, id, asked)) = order else { return wrong(404, "NoSuchInvalidation") };
                *asked += 1;
                let status = if *asked >= 2 { "Completed" } else { "InProgress" };
                Reply::of(200, invalidation(id, status))
            }
            "POST" if path == PATH => {
                let text = std::str::from_utf8(&seen.body).unwrap();
                let is_xml =
                    seen.field("content-type").contains("xml") && text.starts_with("<?xml");
                let space = "xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"";
                let quantity = between(text, "<Quantity>", "</Quantity>").unwrap_or("");
                let paths: Vec<String> =
                    paths_of(text).map(|path| path.replace("&amp;", "&")).collect();
                if !is_xml || !text.contains(space) || quantity != paths.len().to_string() {
                    return wrong(400, "MalformedXML");
                }
                let fits = |path: &String| match path.strip_prefix('#') {
                    Some(tag) => {
                        !tag.is_empty()
                            && tag.len() <= 256
                            && tag.bytes().all(|byte| matches!(byte, 33..=126))
                            && !tag.contains(',')
                    }
                    None => path.starts_with('/') && path.len() <= 4000,
                };
                if paths.is_empty() || !paths.iter().all(fits) {
                    return wrong(400, "InvalidArgument");
                }
                let reference = between(text, "<CallerReference>", "</CallerReference>").unwrap();
                let known = self.orders.get(reference).cloned();
                // What is under way counts, whichever order it came with.
                let under_way = self.orders.values().filter(|(.., asked)| *asked < 2);
                let under_way: Vec<&str> =
                    under_way.flat_map(|(text, ..)| paths_of(text)).collect();
                let stars =
                    |paths: &[&str]| paths.iter().filter(|path| path.ends_with('*')).count();
                let new: Vec<&str> = paths.iter().map(String::as_str).collect();
                let all = [&under_way[..], &new].concat();
                if known.is_none() && (all.len() - stars(&all) > 3000 || stars(&all) > 15) {
                    self.refused += 1;
                    return wrong(400, "TooManyInvalidationsInProgress");
                }
                let id = match known {
                    Some((order, id, _)) if order == text => id,
                    Some(_) => return wrong(400, "InvalidationBatchAlreadyExists"),
                    None => {
                        self.created += 1;
                        self.paths.extend(paths);
                        let id = format!("I{}", self.created);
                        let order = (text.to_owned(), id.clone(), 0);
                        self.orders.insert(reference.to_owned(), order);
                        id
                    }
                };
                Reply::of(201, invalidation(&id, "InProgress"))
                    .with("location", format!("https://cloudfront.amazonaws.com{PATH}/{id}"))
            }
            _ => wrong(404, "NoSuchDistribution"),
        }
    }

    fn too_many(&self) -> Reply {
        wrong(400, "TooManyInvalidationsInProgress")
    }
}

#[tokio::test]
async fn all_that_is_wished_is_ordered_once_and_waited_for() {
    const MISHAPS: &[Mishap] = &[
        Mishap::None,
        Mishap::TooMany,
        Mishap::Lost,
        Mishap::None,
        Mishap::Cut,
        Mishap::Half,
        Mishap::Unwell,
    ];
    let double = Double::of(CloudFront::default(), MISHAPS).await;
    let mut wishes = tags(7_000, Mode::Soft);
    wishes.extend((0..40).map(|n| prefix(&format!("https://a.example/{n}/"))));
    wishes.push(url("https://a.example/b?c=1&d=2", Mode::Hard));
    wishes.push(host("a.example"));
    wishes.push(everything(Mode::Hard));
    let told = settle(&cloudfront(&double.api()), &wishes, "purge-1").await;
    assert!(told.ends.iter().all(|end| *end == Some(End::Done)), "{:?}", told.ends);
    double.look(|vendor| {
        assert_eq!(vendor.created, 6, "3000 + 3000 + 1001, and three times 15 with a star");
        let mut once = vendor.paths.clone();
        once.sort_unstable();
        once.dedup();
        // The host and everything are the same to it.
        assert_eq!((vendor.paths.len(), once.len()), (7_043, 7_042));
        assert!(once.contains(&"#post.6999".into()) && once.contains(&"/b?c=1&d=2".into()));
        assert!(once.contains(&"/39/*".into()) && once.contains(&"/*".into()));
        assert!(vendor.orders.values().all(|(_, _, asked)| *asked >= 2), "each was asked about");
    });
    assert!(told.waits.is_empty(), "it does not say for how long");
}

#[tokio::test]
async fn another_purge_of_the_same_is_another_order() {
    let double = Double::of(CloudFront::default(), &[]).await;
    let driver = cloudfront(&double.api());
    for id in ["purge-1", "purge-1", "purge-2"] {
        settle(&driver, &tags(3, Mode::Hard), id).await;
    }
    assert_eq!(double.look(|vendor| vendor.created), 2);
}

#[tokio::test]
async fn a_temporary_key_shows_its_token_and_signs_it() {
    let double = Double::of(CloudFront::default(), &[]).await;
    let text = format!(
        "distribution = \"EDFDVBD6EXAMPLE\"\naccess_key_id = \"AKIDEXAMPLE\"\napi = {:?}\nsession_env = \"A\"",
        double.api()
    );
    let config: larder_gateway::cdn::drivers::cloudfront::Config = toml::from_str(&text).unwrap();
    let driver = config.driver(&crate::setups::Known).unwrap();
    let probe = driver.probes(std::time::SystemTime::now()).remove(0);
    assert_eq!(probe.head.headers["x-amz-security-token"], "s3cret-session");
    assert_eq!(send(&probe).await.unwrap().head.status, 200);
    let ends = settle(&driver, &tags(1, Mode::Hard), "purge-1").await.ends;
    assert_eq!(ends, [Some(End::Done)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_signed_when_it_is_asked_however_long_it_had_to_wait() {
    // The order, and then the first question.
    let takes = Some(Duration::from_secs(1));
    let vendor = CloudFront { takes, ..CloudFront::default() };
    let rests = &[Mishap::None, Mishap::Resting, Mishap::None, Mishap::None];
    let double = Double::of(vendor, rests).await;
    let told = Told::at_once(cloudfront(&double.api()), Duration::from_secs(3600));
    let ask = told.purge(Purge::tag("a").hard()).await;
    let ended = told.ended(&ask).await;
    assert_eq!(ended["state"], "confirmed", "{ended}");
    assert!(double.look(|vendor| vendor.created) == 1 && double.calls() > 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_ordered_than_may_be_under_way_and_others_go_meanwhile() {
    let double = Double::of(CloudFront::default(), &[]).await;
    let one_by_one = |own: Bounds| Bounds { most_in_a_call: 1, ..unhindered(own) };
    let outbox = OutboxConfig { settle: Duration::ZERO, ..OutboxConfig::default() };
    let timeout = Duration::from_secs(10);
    let told = Told::by(cloudfront(&double.api()), one_by_one, timeout, outbox);
    let mut asked = Vec::new();
    for n in 0..18 {
        let purge = Purge::prefix(format!("https://a.example/{n}/")).hard();
        asked.push(told.purge(purge).await);
    }
    asked.push(told.purge(Purge::tag("a").hard()).await);
    for ask in &asked {
        let ended = told.ended(ask).await;
        assert_eq!(ended["state"], "confirmed", "{ended}");
    }
    double.look(|vendor| {
        assert_eq!((vendor.created, vendor.refused), (19, 0));
        let place = |path: &str| vendor.paths.iter().position(|other| other == path);
        assert!(place("#a") < place("/15/*"), "the tag had to wait for none: {:?}", vendor.paths);
    });
}
