//! Signatures: how the doubles of AWS and Akamai find out who asks, from what came over the wire.

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

/// Whether AWS would take it: the field as in "Create a signed AWS API request".
pub(crate) fn is_signed_for_aws(seen: &Seen, key_id: &str, key: &str, service: &str) -> bool {
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
        Some(is_right && has_all && is_sorted && is_same)
    };
    check().unwrap_or(false)
}

/// The nonce, where Akamai would take it: as in "Authenticate with EdgeGrid".
pub(crate) fn nonce_of_akamai(seen: &Seen, secret: &str) -> Option<String> {
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
    let is_right = STANDARD.encode(mac(key.as_bytes(), data.as_bytes())) == signature;
    is_right.then(|| after(unsigned, "nonce=", ";").unwrap().to_owned())
}
