//! Origins: one service that answers at several addresses. Which one is asked, and what becomes of failures.
//!
//! The order of steps is in `ask_in_turn`. An [`Upstream`] is one address with its connections; here is what is known
//! of several: which is asked next (`choose`), which is left alone (`breaker`), how each says it is (`health`), what
//! may be sent once more (`retry`, `budget`).
//!
//! An upstream with one address goes the same way only while something speaks against that: otherwise it costs nothing.
//!
//! What is sent twice: a request whose kept connection was closed, or that its address has not looked at and says so, goes to
//! the same address once more (`upstream/mod.rs`). That is one of its `attempts` and comes out of the `budget`, as one at
//! another address does. What fails there after that comes back here as any failure, unless it failed in the same way
//! again: then it is the request that ends connections, and no third address is given it.

mod addresses;
mod attempts;
mod body;
mod breaker;
mod budget;
mod choose;
mod config;
pub(crate) mod dice;
mod error;
mod failure;
mod health;
mod page;
mod replay;
mod retry;
mod stats;
mod ticket;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use larder::http::Body;
use tokio::time::timeout;

#[cfg_attr(
    not(feature = "otel"),
    expect(unused_imports, reason = "only what is traced has one")
)]
pub(crate) use self::attempts::Witness;
use self::{
    addresses::{Addresses, Heard, Server},
    attempts::Attempts,
    choose::{Seeker, Tried},
    replay::{Replay, is_stream},
    retry::{Outcome, may_retry},
    ticket::Ticket,
};
pub use self::{
    body::OriginBody,
    breaker::BreakerState,
    config::{
        Address, Balance, BreakerConfig, Cause, HealthConfig, MAX_ADDRESSES, OriginsConfig,
        RetryConfig, RetryOn,
    },
    error::Unanswered,
    failure::Failure,
    page::{MAX_PAGE_BYTES, Page},
    stats::{AddressStats, OriginsStats},
};
use crate::upstream::{Asking, Upstream, UpstreamBody, UpstreamConfig, UpstreamError};

/// A request that finds out whether an address is back goes elsewhere if nothing comes within this.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// A service at one address or several. Clones share everything.
#[derive(Clone)]
pub struct Origins {
    all: Arc<Addresses>,
}

impl Origins {
    /// A service that is called `name`. `connection` is what all of its addresses together may take. Where they are
    /// asked how they are, that begins at once, on the runtime that this is called on.
    ///
    /// # Panics
    ///
    /// Without an address, with more than [`MAX_ADDRESSES`], and with a weight of 0.
    pub fn new(
        name: &str,
        addresses: &[Address],
        connection: &UpstreamConfig,
        config: OriginsConfig,
    ) -> Origins {
        Origins::after(None, name, addresses, connection, config)
    }

    /// The same service with other settings: what is known of addresses that stay is kept.
    ///
    /// # Panics
    ///
    /// As [`new`](Origins::new).
    pub fn renewed(
        &self,
        addresses: &[Address],
        connection: &UpstreamConfig,
        config: OriginsConfig,
    ) -> Origins {
        Origins::after(Some(&self.all), &self.all.name, addresses, connection, config)
    }

    fn after(
        before: Option<&Addresses>,
        name: &str,
        addresses: &[Address],
        connection: &UpstreamConfig,
        config: OriginsConfig,
    ) -> Origins {
        assert!(
            (1..=MAX_ADDRESSES).contains(&addresses.len()),
            "from 1 to {MAX_ADDRESSES} addresses"
        );
        assert!(addresses.iter().all(|address| address.weight > 0), "a weight from 1 on");
        Origins { all: Addresses::new(name, addresses, connection, config, before) }
    }

    /// What was done so far, and is going on.
    pub fn stats(&self) -> OriginsStats {
        self.all.stats()
    }

    /// Asks one address, and others where that is in vain and does no harm. Dropping the future gives the request up.
    pub(crate) fn ask(
        &self,
        request: Request<Body>,
    ) -> impl Future<Output = Answered> + Send + use<> {
        let all = Arc::clone(&self.all);
        // The request goes into its own future at once: moving it costs more than all that is decided here.
        let asking = match all.only() {
            Some(server) => {
                server.count_request();
                all.count_alone();
                let (heard, is_stream) = (server.heard(), is_stream(request.extensions()));
                let attempts = Attempts::begin(&all, request.extensions());
                attempts.go_to(server.upstream.origin());
                let asking = server.upstream.ask(request, attempts);
                Step::Only { heard, is_stream, asking }
            }
            None => Step::Several(Box::pin(ask_in_turn(Arc::clone(&all), request))),
        };
        async move {
            match asking {
                Step::Only { heard, is_stream, asking } => {
                    learn_of_the_only_one(&all, heard, is_stream, asking.await)
                }
                Step::Several(asking) => asking.await,
            }
        }
    }
}

/// What a request waits for.
enum Step {
    Only { heard: Heard, is_stream: bool, asking: Asking },
    Several(Pin<Box<dyn Future<Output = Answered> + Send>>),
}

type Answered = Result<Response<OriginBody>, Unanswered>;

/// There was nothing to choose, and there is nothing to compare with.
fn learn_of_the_only_one(
    all: &Addresses,
    heard: Heard,
    is_stream: bool,
    asked: Result<Response<UpstreamBody>, UpstreamError>,
) -> Answered {
    let server = &all.servers[0];
    match asked {
        Ok(answer) => {
            server.count_answer();
            if let Some(failure) = Failure::of_status(answer.status(), &all.config.retry) {
                all.count_failure(0, failure);
            }
            all.only_succeeded();
            Ok(answer.map(OriginBody::unwatched))
        }
        Err(error) => {
            let failure = Failure::of_error(&error);
            match failure {
                Some(failure) if is_excused(failure, is_stream, server, heard) => {
                    all.count_failure(0, failure);
                }
                Some(failure) => all.failed(0, failure, false),
                None => {}
            }
            Err(unanswered(all, error, failure))
        }
    }
}

/// The order of steps: choose, ask, learn from what comes, and once more elsewhere if that may be.
async fn ask_in_turn(all: Arc<Addresses>, request: Request<Body>) -> Answered {
    let all = &all;
    let replay = Replay::of(request);
    let is_stream = replay.is_stream();
    // What may take its time does not find out soon whether an address is back.
    let can_repeat = replay.nature().can_repeat && all.servers.len() > 1 && !is_stream;
    let mut seeker = Seeker { tried: Tried::default(), can_repeat };
    let Some(first) = all.begin(seeker) else {
        return Err(Unanswered::Down {
            name: Arc::clone(&all.name),
            page: all.config.page.clone().map(Box::new),
        });
    };
    let mut ticket = Ticket::of(all, first);
    // An answer that says that the address is not well, should nothing better come.
    let mut poor = None;
    let attempts = Arc::new(Attempts::begin(all, replay.extensions()));
    loop {
        seeker.tried.add(ticket.index());
        let server = &all.servers[ticket.index()];
        let heard = server.heard();
        let asked = ask_one(server, &ticket, &replay, &attempts, can_repeat).await;
        if asked.is_ok() {
            server.count_answer();
        }
        let failure = match &asked {
            Ok(answer) => Failure::of_status(answer.status(), &all.config.retry),
            Err(error) => Failure::of_error(error),
        };
        match failure {
            // The only address that answers with errors is answering: there is none that would do better.
            Some(Failure::Status) if all.servers.len() == 1 => {
                all.count_failure(0, Failure::Status);
                ticket.answered();
            }
            Some(failure) if is_excused(failure, is_stream, server, heard) => {
                ticket.excused(failure)
            }
            Some(failure) => ticket.failed(failure),
            None if asked.is_ok() => ticket.answered(),
            None => {}
        }
        let outcome = failure.map(|failure| Outcome {
            failure,
            status: asked.as_ref().ok().map(Response::status),
            was_repeated: matches!(asked, Err(UpstreamError::Closed { was_repeated: true, .. })),
            was_probe: ticket.is_probe(),
            attempts: attempts.made(),
            is_late: replay.is_late(all.servers[0].upstream.config()),
            request: replay.nature(),
        });
        let next = match outcome {
            Some(outcome) if may_retry(&outcome, &all.config.retry) => {
                all.elsewhere(seeker, outcome.failure)
            }
            _ => None,
        };
        let Some(next) = next else {
            return match (asked, poor) {
                (Ok(answer), _) => Ok(going_on(answer, ticket, &replay)),
                (Err(_), Some(poor)) => Ok(poor),
                (Err(error), None) => Err(unanswered(all, error, failure)),
            };
        };
        attempts.count();
        let before = std::mem::replace(&mut ticket, Ticket::of(all, next));
        if let Ok(answer) = asked {
            poor = Some(answer.map(|body| OriginBody::watched(body, before, is_stream)));
        }
    }
}

/// One address.
async fn ask_one(
    server: &Server,
    ticket: &Ticket,
    replay: &Replay,
    attempts: &Arc<Attempts>,
    can_repeat: bool,
) -> Result<Response<UpstreamBody>, UpstreamError> {
    server.count_request();
    attempts.go_to(server.upstream.origin());
    let asking = server.upstream.ask(replay.request(), Arc::clone(attempts));
    if !(ticket.is_probe() && can_repeat) {
        return asking.await;
    }
    timeout(PROBE_PATIENCE, asking).await.unwrap_or_else(|_| {
        let origin = server.upstream.origin().clone();
        Err(UpstreamError::Timeout { origin, limit: PROBE_PATIENCE })
    })
}

/// An answer that goes to the reader. Its address counts a request under way until its end; where its connection goes on
/// in another protocol, until the end of that.
fn going_on(
    answer: Response<UpstreamBody>,
    ticket: Ticket,
    replay: &Replay,
) -> Response<OriginBody> {
    match replay.upgrade() {
        Some(upgrade) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
            upgrade.hold(ticket);
            answer.map(OriginBody::unwatched)
        }
        _ => answer.map(|body| OriginBody::watched(body, ticket, replay.is_stream())),
    }
}

/// Nothing came in time, and that says nothing of the address: a long poll may end so, or answers came to others while
/// this one waited. An address is not given up because whoever may ask for something slow asks for it again and again.
fn is_excused(failure: Failure, is_stream: bool, server: &Server, heard: Heard) -> bool {
    failure == Failure::Timeout && (is_stream || server.heard() != heard)
}

/// `failure`: whose fault it is, if the address is to blame.
fn unanswered(all: &Addresses, error: UpstreamError, failure: Option<Failure>) -> Unanswered {
    let page = failure.and_then(|_| all.config.page.clone().map(Box::new));
    Unanswered::Failed { error, page }
}

/// One address, without a name of its own.
impl From<Upstream> for Origins {
    fn from(upstream: Upstream) -> Origins {
        Origins { all: Addresses::of_one("service", upstream, OriginsConfig::default()) }
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Origins").field(&self.stats()).finish()
    }
}
