//! Deliver: what becomes of a request that was let in, and what is known of it then.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, atomic::AtomicU64},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, request::Parts};
use http_body::Body as HttpBody;
use http_body_util::Empty;
use larder::http::{
    Answering, Body, BoxError, Bypass, Client, Handled, NoAnswer, Verdict, policy::reason::Reason,
};
use tower::Service;

use super::{
    Gateway, LetIn, Refresher,
    answers::{
        LogLine, answer_of, error_status, is_for_want_of_a_turn, is_for_want_of_an_address,
        is_for_want_of_memory, is_for_want_of_room, passes, tell_busy, tell_down,
    },
    inbound::{TurnedAway, Write},
    past::{Asked, LARDER_REQUEST},
    purging::{PurgeConfig, Purger},
};
use crate::{
    access::{Note, Verdict as Said},
    downstream::http1::ReaderBody,
    traces::ServerSpan,
};

/// Who asks where nobody does.
pub(super) const NOBODY: Client = Client(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

/// An answer, and what its request was to the cache.
pub(super) struct Delivered {
    pub(super) answer: Response<Body>,
    pub(super) verdict: Verdict,
}

impl Gateway {
    /// A task of its own: what is asked for is done, also where the client does not wait for it.
    pub(super) fn purge(
        &self,
        config: PurgeConfig,
        head: Parts,
        purger: Purger,
        span: Option<ServerSpan>,
    ) -> <Gateway as Service<Request<ReaderBody>>>::Future {
        let line = LogLine::begin(&head);
        let settings = self.common.settings.load_full();
        let policy = Arc::clone(settings.rules_of(&head));
        let purges = self.common.purges.clone();
        let refresher = config.refreshes.then(|| Refresher::new(self));
        let cache = self.store.clone();
        let purging = tokio::spawn(purges.answer(config, cache, head, purger, refresher));
        Box::pin(async move {
            let answer = purging.await.unwrap_or_else(|_| {
                let mut broken = Response::new(Bytes::new());
                *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                broken
            });
            let mut answer = answer.map(Body::from);
            policy.fields_of_answers().change_own(answer.headers_mut());
            if let Some(line) = line {
                line.end(&answer);
            }
            if let Some(span) = span {
                span.go_with(&mut answer, None);
            }
            Ok(answer)
        })
    }

    /// Sends a request that nobody waits for the way of all requests, by the settings of now. None where that is no way
    /// for it.
    pub(super) fn ask_again(&self, request: Request<()>) -> Option<Answering> {
        let (mut head, ()) = request.into_parts();
        let settings = self.common.settings.load_full();
        self.set_out(settings, &mut head, NOBODY).ok()?;
        Some(self.cache.clone().call(Request::from_parts(head, Empty::<Bytes>::new())))
    }

    /// Sends a crowd's request the way of all requests, by the settings of now, and counts it as a reader's. `crowd_calls` goes
    /// up each time that a service is asked for it. Dropping it leaves it as a reader does.
    pub(super) async fn send_counted(
        mut self,
        request: Request<()>,
        crowd_calls: Arc<AtomicU64>,
    ) -> Delivered {
        let (mut head, ()) = request.into_parts();
        let settings = self.common.settings.load_full();
        if let Err(turned_away) = self.set_out(settings, &mut head, NOBODY) {
            let answer = self.turn_away(turned_away, &head);
            return Delivered { answer, verdict: Verdict::Refused };
        }
        if let Some(let_in) = head.extensions.get_mut::<LetIn>() {
            let_in.crowd_calls = Some(crowd_calls);
        }
        self.deliver(head, Empty::<Bytes>::new(), None).await
    }

    /// The answer to a request that goes no further, which is counted. Its fields are changed as those of all answers of the
    /// route that it fits.
    pub(super) fn turn_away(&self, turned_away: TurnedAway, head: &Parts) -> Response<Body> {
        let TurnedAway { mut answer, row } = turned_away;
        row.as_ref().unwrap_or_else(|| self.common.ledger.otherwise()).refused();
        let settings = self.common.settings.load();
        settings.rules_of(head).fields_of_answers().change_own(answer.headers_mut());
        *answer
    }

    /// Has the cache answer a request that was let in, and counts what that was. The cache begins at once. `span`: it is
    /// traced.
    pub(super) fn deliver<B>(
        &mut self,
        mut head: Parts,
        body: B,
        mut span: Option<ServerSpan>,
    ) -> impl Future<Output = Delivered> + Send + use<B>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (line, asked) = (LogLine::begin(&head), Asked::of(&head));
        let write = head.extensions.remove::<Write>();
        let note = head.extensions.get::<Note>().cloned();
        let let_in = head.extensions.get::<LetIn>();
        let row = let_in.map(|let_in| Arc::clone(&let_in.row));
        let row = row.unwrap_or_else(|| Arc::clone(self.common.ledger.otherwise()));
        let way = let_in.map(|let_in| (Arc::clone(&let_in.settings), let_in.place));
        let passes = passes(&head.method, head.extensions.get::<Bypass>().is_some());
        let answering = self.cache.call(Request::from_parts(head, body));
        let (common, store) =
            (Arc::clone(&self.common), write.as_ref().map(|_| self.store.clone()));
        async move {
            let answered = answering.await;
            let failed = |verdict| {
                row.failed(verdict);
                verdict
            };
            let refused = || {
                row.refused();
                Verdict::Refused
            };
            let verdict = match &answered {
                Ok(answer) => match answer.extensions().get::<Handled>() {
                    Some(handled) => {
                        row.answered(handled, answer.status());
                        if let Some(span) = &mut span {
                            span.handled(handled);
                        }
                        handled.verdict
                    }
                    // The cache has not said it, though it was asked to.
                    None => Verdict::Pass,
                },
                Err(error) if is_for_want_of_room(error) => refused(),
                Err(_) if passes.is_some() => failed(Verdict::Pass),
                Err(_) => failed(Verdict::Miss),
            };
            if let Some(note) = note {
                note.verdict(said_of(&answered, passes));
            }
            let has_failed = answered.is_err();
            let mut answer = answered.unwrap_or_else(|error| {
                match &error {
                    error if is_for_want_of_a_turn(error) => tell_busy(&common.busy),
                    error if is_for_want_of_an_address(error) => tell_down(error, &common.down),
                    // Told where it was refused.
                    error if is_for_want_of_memory(error) => {}
                    error => tracing::warn!("{error}"),
                }
                let mut answer = answer_of(&error, passes).map(Body::from);
                if let Some((settings, place)) = &way {
                    let policy = &settings.ways.of(*place).policy;
                    policy.fields_of_answers().change_own(answer.headers_mut());
                }
                answer
            });
            if let Some(asked) = asked {
                let trace = span.as_ref().map(ServerSpan::trace_id);
                common.past.note(asked, &mut answer, has_failed, trace);
            }
            if let (Some(Write { rules, host, is_secure }), Some(store)) = (write, store)
                && (answer.status().is_success() || answer.status().is_redirection())
            {
                let (about, now) = ((&*host, is_secure), || store.not_before_now());
                common.writes.say(&rules, about, now, answer.headers_mut());
            }
            if let Some(line) = line {
                line.end(&answer);
            }
            if let Some(span) = span {
                let request_id = answer.headers().get(LARDER_REQUEST).cloned();
                span.go_with(&mut answer, request_id);
            }
            Delivered { answer, verdict }
        }
    }
}

/// What the line of a request in the access log says that it was: as `Cache-Status` does.
fn said_of(answered: &Result<Response<Body>, NoAnswer>, passes: Option<Reason>) -> Said {
    match answered {
        Ok(answer) => match answer.extensions().get::<Handled>() {
            Some(handled) => Said { word: handled.word, reason: handled.reason.as_str() },
            None => Said::default(),
        },
        Err(error) => {
            let (status, reason) = error_status(error, passes);
            Said { word: status.word(), reason: reason.map_or("", Reason::as_str) }
        }
    }
}
