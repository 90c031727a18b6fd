//! Access: who shows a secret, and how often somebody may try to guess one.
//!
//! ```
//! use std::time::Instant;
//! use larder_admin::access::{Attempts, Token};
//!
//! let (token, attempts) = (Token::new("open sesame").expect("it is not empty"), Attempts::default());
//! let (now, client) = (Instant::now(), [192, 0, 2, 1].into());
//! assert!(attempts.wait(client, now).is_none());
//! assert!(!token.is(b"open says me"));
//! attempts.failed(client, now);
//! ```

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, header};

/// A secret that a client shows. What is kept is its hash: nothing that goes wrong prints it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token(blake3::Hash);

impl Token {
    /// `None` if it is empty: that would be everybody's.
    pub fn new(secret: &str) -> Option<Token> {
        (!secret.is_empty()).then(|| Token(blake3::hash(secret.as_bytes())))
    }

    /// Whether `sent` is this one. Hashes are compared, in constant time: how long it takes tells nothing.
    pub fn is(&self, sent: &[u8]) -> bool {
        self.0 == blake3::hash(sent)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What a request shows in `Authorization` (RFC 6750 §2.1). `None`: nothing, something else, or more than one thing,
/// which two programs could read differently.
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let (field, None) = (fields.next()?, fields.next()) else { return None };
    let (scheme, token) = field.split_at_checked(6)?;
    let token = token.strip_prefix(b" ")?.trim_ascii();
    scheme.eq_ignore_ascii_case(b"bearer").then_some(token).filter(|token| !token.is_empty())
}

/// Who asks, in a request's extensions: whoever serves the admin API puts it there. Without it all count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// The failed attempts of addresses. Each has some at once, and then one in a while; with IPv6, each /64.
#[derive(Debug)]
pub struct Attempts {
    at_once: u32,
    one_in: Duration,
    most: usize,
    /// When the failures of an address are forgiven: one of them each `one_in`.
    forgiven: Mutex<HashMap<IpAddr, Instant>>,
}

/// Ten, then one in six seconds, for each of 4096 addresses.
impl Default for Attempts {
    fn default() -> Self {
        Attempts {
            at_once: 10,
            one_in: Duration::from_secs(6),
            most: 4096,
            forgiven: Mutex::default(),
        }
    }
}

impl Attempts {
    /// How long `client` has to wait before its secret is looked at; `None` if it need not.
    pub fn wait(&self, client: IpAddr, now: Instant) -> Option<Duration> {
        let forgiven = *self.forgiven().get(&of_one_client(client))?;
        let owed = forgiven.saturating_duration_since(now);
        let room = self.one_in * (self.at_once - 1);
        (owed > room).then(|| owed - room)
    }

    /// It has shown a wrong one.
    pub fn failed(&self, client: IpAddr, now: Instant) {
        let mut forgiven = self.forgiven();
        if forgiven.len() >= self.most {
            forgiven.retain(|_, forgiven| *forgiven > now);
        }
        // Whoever has so many addresses guesses no better with one more.
        if forgiven.len() >= self.most {
            let soonest = forgiven.iter().min_by_key(|(_, forgiven)| **forgiven);
            if let Some(soonest) = soonest.map(|(client, _)| *client) {
                forgiven.remove(&soonest);
            }
        }
        let owed = forgiven.entry(of_one_client(client)).or_insert(now);
        *owed = (*owed).max(now) + self.one_in;
    }

    /// Whole after each step, so whoever panicked with it has left nothing half done.
    fn forgiven(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.forgiven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_one_client(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_compared_whole_and_shows_nothing() {
        let token = Token::new("open sesame").unwrap();
        for (sent, is) in
            [("open sesame", true), ("open sesam", false), ("open sesame ", false), ("", false)]
        {
            assert_eq!(token.is(sent.as_bytes()), is, "{sent:?}");
        }
        assert_eq!((Token::new(""), format!("{token:?}")), (None, "Token(…)".to_owned()));
    }

    #[test]
    fn a_bearer_token_stands_in_one_field_of_its_scheme() {
        let rows: [(&[&str], Option<&str>); 8] = [
            (&["Bearer abc"], Some("abc")),
            (&["bearer  abc "], Some("abc")),
            (&["Bearer"], None),
            (&["Bearer "], None),
            (&["Bearerabc"], None),
            (&["Basic abc"], None),
            (&["Bearer abc", "Bearer abc"], None),
            (&[], None),
        ];
        for (fields, expected) in rows {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(header::AUTHORIZATION, field.parse().unwrap());
            }
            assert_eq!(bearer(&headers), expected.map(str::as_bytes), "{fields:?}");
        }
    }

    #[test]
    fn after_ten_failures_an_address_waits_and_others_do_not() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let client = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..10 {
            assert_eq!(attempts.wait(client, now), None);
            attempts.failed(client, now);
        }
        assert_eq!(attempts.wait(client, now), Some(Duration::from_secs(6)));
        assert_eq!(attempts.wait([192, 0, 2, 2].into(), now), None);
        let later = now + Duration::from_secs(6);
        assert_eq!(attempts.wait(client, later), None);
        attempts.failed(client, later);
        assert_eq!(attempts.wait(client, later), Some(Duration::from_secs(6)));
        assert_eq!(attempts.wait(client, now + Duration::from_secs(3600)), None);
    }

    #[test]
    fn addresses_of_one_network_count_as_one_and_the_table_is_bounded() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for host in 0..10_u16 {
            attempts.failed(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host).into(), now);
        }
        assert!(attempts.wait("2001:db8::ffff".parse().unwrap(), now).is_some());
        assert!(attempts.wait("2001:db8:0:1::".parse().unwrap(), now).is_none());
        for number in 0..10_000_u32 {
            attempts.failed(IpAddr::V4(number.into()), now);
        }
        assert!(attempts.forgiven().len() <= 4096);
        assert!(attempts.wait("2001:db8::".parse().unwrap(), now).is_some(), "the worst stay");
    }
}
