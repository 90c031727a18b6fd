//! Entry: which requests to the admin API have to show a token, and which.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, StatusCode, header};

use crate::{
    access::{Attempts, ClientAddress, Token, bearer},
    figures::{Family, Figures, Kind},
    problem::Problem,
};

/// Who may use an admin API. Clones are the same tokens: those who hold one may exchange them for others, for whatever is
/// asked from then on.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<Mutex<Arc<Pair>>>);

#[derive(Debug, Default)]
struct Pair {
    read: Option<Token>,
    write: Option<Token>,
}

impl Tokens {
    /// What those show who read, and those who change anything ([`Admin::read_token`](crate::Admin::read_token),
    /// [`Admin::write_token`](crate::Admin::write_token)).
    pub fn new(read: Option<Token>, write: Option<Token>) -> Tokens {
        let tokens = Tokens::default();
        tokens.exchange(read, write);
        tokens
    }

    /// From now on these. An event stream that is open goes on.
    pub fn exchange(&self, read: Option<Token>, write: Option<Token>) {
        *self.lock() = Arc::new(Pair { read, write });
    }

    /// Whether reading asks for one.
    pub(crate) fn ask_readers(&self) -> bool {
        self.now().read.is_some()
    }

    /// Whether both are asked for.
    pub fn are_both(&self) -> bool {
        let Pair { read, write } = &*self.now();
        read.is_some() && write.is_some()
    }

    fn now(&self) -> Arc<Pair> {
        Arc::clone(&self.lock())
    }

    /// Exchanged whole, so whoever panicked with it has left nothing half done.
    fn lock(&self) -> MutexGuard<'_, Arc<Pair>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For supervisors and balancers, which have no token: they tell no more than whether it runs. And the page that asks for
/// one, which tells nothing.
const OPEN: [&str; 5] = ["/livez", "/readyz", "/", "/page.js", "/favicon.svg"];

/// What the page is made of tells nothing either.
const ASSETS: &str = "/assets/";

fn is_open(path: &str) -> bool {
    OPEN.contains(&path) || path.starts_with(ASSETS)
}

/// A POST there changes nothing: what is asked is too long for a query.
const ASKS: [&str; 1] = ["/v1/explain"];

/// The tokens, and what became of requests without them. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry(Arc<Inside>);

#[derive(Debug, Default)]
struct Inside {
    tokens: Tokens,
    attempts: Attempts,
    without: AtomicU64,
    wrong: AtomicU64,
    limited: AtomicU64,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Without,
    Wrong,
    /// Too many wrong ones came from its address: it is not looked at.
    Limited(Duration),
}

/// Of a request that may change something or not, as its body says: whoever sends it has shown that he may read, and no
/// more. In the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct OnlyReads {
    entry: Entry,
    refused: Refused,
    client: IpAddr,
}

impl OnlyReads {
    /// It would have changed something: it is refused, as it would have been at once, and a wrong token counts.
    pub(crate) fn refuse(&self, path: &str) -> Response {
        if self.refused == Refused::Wrong {
            self.entry.0.attempts.failed(self.client, Instant::now());
        }
        self.entry.refusal(self.refused, path)
    }
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    /// What it asks for.
    All,
    /// Its body says whether it changes anything; if it does, it is refused so.
    ToRead(Refused),
}

/// Requests that change nothing, or may say that they are to change nothing.
const MAY_ONLY_READ: [&str; 1] = ["/v1/purge"];

impl Entry {
    pub(crate) fn new(tokens: Tokens) -> Entry {
        Entry(Arc::new(Inside { tokens, ..Inside::default() }))
    }

    fn judge(&self, request: &Request, now: Instant) -> Result<Right, Refused> {
        let Inside { tokens, attempts, .. } = &*self.0;
        let Pair { read, write } = &*tokens.now();
        if is_open(request.uri().path()) || (read.is_none() && write.is_none()) {
            return Ok(Right::All);
        }
        let reads = [Method::GET, Method::HEAD].contains(request.method())
            || ASKS.contains(&request.uri().path());
        let may_only_read = !reads && MAY_ONLY_READ.contains(&request.uri().path());
        // Where there is a token for changing alone, reading needs none; where there is one for reading alone, nobody
        // changes anything.
        let accepted = match (reads, read) {
            (true, None) => return Ok(Right::All),
            (true, Some(_)) => [read, write],
            (false, _) => [&None, write],
        };
        let Some(shown) = bearer(request.headers()) else {
            return match may_only_read && read.is_none() {
                true => Ok(Right::ToRead(Refused::Without)),
                false => Err(Refused::Without),
            };
        };
        let client = client_of(request);
        if let Some(wait) = attempts.wait(client, now) {
            return Err(Refused::Limited(wait));
        }
        // All are compared: how long it takes tells nothing.
        let is_one = accepted.into_iter().flatten().fold(false, |is, token| token.is(shown) | is);
        if is_one {
            return Ok(Right::All);
        }
        if may_only_read && read.as_ref().is_none_or(|token| token.is(shown)) {
            return Ok(Right::ToRead(Refused::Wrong));
        }
        attempts.failed(client, now);
        Err(Refused::Wrong)
    }
}

/// Without an address all count as one.
fn client_of(request: &Request) -> IpAddr {
    let client = request.extensions().get::<ClientAddress>();
    client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| client.0)
}

pub(crate) async fn let_in(
    State(entry): State<Entry>,
    mut request: Request,
    next: Next,
) -> Response {
    match entry.judge(&request, Instant::now()) {
        Ok(Right::All) => next.run(request).await,
        Ok(Right::ToRead(refused)) => {
            let client = client_of(&request);
            request.extensions_mut().insert(OnlyReads { entry, refused, client });
            next.run(request).await
        }
        Err(refused) => entry.refusal(refused, request.uri().path()),
    }
}

impl Entry {
    fn refusal(&self, refused: Refused, path: &str) -> Response {
        let Inside { without, wrong, limited, .. } = &*self.0;
        let (count, status, detail) = match refused {
            Refused::Without => {
                let detail = "show the token: Authorization: Bearer (with curl: -H 'authorization: Bearer …')";
                (without, StatusCode::UNAUTHORIZED, detail)
            }
            Refused::Wrong => {
                (wrong, StatusCode::UNAUTHORIZED, "this token does not do for that request")
            }
            Refused::Limited(_) => {
                let detail = "too many wrong tokens came from this address";
                (limited, StatusCode::TOO_MANY_REQUESTS, detail)
            }
        };
        count.fetch_add(1, Relaxed);
        let problem = Problem::new(status, "Token needed", detail);
        tracing::warn!(path, "admin refused a request: {problem}");
        let mut response = problem.into_response();
        let fields = response.headers_mut();
        match refused {
            Refused::Limited(wait) => {
                let seconds = wait.as_secs().saturating_add(1);
                fields.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            Refused::Without | Refused::Wrong => {
                let scheme = HeaderValue::from_static("Bearer realm=\"larder admin\"");
                fields.insert(header::WWW_AUTHENTICATE, scheme);
            }
        }
        response
    }
}

impl Figures for Entry {
    fn families(&self) -> Vec<Family> {
        let Inside { without, wrong, limited, .. } = &*self.0;
        let sample =
            |word: &'static str, count: &AtomicU64| (word.into(), count.load(Relaxed) as f64);
        vec![Family {
            name: "admin_refused",
            help: "Requests to the admin API that were refused for want of a token, by why",
            kind: Kind::Counter,
            label: "reason",
            samples: vec![
                sample("no_token", without),
                sample("wrong_token", wrong),
                sample("too_many", limited),
            ],
        }]
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn judged(
        entry: &Entry,
        method: &str,
        path: &str,
        token: Option<&str>,
    ) -> Result<Right, Refused> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        entry.judge(&request.body(Body::empty()).unwrap(), Instant::now())
    }

    #[test]
    fn each_token_opens_what_it_is_for() {
        use Refused::{Without, Wrong};
        use Right::All;
        let token = |text: Option<&str>| text.and_then(Token::new);
        type Row<'a> = (
            Option<&'a str>,
            Option<&'a str>,
            &'a str,
            &'a str,
            Option<&'a str>,
            Result<Right, Refused>,
        );
        // A purge may be one that only says what it would do, which is told by its body.
        let forecast = |refused| Ok(Right::ToRead(refused));
        let rows: [Row<'_>; 26] = [
            (None, None, "POST", "/v1/purge", None, Ok(All)),
            (Some("r"), Some("w"), "GET", "/livez", None, Ok(All)),
            (Some("r"), Some("w"), "GET", "/readyz", None, Ok(All)),
            (Some("r"), Some("w"), "GET", "/", None, Ok(All)),
            (Some("r"), Some("w"), "GET", "/page.js", None, Ok(All)),
            (Some("r"), Some("w"), "GET", "/metrics", None, Err(Without)),
            (Some("r"), Some("w"), "GET", "/metrics", Some("r"), Ok(All)),
            (Some("r"), Some("w"), "GET", "/metrics", Some("w"), Ok(All)),
            (Some("r"), Some("w"), "GET", "/metrics", Some("x"), Err(Wrong)),
            (Some("r"), Some("w"), "POST", "/v1/purge", None, Err(Without)),
            (Some("r"), Some("w"), "POST", "/v1/purge", Some("r"), forecast(Wrong)),
            (Some("r"), Some("w"), "POST", "/v1/purge", Some("x"), Err(Wrong)),
            (Some("r"), Some("w"), "POST", "/v1/shared/forget", Some("r"), Err(Wrong)),
            (Some("r"), Some("w"), "POST", "/v1/stage/crowd", Some("r"), Err(Wrong)),
            (Some("r"), Some("w"), "POST", "/v1/stage/crowd", Some("w"), Ok(All)),
            (None, Some("w"), "POST", "/v1/stage/break_shared", None, Err(Without)),
            (Some("r"), Some("w"), "POST", "/v1/purge", Some("w"), Ok(All)),
            (Some("r"), Some("w"), "POST", "/v1/explain", None, Err(Without)),
            (Some("r"), Some("w"), "POST", "/v1/explain", Some("r"), Ok(All)),
            (Some("r"), Some("w"), "DELETE", "/v1/stats", Some("r"), Err(Wrong)),
            (None, Some("w"), "GET", "/v1/stats", None, Ok(All)),
            (None, Some("w"), "POST", "/v1/purge", None, forecast(Without)),
            (None, Some("w"), "POST", "/v1/purge", Some("x"), forecast(Wrong)),
            (Some("r"), None, "POST", "/v1/purge", Some("r"), forecast(Wrong)),
            (Some("r"), None, "POST", "/v1/purge", None, Err(Without)),
            (Some("r"), None, "GET", "/livez/", None, Err(Without)),
        ];
        for (read, write, method, path, shown, expected) in rows {
            let entry = Entry::new(Tokens::new(token(read), token(write)));
            let what = format!("{read:?} {write:?} {method} {path} {shown:?}");
            assert_eq!(judged(&entry, method, path, shown), expected, "{what}");
        }
    }

    #[test]
    fn after_ten_wrong_ones_none_is_looked_at() {
        let entry = Entry::new(Tokens::new(Token::new("r"), Token::new("w")));
        for _ in 0..10 {
            assert_eq!(judged(&entry, "GET", "/metrics", Some("x")), Err(Refused::Wrong));
        }
        assert!(matches!(judged(&entry, "GET", "/metrics", Some("r")), Err(Refused::Limited(_))));
        assert_eq!(judged(&entry, "GET", "/livez", None), Ok(Right::All));
    }
}
