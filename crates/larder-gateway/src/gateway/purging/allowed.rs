//! Allowed: who may purge at the port where requests come.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use larder::http::policy::forward::{Hop, names_the_client};
use larder_admin::access::{Attempts, Token, bearer};

use super::PurgeConfig;
use crate::gateway::GatewayConfig;

/// How Fastly's clients show their token.
const FASTLY_KEY: HeaderName = HeaderName::from_static("fastly-key");

/// What a proxy adds that asks for somebody else. Where it is not trusted, whom it asks for is not known.
const ASKS_FOR_OTHERS: [HeaderName; 5] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// Who asks, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purger {
    /// This address: the peer's, or the one that a trusted peer names.
    Known(IpAddr),
    /// Somebody behind this proxy.
    Behind(Option<IpAddr>),
}

/// Why it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its address is not among those that may.
    Address,
    /// A proxy asks, and whom for is not known.
    Unnamed,
    /// No token, where there is to be one.
    NoToken,
    /// Another token.
    WrongToken,
    /// Too many others, before: it is not looked at.
    TooManyTokens(Duration),
}

/// Whether the request has a mark of a proxy that asks for somebody else; asked before the fields of peers that are not
/// trusted are taken away.
pub(crate) fn asks_for_others(headers: &HeaderMap) -> bool {
    ASKS_FOR_OTHERS.iter().any(|name| headers.contains_key(name))
        || headers.keys().any(|name| names_the_client(name.as_str().as_bytes()))
}

/// For records.
impl fmt::Display for Purger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Purger::Known(ip) => ip.fmt(f),
            Purger::Behind(Some(ip)) => write!(f, "somebody behind {ip}"),
            Purger::Behind(None) => f.write_str("somebody"),
        }
    }
}

impl Purger {
    /// Who sent `head`, whose peer is not believed where `asks_for_others`.
    pub(crate) fn of(
        config: &GatewayConfig,
        head: &Parts,
        hop: Hop<'_>,
        asks_for_others: bool,
    ) -> Purger {
        let known = match hop.believed {
            Some(_) => config.named_client(head, hop),
            None if asks_for_others => None,
            None => hop.peer,
        };
        known.map_or(Purger::Behind(hop.peer), |ip| Purger::Known(ip.to_canonical()))
    }

    /// The address under which its failures are counted.
    fn counted(self) -> IpAddr {
        match self {
            Purger::Known(ip) | Purger::Behind(Some(ip)) => ip,
            Purger::Behind(None) => Ipv4Addr::UNSPECIFIED.into(),
        }
    }
}

/// Whether `purger` may, who shows `headers`. What the configuration asks for is asked for together.
pub(super) fn judge(
    config: &PurgeConfig,
    attempts: &Attempts,
    purger: Purger,
    headers: &HeaderMap,
    now: Instant,
) -> Result<(), Refused> {
    if let Some(allow) = &config.allow {
        match purger {
            Purger::Known(ip) if allow.contains(ip) => {}
            Purger::Known(_) => return Err(Refused::Address),
            Purger::Behind(_) => return Err(Refused::Unnamed),
        }
    }
    match &config.token {
        Some(token) => judge_token(token, attempts, purger.counted(), headers, now),
        None if config.allow.is_some() => Ok(()),
        // A configuration that names nobody lets nobody.
        None => Err(Refused::Address),
    }
}

fn judge_token(
    token: &Token,
    attempts: &Attempts,
    client: IpAddr,
    headers: &HeaderMap,
    now: Instant,
) -> Result<(), Refused> {
    let mut keys = headers.get_all(FASTLY_KEY).iter().map(HeaderValue::as_bytes);
    let key = keys.next().filter(|_| keys.next().is_none());
    let Some(shown) = bearer(headers).or(key) else { return Err(Refused::NoToken) };
    if let Some(wait) = attempts.wait(client, now) {
        return Err(Refused::TooManyTokens(wait));
    }
    if token.is(shown) {
        return Ok(());
    }
    attempts.failed(client, now);
    Err(Refused::WrongToken)
}

#[cfg(test)]
mod tests {
    use larder::Mode;

    use super::*;
    use crate::downstream::TrustedPeer;

    fn config(allow: Option<&[&str]>, token: Option<&str>) -> PurgeConfig {
        let allow = allow
            .map(|allow| allow.iter().map(|peer| peer.parse::<TrustedPeer>().unwrap()).collect());
        let token = token.and_then(Token::new);
        PurgeConfig {
            allow,
            token,
            mode: Mode::Soft,
            refreshes: false,
            rate: 1.try_into().unwrap(),
        }
    }

    #[test]
    fn all_that_is_asked_for_must_be_there() {
        let (ours, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.99".parse().unwrap());
        let network: &[&str] = &["192.0.2.0/28"];
        let rows = [
            (None, None, Purger::Known(ours), None, Err(Refused::Address)),
            (Some(network), None, Purger::Known(ours), None, Ok(())),
            (Some(network), None, Purger::Known(other), None, Err(Refused::Address)),
            (Some(network), None, Purger::Behind(Some(ours)), None, Err(Refused::Unnamed)),
            (Some(network), None, Purger::Behind(None), None, Err(Refused::Unnamed)),
            (None, Some("x"), Purger::Known(other), Some("x"), Ok(())),
            (None, Some("x"), Purger::Behind(None), Some("x"), Ok(())),
            (None, Some("x"), Purger::Known(ours), Some("y"), Err(Refused::WrongToken)),
            (None, Some("x"), Purger::Known(ours), None, Err(Refused::NoToken)),
            (Some(network), Some("x"), Purger::Known(ours), Some("x"), Ok(())),
            (Some(network), Some("x"), Purger::Known(other), Some("x"), Err(Refused::Address)),
            (Some(network), Some("x"), Purger::Known(ours), None, Err(Refused::NoToken)),
        ];
        for (allow, token, purger, shown, expected) in rows {
            for field in ["authorization", "fastly-key"] {
                let mut headers = HeaderMap::new();
                if let Some(shown) = shown {
                    let scheme = if field == "authorization" { "Bearer " } else { "" };
                    headers.insert(field, format!("{scheme}{shown}").parse().unwrap());
                }
                let config = config(allow, token);
                let judged = judge(&config, &Attempts::default(), purger, &headers, Instant::now());
                assert_eq!(judged, expected, "{allow:?} {token:?} {purger:?} {shown:?}");
            }
        }
    }

    #[test]
    fn guesses_are_limited_by_address() {
        let (config, attempts, now) =
            (config(None, Some("x")), Attempts::default(), Instant::now());
        let judged = |client: [u8; 4], shown: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("fastly-key", shown.parse().unwrap());
            judge(&config, &attempts, Purger::Known(client.into()), &headers, now)
        };
        for _ in 0..10 {
            assert_eq!(judged([192, 0, 2, 1], "y"), Err(Refused::WrongToken));
        }
        // Whether it is right is not told any more.
        assert!(matches!(judged([192, 0, 2, 1], "x"), Err(Refused::TooManyTokens(_))));
        assert_eq!(judged([192, 0, 2, 2], "x"), Ok(()));
    }
}
