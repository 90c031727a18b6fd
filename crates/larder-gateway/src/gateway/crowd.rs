//! Crowd: many requests at once for whoever watches, each of them the way of readers' requests from where those are let in.
//!
//! ```text
//! admin API ─▶ a task for each request, on the loops that readers' connections live on ─▶ [cache] ─▶ origin
//! ```
//!
//! Each is a plain GET that is counted as a reader's is. It is nobody's: no line in the access log is its own, and a route's
//! `requests_per_address` takes all of them for those of one address that no reader has. There is no connection, so what
//! readers' connections wait for is not part of the time it takes.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use futures_util::{FutureExt, future::BoxFuture};
use http::{
    HeaderValue, Request, StatusCode, Uri, header,
    uri::{Authority, Scheme},
};
use http_body_util::BodyExt;
use larder::http::Verdict;
use larder_admin::{
    Problem,
    stage::{self, Crowd, CrowdAnswer, CrowdOffer, Crowds, SentCrowd},
};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::{Gateway, deliver::Delivered};

/// So many requests at most.
const MOST: usize = 1000;

/// Sends crowds through a gateway, for the stage of its admin API. Clones are one.
#[derive(Clone)]
pub struct GatewayCrowds {
    gateway: Gateway,
    scheme: Scheme,
    host: Authority,
    /// Where readers' connections live, once they do.
    loops: Arc<OnceLock<Vec<Handle>>>,
}

impl GatewayCrowds {
    /// Through this gateway, by requests for `host` where a crowd names none.
    pub fn new(gateway: &Gateway, scheme: Scheme, host: Authority) -> GatewayCrowds {
        GatewayCrowds { gateway: gateway.clone(), scheme, host, loops: Arc::default() }
    }

    /// From now on crowds can be sent, spread over these loops as connections are. Said once: what is said later is not heard.
    pub fn run_on(&self, loops: &[Handle]) {
        // Whoever was first has said the same.
        let _is_first = self.loops.set(loops.to_vec());
    }

    fn uri(&self, crowd: &Crowd) -> Result<Uri, http::Error> {
        let host = crowd.host.as_ref().unwrap_or(&self.host).as_str();
        let parts = Uri::builder().scheme(self.scheme.clone()).authority(host);
        parts.path_and_query(crowd.path.as_str()).build()
    }

    /// One of them, up to the end of its answer.
    fn send_one(
        &self,
        runtime: &Handle,
        uri: Uri,
        host: HeaderValue,
        origin_calls: &Arc<AtomicU64>,
    ) -> BoxFuture<'static, Option<CrowdAnswer>> {
        let mut request = Request::new(());
        *request.uri_mut() = uri;
        request.headers_mut().insert(header::HOST, host);
        let delivering = self.gateway.clone().send_counted(request, Arc::clone(origin_calls));
        let task = runtime.spawn(async move {
            let Delivered { answer, verdict } = delivering.await;
            let (status, mut body) = (answer.status(), answer.into_body());
            // What nobody reads would not be stored.
            while let Some(frame) = body.frame().await {
                frame.ok()?;
            }
            Some(CrowdAnswer { verdict: of(verdict), status })
        });
        let task = AbortOnDropHandle::new(task);
        async move { task.await.ok().flatten() }.boxed()
    }
}

impl Crowds for GatewayCrowds {
    fn offer(&self) -> CrowdOffer {
        let at = format!("{}://{}", self.scheme, self.host);
        CrowdOffer { at, path: "/".to_owned(), takes_host: true, most: MOST }
    }

    fn send(&self, crowd: &Crowd) -> Result<SentCrowd, Problem> {
        let loops = self.loops.get().filter(|loops| !loops.is_empty()).ok_or_else(|| {
            let detail = "the gateway does not serve readers yet: ask again in a moment";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Not serving yet", detail)
        })?;
        let no_request = |error: &dyn std::fmt::Display| {
            let (status, title) = (StatusCode::UNPROCESSABLE_ENTITY, "Crowd not understood");
            Problem::new(status, title, format!("that makes no request: {error}"))
        };
        let uri = self.uri(crowd).map_err(|error| no_request(&error))?;
        let host = uri.authority().map(Authority::as_str).unwrap_or_default();
        let host = HeaderValue::from_str(host).map_err(|error| no_request(&error))?;
        let origin_calls = Arc::new(AtomicU64::new(0));
        let answers = loops
            .iter()
            .cycle()
            .take(crowd.requests)
            .map(|runtime| self.send_one(runtime, uri.clone(), host.clone(), &origin_calls));
        let answers = answers.collect();
        let counted = move || origin_calls.load(Relaxed);
        Ok(SentCrowd { answers, origin_calls: Some(Box::new(counted)) })
    }
}

fn of(verdict: Verdict) -> stage::Verdict {
    match verdict {
        Verdict::Hit => stage::Verdict::Hit,
        Verdict::Stale => stage::Verdict::Stale,
        Verdict::Miss => stage::Verdict::Miss,
        Verdict::Collapsed => stage::Verdict::Collapsed,
        Verdict::Pass => stage::Verdict::Pass,
        Verdict::Refused => stage::Verdict::Refused,
    }
}
