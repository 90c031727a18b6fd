//! Examples: what the vendors' documentation shows of requests and answers, replayed.

use std::time::{Duration, SystemTime};

use larder::Mode;
use larder_gateway::cdn::driver::{Answer, Call, Driver, Said};

use crate::setups::{akamai, bunny, cloudflare, cloudfront, fastly, google, tag, url};

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
        Said::Working { id, ask, .. } => {
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
    let said = answer(200, &[], r#"{"status":"ok","id":"1234-1-1"}"#);
    assert_eq!(told(&driver, &call, &said), "done 1234-1-1");
    for (status, body, expected) in [
        (401, r#"{"msg":"Provided credentials are missing or invalid"}"#, "refused 401: Provided"),
        (
            404,
            r#"{"msg":"Record not found","detail":"Cannot load service"}"#,
            "refused 404: Cannot load service",
        ),
        (500, "<html>", "later None 500"),
        (200, "{\"status\":\"o", "later None 200, and not readable"),
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
    let body = r#"{"errors":[],"messages":[],"success":true,"result":{"id":"023e105f4ecef8ad9ca31a8372d0c353"}}"#;
    let said = told(&driver, &call, &answer(200, &[], body));
    assert_eq!(said, "done 023e105f4ecef8ad9ca31a8372d0c353");
    let body = r#"{"success":false,"errors":[{"code":10000,"message":"Authentication error"}]}"#;
    for status in [200, 403] {
        let said = told(&driver, &call, &answer(status, &[], body));
        assert_eq!(said, format!("refused {status}: Authentication error"));
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
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Invalidation><CreateTime>timestamp</CreateTime><Id>IDFDVBD632BHDS5</Id>\
        <InvalidationBatch><CallerReference>string</CallerReference></InvalidationBatch><Status>InProgress</Status></Invalidation>";
    assert_eq!(
        told(&driver, &call, &answer(201, &[], body)),
        "working IDFDVBD632BHDS5: GET https://cloudfront.amazonaws.com/2020-05-31/distribution/EDFDVBD6EXAMPLE/invalidation/IDFDVBD632BHDS5"
    );
    let completed = body.replace("InProgress", "Completed");
    assert_eq!(told(&driver, &call, &answer(200, &[], &completed)), "done IDFDVBD632BHDS5");
    for (status, code, expected) in [
        (403, "AccessDenied", "refused 403: no"),
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
    let body = r#"{"httpStatus":201,"detail":"Request accepted","supportId":"17PY1492793544958045-219026624",
        "purgeId":"e535071c-26b2-11e7-94d7-276f2f54d938","estimatedSeconds":5}"#;
    let said = told(&driver, &call, &answer(201, &[], body));
    assert_eq!(said, "done e535071c-26b2-11e7-94d7-276f2f54d938");
    // "Rate limit response examples".
    let body = r#"{"supportId":"17PY1552425241133633-211776704","title":"Rate Limit exceeded","httpStatus":429,
        "describedBy":"https://developer.akamai.com/api/core_features/fast_purge/v3.html#httpcodes","rateLimit":100,
        "rateLimitCurrentRequestSize":1,"rateLimitRemaining":0}"#;
    let fields = [("x-ratelimit-remaining", "0"), ("x-ratelimit-limit-per-second", "50.00")];
    let said = told(&driver, &call, &answer(429, &fields, body));
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
    let running = r#"{"kind":"compute#operation","name":"operation-1","status":"RUNNING"}"#;
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
    assert_eq!(told(&driver, &call, &answer(403, &[], &body)), "refused 403: Rate Limit Exceeded");
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
