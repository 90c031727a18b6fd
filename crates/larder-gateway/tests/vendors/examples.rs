//! Examples: what the vendors' documentation shows of requests and answers, replayed.

use std::time::{Duration, SystemTime};

use larder::Mode;
use larder_gateway::cdn::driver::{Answer, Call, Driver, Said};

use crate::documented::{
    AKAMAI_DONE, AKAMAI_TOO_MANY, AKAMAI_TOO_MANY_FIELDS, CLOUDFLARE_DONE, CLOUDFLARE_NO_TOKEN,
    CLOUDFRONT_BEGUN, FASTLY_ALL, FASTLY_NO_KEY, FASTLY_NO_SERVICE, FASTLY_URL, GOOGLE_RUNNING,
};
use crate::setups::{akamai, bunny, cloudflare, cloudfront, fastly, google, larder, tag, url};

fn answer(status: u16, fields: &[(&str, &str)], body: &str) -> Answer {
    let mut builder = http::Response::builder().status(status);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    let (head, ()) = builder.body(()).unwrap().into_parts();
    Answer { head, body: body.to_owned().into() }
}

fn told(driver: &dyn Driver, call: &Call, answer: &Answer) -> String {
    match driver.said(call, answer, SystemTime::now()) {
        Said::Done { id } => format!("done {}", id.unwrap_or_default()),
        Said::Working { id, .. } => {
            let ask = driver.question(&id, call.wishes.clone(), now()).unwrap();
            format!("working {id}: {} {}", ask.head.method, ask.head.uri)
        }
        Said::Partly { not, .. } => format!("partly {not:?}"),
        Said::Later { after, why } => format!("later {:?} {why}", after.map(|wait| wait.as_secs())),
        Said::Refused { why } => format!("refused {why}"),
    }
}

fn asked(call: &Call) -> String {
    let body = String::from_utf8_lossy(&call.body);
    format!("{} {} {body}", call.head.method, call.head.uri)
}

fn now() -> SystemTime {
    SystemTime::now()
}

#[test]
fn fastly_s() {
    let driver = fastly("https://api.fastly.com");
    let wishes = ["key_1", "key_2", "key_3"].map(|name| tag(name, Mode::Hard));
    let call = driver.calls(&wishes, "p", now()).remove(0);
    assert_eq!(
        asked(&call),
        r#"POST https://api.fastly.com/service/SU1Z0isxPaozGVKXdv0eY/purge {"surrogate_keys":["key_1","key_2","key_3"]}"#
    );
    let said =
        answer(200, &[], r#"{"key_1":"108-1391560174-974124","key_2":"108-1","key_3":"108-2"}"#);
    assert_eq!(told(&driver, &call, &said), "done 108-1391560174-974124");
    let said = answer(200, &[], r#"{"key_1":"108-1391560174-974124"}"#);
    assert!(told(&driver, &call, &said).starts_with("partly [(1, "));
    let call = driver.calls(&[url("https://www.example.com/a", Mode::Soft)], "p", now()).remove(0);
    assert_eq!(asked(&call), "POST https://api.fastly.com/purge/www.example.com/a ");
    assert_eq!(call.head.headers["fastly-soft-purge"], "1");
    let said = answer(200, &[], FASTLY_URL);
    assert_eq!(told(&driver, &call, &said), "done 108-1391560174-974124");
    for (status, body, expected) in [
        (200, FASTLY_ALL, "done "),
        (401, FASTLY_NO_KEY, "later None 401: Provided"),
        (404, FASTLY_NO_SERVICE, "refused 404: Cannot load service"),
        (500, "<html>", "later None 500"),
        (200, "{\"status\":\"o", "later None 200, and not readable"),
        (204, "", "later None 204, which does not say that it is done"),
        (301, "", "refused 301: its API is elsewhere"),
    ] {
        let said = told(&driver, &call, &answer(status, &[], body));
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn cloudflare_s() {
    let driver = cloudflare("https://api.cloudflare.com");
    let call = driver.calls(&[tag("a-cache-tag", Mode::Soft)], "p", now()).remove(0);
    assert_eq!(
        asked(&call),
        r#"POST https://api.cloudflare.com/client/v4/zones/023e105f4ecef8ad9ca31a8372d0c353/purge_cache {"tags":["a-cache-tag"]}"#
    );
    let said = told(&driver, &call, &answer(200, &[], CLOUDFLARE_DONE));
    assert_eq!(said, "done 023e105f4ecef8ad9ca31a8372d0c353");
    for (status, expected) in [(200, "refused 200"), (403, "later None 403")] {
        let said = told(&driver, &call, &answer(status, &[], CLOUDFLARE_NO_TOKEN));
        assert_eq!(said, format!("{expected}: Authentication error"));
    }
    let said = told(&driver, &call, &answer(429, &[("retry-after", "60")], ""));
    assert_eq!(said, "later Some(60) 429");
}

#[test]
fn cloudfront_s() {
    let driver = cloudfront("https://cloudfront.amazonaws.com");
    let wish = tag("product:electronics", Mode::Hard);
    let call = driver.calls(&[wish], "20120301090000", now()).remove(0);
    assert!(asked(&call).contains("<Path>#product:electronics</Path>"), "{}", asked(&call));
    let body = CLOUDFRONT_BEGUN;
    assert_eq!(
        told(&driver, &call, &answer(201, &[], body)),
        "working IDFDVBD632BHDS5: GET https://cloudfront.amazonaws.com/2020-05-31/distribution/EDFDVBD6EXAMPLE/invalidation/IDFDVBD632BHDS5"
    );
    let completed = body.replace("InProgress", "Completed");
    assert_eq!(told(&driver, &call, &answer(200, &[], &completed)), "done IDFDVBD632BHDS5");
    for (status, code, expected) in [
        (403, "AccessDenied", "later None 403: no"),
        (400, "InvalidArgument", "refused 400: no"),
        (400, "TooManyInvalidationsInProgress", "later None 400: no"),
        (400, "Throttling", "later None 400: no"),
        (503, "ServiceUnavailable", "later None 503: no"),
    ] {
        let body = format!(
            "<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
        );
        assert_eq!(told(&driver, &call, &answer(status, &[], &body)), expected);
    }
}

#[test]
fn akamai_s() {
    let driver = akamai("https://akab-h05tnam3wl42son7nktnlnnx-kbob3i3v.luna.akamaiapis.net");
    let call = driver.calls(&[tag("black-friday", Mode::Soft)], "p", now()).remove(0);
    assert!(
        asked(&call).ends_with(r#"/ccu/v3/invalidate/tag/production {"objects":["black-friday"]}"#)
    );
    let call = driver.calls(&[tag("black-friday", Mode::Hard)], "p", now()).remove(0);
    assert!(asked(&call).contains("/ccu/v3/delete/tag/production "));
    let said = told(&driver, &call, &answer(201, &[], AKAMAI_DONE));
    assert_eq!(said, "done e535071c-26b2-11e7-94d7-276f2f54d938");
    let said = answer(429, &AKAMAI_TOO_MANY_FIELDS, AKAMAI_TOO_MANY);
    // Of 50 in a second one comes in 20 ms.
    assert_eq!(driver.rest(&said, now()), Some(Duration::from_millis(20)));
    let said = told(&driver, &call, &said);
    assert_eq!(said, "later Some(5) 429: Rate Limit exceeded");
}

#[test]
fn bunny_s() {
    let driver = bunny("https://api.bunny.net");
    let call = driver.calls(&[tag("product-123", Mode::Soft)], "p", now()).remove(0);
    assert_eq!(
        asked(&call),
        r#"POST https://api.bunny.net/pullzone/4711/purgeCache {"CacheTag":"product-123"}"#
    );
    for status in [200, 204] {
        assert_eq!(told(&driver, &call, &answer(status, &[], "")), "done ");
    }
    let said = told(&driver, &call, &answer(429, &[("retry-after", "2")], ""));
    assert_eq!(said, "later Some(2) 429");
}

#[test]
fn google_s() {
    let driver = google("https://compute.googleapis.com");
    let call = driver.calls(&[tag("tag1", Mode::Hard)], "p", now()).remove(0);
    assert!(asked(&call).ends_with(r#" {"cacheTags":["tag1"]}"#), "{}", asked(&call));
    let running = GOOGLE_RUNNING;
    assert_eq!(
        told(&driver, &call, &answer(200, &[], running)),
        "working operation-1: GET https://compute.googleapis.com/compute/v1/projects/blog-1/global/operations/operation-1"
    );
    let done = running.replace("RUNNING", "DONE");
    assert_eq!(told(&driver, &call, &answer(200, &[], &done)), "done operation-1");
    let body = r#"{"error":{"errors":[{"domain":"usageLimits","reason":"rateLimitExceeded","message":"Rate Limit Exceeded"}],"code":403}}"#;
    assert_eq!(
        told(&driver, &call, &answer(403, &[], body)),
        "later None 403: Rate Limit Exceeded"
    );
    let body = body.replace("rateLimitExceeded", "forbidden");
    let said = told(&driver, &call, &answer(403, &[], &body));
    assert_eq!(said, "later None 403: Rate Limit Exceeded", "who may not may later");
    assert!(told(&driver, &call, &answer(400, &[], &body)).starts_with("refused 400"));
}

#[test]
fn another_larder_s() {
    let driver = larder("http://192.0.2.7:9191");
    let call = driver.calls(&[tag("post:1", Mode::Soft)], "p", now()).remove(0);
    assert_eq!(
        asked(&call),
        r#"POST http://192.0.2.7:9191/v1/purge {"mode":"soft","tags":["post:1"]}"#
    );
    // As docs/cdn.md shows a receipt.
    let receipt = |shared: &str, cdn: &str| {
        format!(
            r#"{{"id":"5f0c2b9d8e7a6143","what":["tag post:1"],"purges":1,"mode":"soft","tiers":{{
            "memory":{{"tier":"memory","state":"applied","by":1,"of":1}},
            "shared":{{"tier":"shared","state":"{shared}","by":3,"of":3}},
            "cdn":[{{"name":"edge","vendor":"fastly","state":"{cdn}","reason":"401: no",
                "calls":[{{"batch":"93ab01f2-17","vendor_id":"108-1","state":"{cdn}","at":"","purges":1}}]}}]}}}}"#
        )
    };
    let done = "done 5f0c2b9d8e7a6143";
    let working = "working 5f0c2b9d8e7a6143: GET http://192.0.2.7:9191/v1/purges/5f0c2b9d8e7a6143";
    for (shared, cdn, expected) in [
        ("applied", "confirmed", done),
        ("lapsed", "confirmed", done),
        ("queued", "confirmed", working),
        ("applied", "sent", working),
        ("applied", "queued", working),
        ("applied", "failed", "refused 401: no"),
    ] {
        let said = told(&driver, &call, &answer(200, &[], &receipt(shared, cdn)));
        assert_eq!(said, expected, "{shared} {cdn}");
    }
    let said = told(&driver, &call, &answer(200, &[], r#"{"purged":1}"#));
    assert_eq!(said, "done ", "where purges are not remembered");
    let body = r#"{"title":"Too many","detail":"wait"}"#;
    let said = told(&driver, &call, &answer(429, &[("retry-after", "3")], body));
    assert_eq!(said, "later Some(3) 429: wait");
}

#[test]
fn a_wait_may_be_said_in_seconds_or_as_a_date_and_is_never_without_end() {
    let driver = bunny("https://api.bunny.net");
    let call = driver.calls(&[tag("a", Mode::Hard)], "p", now()).remove(0);
    let date = httpdate::fmt_http_date(now() + Duration::from_secs(100));
    for (text, range) in [
        ("7", 7..=7),
        ("0", 0..=0),
        ("99999999999", 86_400..=86_400),
        (date.as_str(), 90..=100),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0..=0),
    ] {
        let said = driver.said(&call, &answer(503, &[("retry-after", text)], ""), now());
        let Said::Later { after: Some(after), .. } = said else { panic!("{said:?}") };
        assert!(range.contains(&after.as_secs()), "{text}: {after:?}");
    }
    for text in ["soon", "-1", ""] {
        let said = driver.said(&call, &answer(503, &[("retry-after", text)], ""), now());
        assert!(matches!(said, Said::Later { after: None, .. }), "{text}: {said:?}");
    }
}
