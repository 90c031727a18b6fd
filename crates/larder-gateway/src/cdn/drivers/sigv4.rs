//! SigV4: how requests to AWS are signed (AWS Signature Version 4, in the field `Authorization`).

use std::time::SystemTime;

use aws_lc_rs::{digest, hmac};
use http::{HeaderName, HeaderValue, Uri, header};

use super::{
    credential::Secret,
    escape::{hex, percent},
    stamp::Stamp,
};
use crate::cdn::driver::Call;

const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// An account's key, for one service in one region.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    pub(super) key_id: Box<str>,
    pub(super) key: Secret,
    /// Where the key is one of those that last some hours.
    pub(super) session: Option<Secret>,
    pub(super) region: Box<str>,
    pub(super) service: &'static str,
}

impl Signer {
    /// The same with the fields that prove who asks. It is good for some minutes around `now`.
    pub(super) fn signed(&self, mut call: Call, now: SystemTime) -> Call {
        let (date, time) = Stamp::of(now).compact();
        let headers = &mut call.head.headers;
        headers.insert(X_AMZ_DATE, HeaderValue::from_str(&time).expect("digits and letters"));
        if let Some(session) = &self.session {
            headers.insert(X_AMZ_SECURITY_TOKEN, session.field(""));
        }
        // In the order of their names.
        let signed_fields = [header::CONTENT_TYPE, header::HOST, X_AMZ_DATE, X_AMZ_SECURITY_TOKEN];
        let there = signed_fields.iter().filter(|name| headers.contains_key(*name));
        let names: Vec<&str> = there.map(HeaderName::as_str).collect();
        let lines: String = names
            .iter()
            .map(|name| {
                let value = headers[*name].to_str().unwrap_or_default().trim();
                format!("{name}:{value}\n")
            })
            .collect();
        let names = names.join(";");
        let canonical = format!(
            "{}\n{}\n{}\n{lines}\n{names}\n{}",
            call.head.method,
            path(&call.head.uri),
            query(&call.head.uri),
            sha256(&call.body)
        );
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let key = format!("AWS4{}", self.key.reveal());
        let key = [&*date, &self.region, self.service, "aws4_request"]
            .iter()
            .fold(key.into_bytes(), |key, part| mac(&key, part).as_ref().to_vec());
        let signature = hex(mac(&key, &to_sign).as_ref());
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.key_id
        );
        let mut value = HeaderValue::from_str(&authorization).expect("visible ASCII");
        value.set_sensitive(true);
        call.head.headers.insert(header::AUTHORIZATION, value);
        call
    }
}

/// Each part escaped once more: what is signed is the path as it is sent.
fn path(uri: &Uri) -> String {
    uri.path().split('/').map(percent).collect::<Vec<_>>().join("/")
}

/// Its parameters in order. They are escaped already.
fn query(uri: &Uri) -> String {
    let mut parameters: Vec<String> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| match parameter.contains('=') {
            true => parameter.to_owned(),
            false => format!("{parameter}="),
        })
        .collect();
    parameters.sort_unstable();
    parameters.join("&")
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::Method;

    use super::{super::exchange::call, *};

    /// 2015-08-30T12:36:00Z, the instant of all of AWS's own vectors.
    const AT: Duration = Duration::from_secs(1_440_938_160);

    fn signature(method: Method, url: &str, fields: &[(HeaderName, &str)], body: &str) -> String {
        let signer = Signer {
            key_id: "AKIDEXAMPLE".into(),
            key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY").unwrap(),
            session: None,
            region: "us-east-1".into(),
            service: "service",
        };
        let mut call = call(method, url, body.to_owned(), Vec::new());
        for (name, value) in fields {
            call.head.headers.insert(name, value.parse().unwrap());
        }
        let signed = signer.signed(call, UNIX_EPOCH + AT);
        let text = signed.head.headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
        assert!(format!("{:?}", signed.head.headers).contains("Sensitive"));
        text
    }

    /// Of the test suite that AWS publishes with the algorithm.
    #[test]
    fn aws_s_own_vectors_are_signed_alike() {
        const BEFORE: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=";
        let form = [(header::CONTENT_TYPE, "application/x-www-form-urlencoded")];
        for (method, url, fields, body, expected) in [
            // get-vanilla
            (
                Method::GET,
                "https://example.amazonaws.com/",
                &[][..],
                "",
                "host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            // get-vanilla-query-order-key-case
            (
                Method::GET,
                "https://example.amazonaws.com/?Param2=value2&Param1=value1",
                &[],
                "",
                "host;x-amz-date, Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            // post-vanilla
            (
                Method::POST,
                "https://example.amazonaws.com/",
                &[],
                "",
                "host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            // post-x-www-form-urlencoded
            (
                Method::POST,
                "https://example.amazonaws.com/",
                &form,
                "Param1=value1",
                "content-type;host;x-amz-date, Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            assert_eq!(signature(method, url, fields, body), format!("{BEFORE}{expected}"));
        }
    }
}
