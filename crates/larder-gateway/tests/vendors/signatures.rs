//! Signatures: how the doubles of AWS and Akamai find out who asks, from what came over the wire.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{digest, hmac};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::uri::PathAndQuery;

use crate::double::Seen;

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

fn after<'a>(text: &'a str, name: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(name)?;
    Some(rest.split(end).next().unwrap())
}

/// How old a signature may be at AWS, …
pub(crate) const AWS_TAKES: Duration = Duration::from_secs(300);
/// … and at Akamai.
pub(crate) const AKAMAI_TAKES: Duration = Duration::from_secs(30);

/// Seconds since 1970 of `20150830T123600` and what stands behind, with colons or without.
fn seconds(stamp: &str) -> Option<u64> {
    let digits: String = stamp.chars().filter(char::is_ascii_digit).take(14).collect();
    let part = |from: usize, to: usize| digits.get(from..to);
    let date = format!("{}-{}-{}", part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let time = format!("{}:{}:{}", part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let at = humantime::parse_rfc3339(&format!("{date}T{time}Z")).ok()?;
    Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// Whether a request may still be signed so.
fn is_of_now(stamp: &str, takes: Duration) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    seconds(stamp).is_some_and(|at| at.abs_diff(now) <= takes.as_secs())
}

/// Whether AWS would take it: the field as in "Create a signed AWS API request".
pub(crate) fn is_signed_for_aws(
    seen: &Seen,
    (key_id, key): (&str, &str),
    service: &str,
    takes: Duration,
) -> bool {
    let authorization = seen.field("authorization");
    let check = || {
        let credential = after(authorization, "Credential=", ",")?;
        let names = after(authorization, "SignedHeaders=", ",")?;
        let signature = after(authorization, "Signature=", ",")?;
        let scope = credential.strip_prefix(key_id)?.strip_prefix('/')?;
        let [date, region, of, end] = scope.split('/').collect::<Vec<_>>()[..] else { return None };
        let time = seen.field("x-amz-date");
        let is_right = of == service && end == "aws4_request" && time.starts_with(date);
        // Host has to be among them, and all x-amz fields.
        let mut must = seen.fields.keys().filter(|name| name.as_str().starts_with("x-amz-"));
        let has_all = names.split(';').any(|name| name == "host")
            && must.all(|must| names.split(';').any(|name| name == must.as_str()));
        let is_sorted = names.split(';').is_sorted();
        let lines: String =
            names.split(';').map(|name| format!("{name}:{}\n", seen.field(name).trim())).collect();
        let mut query: Vec<&str> = seen.target.query().unwrap_or("").split('&').collect();
        query.sort_unstable();
        let canonical = format!(
            "{}\n{}\n{}\n{lines}\n{names}\n{}",
            seen.method,
            seen.target.path(),
            query.join("&"),
            hex(&sha256(&seen.body))
        );
        let text =
            format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&sha256(canonical.as_bytes())));
        let key = mac(format!("AWS4{key}").as_bytes(), date.as_bytes());
        let key = mac(&mac(&mac(&key, region.as_bytes()), service.as_bytes()), b"aws4_request");
        let is_same = hex(&mac(&key, text.as_bytes())) == signature;
        Some(is_right && has_all && is_sorted && is_same && is_of_now(time, takes))
    };
    check().unwrap_or(false)
}

/// The nonce, where Akamai would take it: as in "Authenticate with EdgeGrid".
pub(crate) fn nonce_of_akamai(seen: &Seen, secret: &str, takes: Duration) -> Option<String> {
    let authorization = seen.field("authorization");
    let (unsigned, signature) = authorization.split_once("signature=")?;
    let time = after(unsigned, "timestamp=", ";")?;
    let body = match seen.body.is_empty() || seen.method != http::Method::POST {
        true => String::new(),
        false => STANDARD.encode(sha256(&seen.body[..seen.body.len().min(131_072)])),
    };
    let data = format!(
        "{}\thttp\t{}\t{}\t\t{body}\t{unsigned}",
        seen.method,
        seen.field("host"),
        seen.target.path_and_query().map_or("/", PathAndQuery::as_str)
    );
    let key = STANDARD.encode(mac(secret.as_bytes(), time.as_bytes()));
    let is_same = STANDARD.encode(mac(key.as_bytes(), data.as_bytes())) == signature;
    let is_right = is_same && is_of_now(time, takes);
    is_right.then(|| after(unsigned, "nonce=", ";").unwrap().to_owned())
}
