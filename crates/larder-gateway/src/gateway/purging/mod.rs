//! Purging: purges at the port where requests come, for applications that are set up for other caches.
//!
//! ```text
//! PURGE /a ─▶ may it? ─▶ not too many? ─▶ what does it name? ─▶ purge ─▶ receipts
//! ```
//!
//! Off until the configuration says who may. Then no such request goes further than here, so that no token reaches an
//! origin.

mod allowed;
mod asked;
mod bucket;
mod pattern;

use std::{
    num::NonZeroU32,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use larder::{
    Mode, Purge, PurgeError, Receipt, Tier,
    http::{HttpCache, policy::proxy_status::ProxyError},
};
use larder_admin::{
    ReceiptView, Refreshed,
    access::{Attempts, Token},
    trail::{Story, Trail},
    walks::{ASK_AGAIN, NoWalk, Walks, is_walk},
};
use serde::Serialize;
use tokio::task::spawn_blocking;

pub(super) use self::allowed::{Purger, asks_for_others};
use self::{
    allowed::{Refused, judge},
    asked::{Asked, is_to_purge},
    bucket::Bucket,
};
use super::Refresher;
use crate::{downstream::TrustedPeers, problem::Problem, seldom::Seldom};

/// Who may purge at the port where requests come, and how. Where both are asked for, both must be there; a
/// configuration that asks for neither lets nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeConfig {
    /// Clients at these addresses.
    pub allow: Option<TrustedPeers>,
    /// Those who show this.
    pub token: Option<Token>,
    /// What is left of what is purged, where a request does not say.
    pub mode: Mode,
    /// Whether what they mark stale is asked for again, by a [`Refresher`] that runs.
    pub refreshes: bool,
    /// So many requests a second, and ten times as many at once.
    pub rate: NonZeroU32,
}

/// The time between two lines in the log that purges are refused.
const REFUSED_LINE: Duration = Duration::from_secs(10);

/// Longer ones are shortened in the log.
const LOGGED_BYTES: usize = 200;

/// What purges have in common, whatever the settings are. Clones share it.
#[derive(Clone)]
pub(super) struct Purges(Arc<State>);

struct State {
    attempts: Attempts,
    bucket: Bucket,
    refused_line: Seldom,
    /// Those that look at every key.
    walks: Walks,
    made: AtomicU64,
    refused: AtomicU64,
    limited: AtomicU64,
    not_understood: AtomicU64,
    /// Where it is remembered who has purged what, if it is.
    trail: OnceLock<Trail>,
}

/// What became of requests to purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PurgeRequests {
    /// What they named was purged.
    pub made: u64,
    /// They may not.
    pub refused: u64,
    /// They were too many.
    pub limited: u64,
    /// They named nothing that could be purged.
    pub not_understood: u64,
}

impl PurgeConfig {
    /// Whether a request with this method is to purge something, and goes no further.
    pub(crate) fn takes(&self, method: &Method) -> bool {
        is_to_purge(method)
    }
}

impl Default for Purges {
    fn default() -> Self {
        let count = AtomicU64::default;
        Purges(Arc::new(State {
            attempts: Attempts::default(),
            bucket: Bucket::default(),
            refused_line: Seldom::every(REFUSED_LINE),
            walks: Walks::default(),
            made: count(),
            refused: count(),
            limited: count(),
            not_understood: count(),
            trail: OnceLock::new(),
        }))
    }
}

impl Purges {
    /// From now on `trail` remembers who has purged what. The first one does.
    pub(super) fn remember(&self, trail: Trail) {
        _ = self.0.trail.set(trail);
    }

    pub(super) fn requests(&self) -> PurgeRequests {
        let State { made, refused, limited, not_understood, .. } = &*self.0;
        let [made, refused, limited, not_understood] =
            [made, refused, limited, not_understood].map(|count| count.load(Relaxed));
        PurgeRequests { made, refused, limited, not_understood }
    }

    /// The order of steps. Dropping it undoes nothing that is done, and may leave the rest.
    pub(super) async fn answer(
        self,
        config: PurgeConfig,
        cache: HttpCache,
        head: Parts,
        purger: Purger,
        refresher: Option<Refresher>,
    ) -> Response<Bytes> {
        match self.purge(&config, &cache, (&head, purger), refresher).await {
            Ok(purged) => purged.to_response(),
            Err(not_made) => {
                self.count(&not_made);
                not_made.to_response()
            }
        }
    }

    async fn purge(
        &self,
        config: &PurgeConfig,
        cache: &HttpCache,
        (head, purger): (&Parts, Purger),
        refresher: Option<Refresher>,
    ) -> Result<Purged, NotMade> {
        let State { attempts, bucket, made, .. } = &*self.0;
        let now = Instant::now();
        judge(config, attempts, purger, &head.headers, now).map_err(NotMade::Refused)?;
        bucket.take(config.rate, now).map_err(NotMade::TooMany)?;
        let asked = asked::read(head, config.mode);
        let Asked { purges } = asked.map_err(|error| NotMade::NotUnderstood(error.to_string()))?;
        let named = Trail::ask(format!("{}, {purger}", head.method));
        let purges: Vec<_> = purges.into_iter().map(|purge| purge.asked(named.clone())).collect();
        let is_stale = |purge: &&Purge| purge.mode == Mode::Soft;
        let stale = match refresher {
            Some(_) => purges.iter().filter(is_stale).cloned().collect(),
            None => Vec::new(),
        };
        let receipts = self.make(cache, purges).await?;
        made.fetch_add(1, Relaxed);
        let refresh = match refresher {
            // To look at a million entries takes longer than others should wait. If it broke, that was told.
            Some(refresher) if !stale.is_empty() => {
                spawn_blocking(move || refresher.queue(&stale)).await.ok()
            }
            _ => None,
        };
        let story = match self.0.trail.get() {
            Some(trail) => {
                trail.told(&named.id, &receipts);
                trail.kept(&named.id).await;
                match asked::wait(head) {
                    Some(within) => trail.wait(&named.id, Tier::Cdn, within).await,
                    None => trail.story(&named.id),
                }
            }
            None => None,
        };
        let mut purged = Purged { story, refresh, ..Purged::of(cache, &receipts) };
        tracing::info!(purged = purged.purged, mode = purged.mode, "purged {}", logged(&receipts));
        if purged.story.is_some() {
            // It says the mode itself.
            purged.mode = None;
        }
        Ok(purged)
    }

    async fn make(&self, cache: &HttpCache, purges: Vec<Purge>) -> Result<Vec<Receipt>, NotMade> {
        if !purges.iter().any(|purge| is_walk(&purge.scope)) {
            return make_all(cache, purges).await;
        }
        let cache = cache.clone();
        let made = self.0.walks.walk(async move { make_all(&cache, purges).await }).await;
        made.unwrap_or_else(|error| match error {
            NoWalk::TooMany => Err(NotMade::TooMany(ASK_AGAIN)),
            NoWalk::Broken => Err(NotMade::Broken),
        })
    }

    fn count(&self, not_made: &NotMade) {
        let State { refused, limited, not_understood, refused_line, .. } = &*self.0;
        let (count, why) = match not_made {
            NotMade::Refused(Refused::TooManyTokens(_)) | NotMade::TooMany(_) => {
                (limited, "are too many")
            }
            NotMade::Refused(_) => (refused, "may not"),
            NotMade::NotUnderstood(_) | NotMade::Broken => (not_understood, "are not understood"),
        };
        count.fetch_add(1, Relaxed);
        if let Some(times) = refused_line.one_more() {
            tracing::warn!(times, "requests to purge are refused, because they {why}");
        }
    }
}

async fn make_all(cache: &HttpCache, purges: Vec<Purge>) -> Result<Vec<Receipt>, NotMade> {
    let mut receipts = Vec::with_capacity(purges.len());
    for purge in purges {
        let receipt = cache.purge(purge).await;
        receipts
            .push(receipt.map_err(|error: PurgeError| NotMade::NotUnderstood(error.to_string()))?);
    }
    Ok(receipts)
}

/// For the log: the first of them.
fn logged(receipts: &[Receipt]) -> String {
    let first = receipts.first().map(|receipt| receipt.scope.to_string()).unwrap_or_default();
    let end = first.floor_char_boundary(LOGGED_BYTES);
    match receipts.len() {
        0 | 1 => format!("{:?}", &first[..end]),
        many => format!("{:?} and {} more", &first[..end], many - 1),
    }
}

/// What was done: as the admin API tells it.
#[derive(Serialize)]
struct Purged {
    /// How far each tier is, and by which name it is found again, where it is remembered.
    #[serde(flatten)]
    story: Option<Story>,
    /// How many entries that was, where they are counted.
    purged: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    /// What of it will be asked for again, where that is wished.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<Refreshed>,
    receipts: Vec<ReceiptView>,
}

impl Purged {
    fn of(cache: &HttpCache, receipts: &[Receipt]) -> Purged {
        let name = cache.cache().name();
        Purged {
            story: None,
            purged: receipts.iter().map(|receipt| receipt.entries).sum(),
            refresh: None,
            mode: Some(receipts.first().map_or(Mode::default(), |receipt| receipt.mode).as_str()),
            receipts: receipts.iter().map(|receipt| ReceiptView::of(name, receipt)).collect(),
        }
    }

    /// 200 also where nothing was there: it may be in other tiers, and applications take everything else for a failure.
    fn to_response(&self) -> Response<Bytes> {
        let body = serde_json::to_vec(self).unwrap_or_default();
        let mut response = Response::new(Bytes::from(body));
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// Why nothing was purged.
enum NotMade {
    Refused(Refused),
    TooMany(Duration),
    NotUnderstood(String),
    /// Something broke, and said so in the log.
    Broken,
}

impl NotMade {
    fn to_response(&self) -> Response<Bytes> {
        let denied = |status, title, detail: &str| {
            Problem::new(status, title, detail, ProxyError::HttpRequestDenied)
        };
        const TITLE: &str = "Purge not allowed";
        let problem = match self {
            NotMade::Refused(Refused::Address) => {
                denied(StatusCode::FORBIDDEN, TITLE, "this client may not purge here")
            }
            NotMade::Refused(Refused::Unnamed) => denied(
                StatusCode::FORBIDDEN,
                TITLE,
                "a proxy asks, and whom it asks for is not known: only clients that are known may purge",
            ),
            NotMade::Refused(Refused::NoToken | Refused::WrongToken) => denied(
                StatusCode::UNAUTHORIZED,
                TITLE,
                "show the token: Authorization: Bearer, or Fastly-Key",
            ),
            NotMade::Refused(Refused::TooManyTokens(wait)) => denied(
                StatusCode::TOO_MANY_REQUESTS,
                TITLE,
                "too many wrong tokens came from this address",
            )
            .retry_after(*wait),
            NotMade::TooMany(wait) => {
                denied(StatusCode::TOO_MANY_REQUESTS, "Too many purges", "purges come too fast")
                    .retry_after(*wait)
            }
            NotMade::NotUnderstood(why) => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Purge not understood",
                why.clone(),
                ProxyError::HttpRequestError,
            ),
            NotMade::Broken => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Purge broken off",
                "not all of it may be purged",
                ProxyError::ProxyInternalError,
            ),
        };
        let mut response = problem.to_response();
        if response.status() == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"larder purge\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
