//! EdgeGrid: how requests to Akamai are signed (EG1-HMAC-SHA256, in the field `Authorization`).

use std::time::SystemTime;

use aws_lc_rs::{digest, hmac};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Method, header, uri::PathAndQuery};

use super::{credential::Secret, stamp::Stamp};
use crate::cdn::driver::Call;

/// An API client's credentials, as `.edgerc` has them.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    pub(super) client_token: Secret,
    pub(super) client_secret: Secret,
    pub(super) access_token: Secret,
    /// So many bytes of a body are signed.
    pub(super) max_body: usize,
}

impl Signer {
    /// The same with the field that proves who asks. It is good for half a minute around `now`, and each `nonce` once.
    pub(super) fn signed(&self, mut call: Call, nonce: &str, now: SystemTime) -> Call {
        let time = Stamp::of(now).with_colons();
        let unsigned = format!(
            "EG1-HMAC-SHA256 client_token={};access_token={};timestamp={time};nonce={nonce};",
            self.client_token.reveal(),
            self.access_token.reveal(),
        );
        let uri = &call.head.uri;
        let body = &call.body[..call.body.len().min(self.max_body)];
        let body_hash = match call.head.method == Method::POST && !body.is_empty() {
            true => STANDARD.encode(digest::digest(&digest::SHA256, body)),
            false => String::new(),
        };
        // Between the path and the body's hash stand the fields that are signed: none are.
        let data = [
            call.head.method.as_str(),
            uri.scheme_str().unwrap_or_default(),
            uri.authority().map_or("", |host| host.as_str()),
            uri.path_and_query().map_or("/", PathAndQuery::as_str),
            "",
            &body_hash,
            &unsigned,
        ]
        .join("\t");
        let key = mac(&self.client_secret.reveal(), &time);
        let text = format!("{unsigned}signature={}", mac(&key, &data));
        let mut value = HeaderValue::from_str(&text).expect("visible ASCII");
        value.set_sensitive(true);
        call.head.headers.insert(header::AUTHORIZATION, value);
        call
    }
}

fn mac(key: &str, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{super::exchange::call, *};

    /// The vectors of `testdata.json` that Akamai publishes with its own clients, but for those that sign fields.
    #[test]
    fn akamai_s_own_vectors_are_signed_alike() {
        const BASE: &str = "https://akaa-baseurl-xxxxxxxxxxx-xxxxxxxxxxxxx.luna.akamaiapis.net";
        let secret = |text| Secret::new(text).unwrap();
        let signer = Signer {
            client_token: secret("akab-client-token-xxx-xxxxxxxxxxxxxxxx"),
            client_secret: secret("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx="),
            access_token: secret("akab-access-token-xxx-xxxxxxxxxxxxxxxx"),
            max_body: 2048,
        };
        // 20140321T19:34:21+0000
        let at = UNIX_EPOCH + Duration::from_secs(1_395_430_461);
        let long = "d".repeat(2048);
        for (method, path, body, signature) in [
            (Method::GET, "/", "", "tL+y4hxyHxgWVD30X3pWnGKHcPzmrIF+LThiAOhMxYU="),
            (
                Method::GET,
                "/testapi/v1/t1?p1=1&p2=2",
                "",
                "hKDH1UlnQySSHjvIcZpDMbQHihTQ0XyVAKZaApabdeA=",
            ),
            (
                Method::POST,
                "/testapi/v1/t3",
                "datadatadatadatadatadatadatadata",
                "hXm4iCxtpN22m4cbZb4lVLW5rhX8Ca82vCFqXzSTPe4=",
            ),
            (Method::POST, "/testapi/v1/t3", &long, "6Q6PiTipLae6n4GsSIDTCJ54bEbHUBp+4MUXrbQCBoY="),
            (Method::POST, "/testapi/v1/t6", "", "1gEDxeQGD5GovIkJJGcBaKnZ+VaPtrc4qBUHixjsPCQ="),
            (
                Method::PUT,
                "/testapi/v1/t6",
                "PPPPPPPPPPPPPPPPPPPPPPPPPPPPPPP",
                "GNBWEYSEWOLtu+7dD52da2C39aX/Jchpon3K/AmBqBU=",
            ),
        ] {
            let asked = call(method, &format!("{BASE}{path}"), body.to_owned(), Vec::new());
            let signed = signer.signed(asked, "nonce-xx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", at);
            let text = signed.head.headers[header::AUTHORIZATION].to_str().unwrap();
            let expected = format!(
                "EG1-HMAC-SHA256 client_token=akab-client-token-xxx-xxxxxxxxxxxxxxxx;\
                 access_token=akab-access-token-xxx-xxxxxxxxxxxxxxxx;timestamp=20140321T19:34:21+0000;\
                 nonce=nonce-xx-xxxx-xxxx-xxxx-xxxxxxxxxxxx;signature={signature}"
            );
            assert_eq!(text, expected, "{path}");
        }
    }

    #[test]
    fn of_a_long_body_its_beginning_is_signed() {
        let secret = |text| Secret::new(text).unwrap();
        let signer = Signer {
            client_token: secret("a"),
            client_secret: secret("b"),
            access_token: secret("c"),
            max_body: 4,
        };
        let sign = |body: &'static str| {
            let asked = call(Method::POST, "https://a.example/", body, Vec::new());
            signer.signed(asked, "n", UNIX_EPOCH).head.headers[header::AUTHORIZATION].clone()
        };
        assert_eq!(sign("abcdX"), sign("abcdY"));
        assert_ne!(sign("abcd"), sign("abce"));
    }
}
