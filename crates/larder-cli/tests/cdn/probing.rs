//! Probing: `larder check --live` tries the credentials and the names of each vendor, and says in clear words what is wrong.

use std::fs;

use serde_json::json;

use crate::{
    api::api,
    support::{
        larder::run_in,
        origin::{Origin, ok},
    },
};

fn answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// The value of a field.
fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(of, _)| of.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
}

/// All that a question may do is ask.
fn asked(head: &str) -> &str {
    let path = head.split(' ').nth(1).unwrap();
    assert!(head.starts_with("GET ") || path.starts_with("/ccu/v3/rate-limit-status/"), "{head}");
    path
}

/// A token of all services, one of another service, one that may not purge, one that may not read; and none.
async fn fastly() -> Origin {
    api(|head, _| {
        let (key, path) = (field(head, "fastly-key"), asked(head));
        let of = |scope: &str, services: &[&str]| {
            json!({ "id": "t", "scope": scope, "services": services }).to_string()
        };
        Some(match (path, key) {
            ("/tokens/self", "right" | "narrow") => answer(200, &of("purge_select", &[])),
            ("/tokens/self", "others") => answer(200, &of("global", &["another"])),
            ("/tokens/self", "reader") => answer(200, &of("global:read", &[])),
            ("/service/known", "right") => answer(200, "{\"id\":\"known\"}"),
            ("/service/known", "narrow") => {
                answer(403, "{\"msg\":\"You are not authorized to perform this action\"}")
            }
            (_, "right") => answer(404, "{\"msg\":\"Record not found\"}"),
            _ => answer(401, "{\"msg\":\"Provided credentials are missing or invalid\"}"),
        })
    })
    .await
}

async fn cloudflare() -> Origin {
    api(|head, _| {
        let (key, path) = (field(head, "authorization"), asked(head));
        let wrong = |code: u32, message: &str| {
            json!({ "success": false, "errors": [{ "code": code, "message": message }] })
                .to_string()
        };
        let verified = |status: &str| {
            json!({ "success": true, "result": { "id": "t", "status": status } }).to_string()
        };
        Some(match (path, key.trim_start_matches("Bearer ")) {
            ("/client/v4/zones/known", "right") => {
                answer(200, "{\"success\":true,\"result\":{\"id\":\"known\"}}")
            }
            (path, "right") if path.starts_with("/client/v4/zones/") => {
                answer(404, &wrong(1001, "Invalid zone identifier"))
            }
            ("/client/v4/user/tokens/verify", "narrow") => answer(200, &verified("active")),
            ("/client/v4/user/tokens/verify", "old") => answer(200, &verified("expired")),
            ("/client/v4/user/tokens/verify", _) => answer(401, &wrong(1000, "Invalid API Token")),
            _ => answer(403, &wrong(9109, "Unauthorized to access requested resource")),
        })
    })
    .await
}

async fn akamai() -> Origin {
    api(|head, _| {
        let (key, path) = (field(head, "authorization"), asked(head));
        let is_client = key.starts_with("EG1-HMAC-SHA256 client_token=right;access_token=right;")
            && key.contains(";signature=");
        Some(match (path, is_client) {
            ("/ccu/v3/rate-limit-status/tag", true) => answer(200, "{\"httpStatus\":200}"),
            (_, true) => answer(404, "{}"),
            _ => answer(
                401,
                "{\"title\":\"Not authorized\",\"detail\":\"Signature does not match\"}",
            ),
        })
    })
    .await
}

async fn bunny() -> Origin {
    api(|head, _| {
        Some(match (asked(head), field(head, "accesskey")) {
            ("/pullzone/7", "right") => answer(200, "{\"Id\":7}"),
            (_, "right") => answer(404, "{\"Message\":\"The requested Pull Zone was not found\"}"),
            _ => answer(401, "{\"Message\":\"Authorization has been denied for this request.\"}"),
        })
    })
    .await
}

/// It checks no signature: a key's name tells whose it is.
async fn cloudfront() -> Origin {
    api(|head, _| {
        let key = field(head, "authorization");
        let wrong = |status, message: &str| {
            answer(
                status,
                &format!(
                    "<ErrorResponse><Error><Message>{message}</Message></Error></ErrorResponse>"
                ),
            )
        };
        Some(match asked(head) {
            _ if !key.contains("Credential=right/") => wrong(403, "The security token is invalid"),
            "/2020-05-31/distribution/known/invalidation?MaxItems=1" => {
                ok("content-type: text/xml\r\n", "<InvalidationList></InvalidationList>")
            }
            _ => wrong(404, "The specified distribution does not exist"),
        })
    })
    .await
}

async fn google() -> Origin {
    api(|head, _| {
        let wrong = |message: &str| json!({ "error": { "message": message } }).to_string();
        Some(match (asked(head), field(head, "authorization")) {
            ("/compute/v1/projects/p/global/urlMaps/known", "Bearer right") => answer(200, "{}"),
            (_, "Bearer right") => answer(404, &wrong("The resource was not found")),
            _ => answer(401, &wrong("Request had invalid authentication credentials")),
        })
    })
    .await
}

/// Each of these tables, and what is said of it.
async fn says(rows: &[(String, &str)]) {
    let app = Origin::saying(ok("", "a")).await;
    let folder = tempfile::tempdir().unwrap();
    for secret in ["right", "wrong", "narrow", "others", "reader", "old"] {
        fs::write(folder.path().join(secret), secret).unwrap();
    }
    let tables: String = rows
        .iter()
        .enumerate()
        .map(|(nth, (table, _))| format!("[[cdn]]\nname = \"c{nth}\"\n{table}\n"))
        .collect();
    let file = format!("[upstream.app]\nurl = \"http://{}\"\n{tables}", app.address);
    fs::write(folder.path().join("larder.toml"), file).unwrap();
    let exit = run_in(folder.path(), &["check", "--live"]).await;
    for (nth, (_, said)) in rows.iter().enumerate() {
        let (word, said) = said.split_once(' ').unwrap();
        let line = exit.out.lines().find(|line| line.contains(&format!("cdn c{nth}, ")));
        let line = line.unwrap_or_else(|| panic!("no c{nth} in {exit:?}"));
        assert!(line.trim_start().starts_with(word) && line.ends_with(said), "{said}\n{line}");
    }
    let fails = rows.iter().filter(|(_, said)| said.starts_with("FAILED")).count();
    assert_eq!(exit.code, Some(i32::from(fails > 0)), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_vendor_is_asked_for_the_key_and_for_the_name() {
    let (fastly, cloudflare, akamai) = (fastly().await, cloudflare().await, akamai().await);
    let (bunny, cloudfront, google) = (bunny().await, cloudfront().await, google().await);
    let of_fastly = |service: &str, token: &str| {
        format!(
            "[cdn.fastly]\nservice = \"{service}\"\ntoken_file = \"{token}\"\napi = \"http://{}\"",
            fastly.address
        )
    };
    let of_cloudflare = |zone: &str, token: &str| {
        format!(
            "[cdn.cloudflare]\nzone = \"{zone}\"\ntoken_file = \"{token}\"\napi = \"http://{}\"",
            cloudflare.address
        )
    };
    let of_akamai = |token: &str, more: &str| {
        format!(
            "[cdn.akamai]\nclient_token_file = \"{token}\"\nclient_secret_file = \"right\"\naccess_token_file = \"right\"\n{more}api = \"http://{}\"",
            akamai.address
        )
    };
    let of_bunny = |zone: u32, key: &str| {
        format!(
            "[cdn.bunny]\npull_zone = {zone}\nkey_file = \"{key}\"\napi = \"http://{}\"",
            bunny.address
        )
    };
    let of_cloudfront = |distribution: &str, key: &str| {
        format!(
            "[cdn.cloudfront]\ndistribution = \"{distribution}\"\naccess_key_id = \"{key}\"\nsecret_file = \"right\"\napi = \"http://{}\"",
            cloudfront.address
        )
    };
    let of_google = |map: &str, token: &str| {
        format!(
            "[cdn.google]\nproject = \"p\"\nurl_map = \"{map}\"\ntoken_file = \"{token}\"\napi = \"http://{}\"",
            google.address
        )
    };
    let good = "ok its credentials are good";
    says(&[
        (of_fastly("known", "right"), good),
        (of_cloudflare("known", "right"), good),
        (of_akamai("right", ""), good),
        (of_bunny(7, "right"), good),
        (of_cloudfront("known", "right"), good),
        (of_google("known", "right"), good),
    ])
    .await;
    says(&[
        (
            of_fastly("known", "narrow"),
            "ok its credentials are good; whether there is service known it may not read",
        ),
        (
            of_fastly("known", "wrong"),
            "FAILED it does not take these credentials: 401: Provided credentials are missing or invalid",
        ),
        (
            of_fastly("known", "reader"),
            "FAILED it does not take these credentials: it may not purge: global:read",
        ),
        (
            of_fastly("known", "others"),
            "FAILED it does not know service known: the token is for other services",
        ),
        (of_fastly("none", "right"), "FAILED it does not know service none: 404: Record not found"),
        (
            of_cloudflare("known", "narrow"),
            "ok its credentials are good; whether there is zone known, and whether it may purge it, it may not read (Zone Read)",
        ),
        (
            of_cloudflare("known", "wrong"),
            "FAILED it does not take these credentials: 401: Invalid API Token",
        ),
        (
            of_cloudflare("known", "old"),
            "FAILED it does not take these credentials: the token is expired",
        ),
        (
            of_cloudflare("none", "right"),
            "FAILED it does not know zone none: 404: Invalid zone identifier",
        ),
        (
            of_akamai("right", "cp_codes = [1]\n"),
            "ok its credentials are good; whether cp_codes are right it has no call to tell without purging",
        ),
        (
            of_akamai("wrong", ""),
            "FAILED it does not take these credentials: 401: Signature does not match",
        ),
        (
            of_bunny(7, "wrong"),
            "FAILED it does not take these credentials: 401: Authorization has been denied for this request.",
        ),
        (
            of_bunny(8, "right"),
            "FAILED it does not know pull zone 8: 404: The requested Pull Zone was not found",
        ),
        (
            of_cloudfront("known", "wrong"),
            "FAILED it does not take these credentials: 403: The security token is invalid",
        ),
        (
            of_cloudfront("none", "right"),
            "FAILED it does not know distribution none: 404: The specified distribution does not exist",
        ),
        (
            of_google("known", "wrong"),
            "FAILED it does not take these credentials: 401: Request had invalid authentication credentials",
        ),
        (
            of_google("none", "right"),
            "FAILED it does not know URL map none of project p: 404: The resource was not found",
        ),
    ])
    .await;
}

#[tokio::test]
async fn whoever_is_unwell_or_nobody_is_told_from_a_wrong_key() {
    let unwell = api(|_, _| Some(answer(503, "{}"))).await;
    let table =
        |api: &str| format!("[cdn.bunny]\npull_zone = 7\nkey_file = \"right\"\napi = \"{api}\"");
    says(&[(
        table(&format!("http://{}", unwell.address)),
        "FAILED it answers, and not as it should: 503",
    )])
    .await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("right"), "right").unwrap();
    let app = Origin::saying(ok("", "a")).await;
    let file = format!(
        "[upstream.app]\nurl = \"http://{}\"\n[[cdn]]\n{}\n",
        app.address,
        table("http://127.0.0.1:1")
    );
    fs::write(folder.path().join("larder.toml"), file).unwrap();
    let exit = run_in(folder.path(), &["check", "--live"]).await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.out.contains("FAILED  cdn bunny, bunny: it does not answer: "), "{exit:?}");
}
