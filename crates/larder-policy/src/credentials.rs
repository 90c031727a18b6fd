//! Credentials: request fields beside `Authorization` and `Cookie` by which services and the proxies before them know
//! who asks. An answer to a request that shows one is likely to be for nobody else.

use crate::fields::{Fields, NameFilter};

/// Their names, as the keys of APIs and the users that an authenticating proxy has let in are sent. Anti-forgery tokens
/// are not among them: who sends one has a cookie, too.
pub const NAMES: [&str; 32] = [
    "api-key",
    "apikey",
    "cf-access-jwt-assertion",
    "dpop",
    "job-token",
    "ocp-apim-subscription-key",
    "private-token",
    "remote-user",
    "x-access-token",
    "x-amz-security-token",
    "x-amzn-oidc-data",
    "x-api-key",
    "x-api-token",
    "x-auth-key",
    "x-auth-request-access-token",
    "x-auth-request-email",
    "x-auth-request-user",
    "x-auth-token",
    "x-auth-user",
    "x-authorization",
    "x-forwarded-access-token",
    "x-forwarded-email",
    "x-forwarded-user",
    "x-goog-api-key",
    "x-goog-iap-jwt-assertion",
    "x-ms-client-principal",
    "x-remote-user",
    "x-session-token",
    "x-shopify-access-token",
    "x-user-token",
    "x-vault-token",
    "x-webauth-user",
];

/// Of all of them.
pub(crate) const FILTER: NameFilter = NameFilter::of(&NAMES);

/// Those that a request has.
pub(crate) fn shown(headers: Fields<'_>) -> impl Iterator<Item = &'static str> {
    let names = headers.may_have(FILTER).then_some(NAMES).into_iter().flatten();
    names.filter(move |name| headers.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_send_is_told_to_be_none_of_them_at_one_look() {
        const SENT: [&str; 16] = [
            "host",
            "connection",
            "user-agent",
            "accept",
            "accept-language",
            "accept-encoding",
            "referer",
            "sec-ch-ua",
            "sec-ch-ua-mobile",
            "sec-ch-ua-platform",
            "upgrade-insecure-requests",
            "sec-fetch-site",
            "sec-fetch-mode",
            "sec-fetch-user",
            "sec-fetch-dest",
            "priority",
        ];
        for name in SENT {
            assert!(!FILTER.may_have(name.as_bytes()), "{name}");
        }
    }
}
