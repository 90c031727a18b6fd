//! Laws: what holds of every driver, whatever is wished.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use larder::Mode;
use larder_gateway::cdn::driver::{Call, Driver, What, Wish};
use proptest::{collection::vec, prelude::*};

use crate::setups::{all, cloudfront, google, tags, template};

fn any_wish() -> impl Strategy<Value = Wish> {
    let text = "[a-z0-9._:*?#%&=é \"'\\\\{},-]{0,40}";
    let path = "(/[a-zA-Z0-9._~%!$&'()*+,;=:@{}\"-]{0,12}){1,4}(\\?[a-z0-9=&*]{0,12})?";
    let host = "[a-z]{1,8}(\\.[a-z]{2,3}(:[0-9]{2,4})?)?";
    let url = ("(http|https)", host, path).prop_filter_map("a URL", |(scheme, host, path)| {
        format!("{scheme}://{host}{path}").parse().ok().map(What::Url)
    });
    let long = (1000_usize..20_000).prop_map(|length| {
        What::Url(format!("http://a.b/{}", "x".repeat(length)).parse().unwrap())
    });
    let what = prop_oneof![
        8 => text.prop_map(What::Tag),
        2 => "[a-z]{1,70}".prop_map(What::Tag),
        1 => (100_usize..3000).prop_map(|length| What::Tag("t".repeat(length))),
        6 => url,
        1 => long,
        1 => "/[a-z]{1,9}".prop_filter_map("a path", |path| path.parse().ok().map(What::Url)),
        4 => ("(http|https|ftp)", host, path)
            .prop_map(|(scheme, host, path)| What::Prefix(format!("{scheme}://{host}{path}"))),
        1 => text.prop_map(What::Prefix),
        3 => host.prop_map(What::Host),
        1 => text.prop_map(What::Host),
        1 => Just(What::Everything),
    ];
    (what, any::<bool>()).prop_map(|(what, is_soft)| Wish {
        what,
        mode: if is_soft { Mode::Soft } else { Mode::Hard },
    })
}

/// Whether all that `narrow` names is named by `wide` as well.
fn covers(wide: &What, narrow: &What) -> bool {
    let begins = |prefix: &str| match narrow {
        What::Url(url) => url.to_string().starts_with(prefix),
        What::Prefix(other) => other.starts_with(prefix),
        _ => false,
    };
    let is_at = |host: &str| match narrow {
        What::Url(url) => url.authority().is_some_and(|other| other.as_str() == host),
        What::Prefix(text) => {
            let rest = text.split_once("://").map_or("", |(_, rest)| rest);
            rest.split('/').next() == Some(host)
        }
        _ => false,
    };
    match wide {
        What::Everything => true,
        What::Host(host) => wide == narrow || is_at(host),
        What::Prefix(prefix) => wide == narrow || begins(prefix),
        What::Url(_) | What::Tag(_) => wide == narrow,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_wish_is_in_a_call_that_is_within_bounds_or_is_told_why_not(
        wishes in vec(any_wish(), 0..40),
    ) {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for driver in all() {
            let bounds = driver.bounds();
            let widened: Vec<_> = wishes.iter().map(|wish| driver.widen(wish)).collect();
            for (wish, wide) in wishes.iter().zip(&widened) {
                let Ok(wide) = wide else { continue };
                prop_assert!(covers(&wide.what, &wish.what), "{driver:?}: {wish:?} as {wide:?}");
                prop_assert!(wish.mode == Mode::Soft || wide.mode == Mode::Hard, "{wish:?}");
                let again = driver.widen(wide);
                prop_assert_eq!(again.as_ref(), Ok(wide), "what was widened stays");
            }
            let calls = driver.calls(&wishes, "purge-1", now);
            let mut asked = Vec::new();
            for call in &calls {
                prop_assert!(!call.wishes.is_empty());
                let is_everything = call.wishes.iter().all(|&place| {
                    widened[place].as_ref().is_ok_and(|wide| wide.what == What::Everything)
                });
                prop_assert!(is_everything || call.wishes.len() <= bounds.most_in_a_call, "{call:?}");
                prop_assert!(call.body.len() <= bounds.most_bytes, "{}", call.body.len());
                prop_assert!(call.wishes.is_sorted(), "in the order of the wishes");
                prop_assert!(call.head.headers.contains_key("host"));
                asked.extend(&call.wishes);
            }
            let once: BTreeSet<usize> = asked.iter().copied().collect();
            prop_assert_eq!(once.len(), asked.len(), "each once");
            for (place, wide) in widened.iter().enumerate() {
                prop_assert_eq!(wide.is_ok(), once.contains(&place), "{:?}", wishes[place]);
            }
            for call in &calls {
                // Whoever makes one of them again, by itself, makes the same, by its name, if it has one.
                let own: Vec<Wish> = call.wishes.iter().map(|&place| wishes[place].clone()).collect();
                let alone = driver.calls(&own, "purge-1", now);
                prop_assert_eq!(alone.len(), 1);
                prop_assert_eq!(&alone[0].body, &call.body);
                prop_assert_eq!(&alone[0].head.uri, &call.head.uri);
            }
            let again = driver.calls(&wishes, "purge-1", now + Duration::from_secs(3600));
            prop_assert_eq!(calls.len(), again.len());
            for (call, other) in calls.iter().zip(&again) {
                prop_assert_eq!((&call.body, &call.wishes), (&other.body, &other.wishes));
                prop_assert_eq!(&call.head.uri, &other.head.uri);
            }
        }
    }
}

/// What a vendor takes for the name of a call, of all calls of a driver.
fn names(driver: &dyn Driver, id: &str, wishes: &[Wish]) -> Vec<String> {
    let calls = driver.calls(wishes, id, SystemTime::now());
    let name = |call: Call| {
        let body = String::from_utf8_lossy(&call.body).into_owned();
        let text = format!("{} {body}", call.head.uri);
        let (_, rest) = ["<CallerReference>", "requestId=", "\"id\":\""]
            .iter()
            .find_map(|before| text.split_once(before))
            .unwrap_or_else(|| panic!("no name in {text}"));
        rest.split(['<', '&', ' ', '"']).next().unwrap().to_owned()
    };
    calls.into_iter().map(name).collect()
}

#[test]
fn a_call_s_name_is_that_of_its_batch_and_of_what_it_asks_for() {
    let api = "https://api.example.com";
    let drivers: [Box<dyn Driver>; 3] = [
        Box::new(cloudfront(api)),
        Box::new(google(api)),
        Box::new(template(
            "[tag]\nurl = \"https://api.example.com/\"\nbody = '{\"tags\":[{items}],\"id\":\"{id}\"}'",
        )),
    ];
    // The others have no such thing in their APIs.
    let named: Vec<&str> = all()
        .iter()
        .filter(|driver| driver.knows_calls_again())
        .map(|driver| driver.vendor())
        .collect();
    assert_eq!(named, ["cloudfront", "google"]);
    for driver in &drivers {
        assert!(driver.knows_calls_again());
        let wishes = tags(7_000, Mode::Hard);
        let first = names(&**driver, "b-1", &wishes);
        let different: BTreeSet<&String> = first.iter().collect();
        assert!(first.len() > 1 && different.len() == first.len(), "{}", driver.vendor());
        assert_eq!(first, names(&**driver, "b-1", &wishes), "{}", driver.vendor());
        let other = names(&**driver, "b-2", &wishes);
        assert!(other.iter().all(|name| !different.contains(name)), "{}", driver.vendor());
    }
}

#[test]
fn nothing_of_a_driver_shows_a_secret() {
    for driver in all() {
        let calls = driver.calls(&tags(3, Mode::Soft), "purge-1", SystemTime::now());
        let probe = driver.probes(SystemTime::now());
        let shown = format!("{driver:?} {calls:?} {probe:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn ten_thousand_tags_are_all_asked_for_in_their_order() {
    let wishes = tags(10_000, Mode::Hard);
    for driver in all() {
        let calls = driver.calls(&wishes, "purge-1", SystemTime::now());
        let asked: Vec<usize> = calls.iter().flat_map(|call| call.wishes.clone()).collect();
        let expected = if driver.vendor() == "nginx" { 0 } else { wishes.len() };
        assert!(asked.iter().copied().eq(0..expected), "{}", driver.vendor());
    }
}

#[test]
fn soft_is_soft_where_a_vendor_knows_it_and_hard_elsewhere() {
    for driver in all() {
        let wide = |wish: Wish| driver.widen(&wish).map(|wide| wide.mode).ok();
        let tag = wide(tags(1, Mode::Soft).remove(0));
        let everything = wide(Wish { what: What::Everything, mode: Mode::Soft });
        let (of_tag, of_everything) = match driver.vendor() {
            "fastly" | "varnish" => (Some(Mode::Soft), Some(Mode::Hard)),
            "akamai" | "larder" => (Some(Mode::Soft), Some(Mode::Soft)),
            "nginx" => (None, None),
            "template" if tag == Some(Mode::Soft) => (Some(Mode::Soft), Some(Mode::Hard)),
            _ => (Some(Mode::Hard), Some(Mode::Hard)),
        };
        assert_eq!((tag, everything), (of_tag, of_everything), "{}", driver.vendor());
    }
}

/// What is told once must be what would have been told twice.
#[test]
fn what_a_vendor_does_not_tell_apart_is_the_same_call() {
    let urls = ["http://a.b/x?y", "https://a.b/x?y", "https://c.d/x?y", "https://a.b/z"];
    let url = |text: &&str| What::Url(text.parse().unwrap());
    let prefix = |text: &&str| What::Prefix((*text).to_owned());
    let mut same: BTreeSet<&str> = BTreeSet::new();
    for driver in all() {
        for kind in [urls.iter().map(url).collect::<Vec<_>>(), urls.iter().map(prefix).collect()] {
            let asked = |what: &What| {
                let wish = Wish { what: what.clone(), mode: Mode::Hard };
                let wish = driver.widen(&wish).ok()?;
                let calls = driver.calls(&[wish], "id", UNIX_EPOCH);
                let told = |call: Call| {
                    let host = call.head.headers.get("host").cloned();
                    (call.head.method, call.head.uri.to_string(), host, call.body)
                };
                Some(calls.into_iter().map(told).collect::<Vec<_>>())
            };
            for one in &kind {
                for other in kind.iter().filter(|other| *other != one) {
                    if driver.are_same(one, other) {
                        same.insert(driver.vendor());
                        assert_eq!(asked(one), asked(other), "{driver:?} {one} {other}");
                    }
                }
            }
        }
    }
    let expected = ["cloudflare", "cloudfront", "fastly", "google", "nginx", "varnish"];
    assert_eq!(same.into_iter().collect::<Vec<_>>(), expected);
}
