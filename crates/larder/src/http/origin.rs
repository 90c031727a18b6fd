//! Origin: how the origin is asked.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCEPT_ENCODING, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    },
};
use larder_policy::{
    head::RequestHead,
    own_tag::hide_own_tags,
    reason::Reason,
    request::{drop_reader_fields, drop_steering_fields},
    response::tells_of_others,
    reuse::{Ask, OriginFailure, ReaderFields, Rescue},
};

use super::{
    body::{Body, BoxFuture},
    cache::Parts,
    error::NoAnswer,
    records::MayWrite,
    request::Retrieval,
    store::AtHand,
    stored::Stored,
    variants::StoredVariant,
};
use crate::tier::memory::Looker;

/// Asks the origin, with its type forgotten: what follows on a miss is the same for all.
pub(crate) struct Origin(Box<dyn AskOrigin>);

/// What an [`Origin`] is made of.
trait AskOrigin: Send {
    fn ask(&mut self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, NoAnswer>>;

    fn boxed(&self) -> Box<dyn AskOrigin>;
}

impl<F> AskOrigin for F
where
    F: FnMut(Request<Body>) -> BoxFuture<Result<Response<Body>, NoAnswer>>,
    F: Clone + Send + 'static,
{
    fn ask(&mut self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, NoAnswer>> {
        self(request)
    }

    fn boxed(&self) -> Box<dyn AskOrigin> {
        Box::new(self.clone())
    }
}

impl Origin {
    pub(crate) fn new<F>(ask: F) -> Self
    where
        F: FnMut(Request<Body>) -> BoxFuture<Result<Response<Body>, NoAnswer>>,
        F: Clone + Send + 'static,
    {
        Origin(Box::new(ask))
    }

    pub(crate) fn ask(
        &mut self,
        request: Request<Body>,
    ) -> BoxFuture<Result<Response<Body>, NoAnswer>> {
        self.0.ask(request)
    }
}

impl Clone for Origin {
    fn clone(&self) -> Self {
        Origin(self.0.boxed())
    }
}

/// One way to the origin and back.
pub(crate) struct OriginRequest {
    /// What the reader asked.
    pub(crate) asked: Arc<Retrieval>,
    /// What of its preconditions and its range goes along.
    pub(crate) reader_fields: ReaderFields,
    conditional: HeaderMap,
    pub(crate) revalidates: Vec<Arc<Stored>>,
    /// The part that the answer may complete.
    pub(crate) completes: Option<Arc<Stored>>,
    /// Stored responses to GET that an answer to HEAD tells something about.
    pub(crate) about: Vec<StoredVariant>,
    /// What may stand in if the origin fails.
    rescue: Option<Rescue>,
    /// Whether others may be waiting for the answer.
    pub(crate) is_shared: bool,
    /// Whether it is behind the readers' backs: then it takes nobody's turn.
    pub(crate) is_refresh: bool,
    /// Why the origin is asked.
    pub(crate) why: Reason,
    /// What lets its answer be written below memory, if something lies there.
    pub(crate) may_write: Option<Box<MayWrite>>,
    /// How long it took to look below: that is a part of the time it may take.
    pub(crate) spent: Duration,
}

impl OriginRequest {
    pub(crate) fn new(
        cache: &Parts,
        asked: &Arc<Retrieval>,
        ask: &Ask,
        at_hand: &AtHand,
        is_shared: bool,
    ) -> Self {
        let stored = |index: &usize| Arc::clone(&at_hand.variants.at(*index).stored);
        let mut about = Vec::new();
        if asked.head.method == Method::HEAD {
            let selected = at_hand.variants.selected_by(&asked.policy, asked.request());
            about.extend(selected.cloned());
        }
        // What is not going to be stored nobody else needs as a whole, and its preconditions are the
        // origin's to judge (RFC 9110 §13.2.1).
        let reader_fields =
            match !is_shared && asks_in_vain_for_the_whole(cache, asked, ask, Looker::Reader) {
                true => ReaderFields::Forward,
                false => ask.reader_fields,
            };
        OriginRequest {
            asked: Arc::clone(asked),
            reader_fields,
            conditional: ask.conditional.clone(),
            revalidates: ask.revalidates.iter().map(stored).collect(),
            completes: ask.completes.as_ref().map(stored),
            about,
            rescue: ask.rescue,
            is_shared,
            is_refresh: false,
            why: ask.reason,
            may_write: None,
            spent: Duration::ZERO,
        }
    }

    /// One behind the readers' backs.
    pub(crate) fn refresh(
        mut asked: Retrieval,
        stored: Arc<Stored>,
        conditional: HeaderMap,
    ) -> Self {
        // Found before its method changes: it is this reader's.
        asked.sharing_name();
        if asked.head.method == Method::HEAD {
            // What is stored is an answer to GET.
            asked.head.method = Method::GET;
        }
        // They were this one reader's, and what is stored has met them.
        for name in [IF_MATCH, IF_UNMODIFIED_SINCE, IF_RANGE] {
            asked.head.headers.remove(name);
        }
        OriginRequest {
            asked: Arc::new(asked),
            reader_fields: ReaderFields::Drop,
            conditional,
            revalidates: vec![stored],
            completes: None,
            about: Vec::new(),
            rescue: None,
            is_shared: true,
            is_refresh: true,
            why: Reason::StaleWhileRevalidate,
            may_write: None,
            spent: Duration::ZERO,
        }
    }

    /// What the reader asked.
    pub(crate) fn reader(&self) -> RequestHead<'_> {
        self.asked.request()
    }

    /// What the origin is asked.
    pub(crate) fn request(&self) -> Request<Body> {
        let mut head = self.asked.head.clone();
        drop_steering_fields(&self.asked.policy, &mut head.headers);
        if self.reader_fields == ReaderFields::Drop {
            drop_reader_fields(&mut head.headers);
        }
        hide_own_tags(&self.asked.policy, &mut head.headers);
        if self.asks_for_plain_bytes() {
            head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        for (name, value) in &self.conditional {
            head.headers.insert(name, value.clone());
        }
        Request::from_parts(head, Body::from(self.asked.content.clone()))
    }

    /// Whether the cache makes the coded forms of what comes. What is likely to be for one reader alone comes as that
    /// reader wants it.
    fn asks_for_plain_bytes(&self) -> bool {
        self.is_shared && self.asked.policy.compression().is_some() && !self.asked.is_personal()
    }

    /// Asks once more for all of it, since what came fits nothing that is stored.
    pub(crate) fn ask_for_the_whole(&mut self) {
        self.reader_fields = ReaderFields::Drop;
        self.confirm_nothing();
    }

    /// What was stored when it was made may have been purged since.
    pub(crate) fn confirm_nothing(&mut self) {
        self.conditional.clear();
        self.revalidates.clear();
        self.completes = None;
    }

    /// Whether an answer that is not stored tells of the answers that others will get.
    pub(crate) fn tells_of_others(&self, status: StatusCode) -> bool {
        match self.reader_fields {
            ReaderFields::Forward => tells_of_others(&self.asked.head.headers, status),
            // The origin has not seen what was particular about it.
            ReaderFields::Drop => tells_of_others(&HeaderMap::new(), status),
        }
    }

    /// Whether the reader has preconditions that the origin has not seen.
    pub(crate) fn hides_preconditions(&self) -> bool {
        self.reader_fields == ReaderFields::Drop && has_a_copy(&self.asked.head.headers)
    }

    pub(crate) fn may_stand_in(&self, failure: OriginFailure, cache: &Parts) -> bool {
        self.rescue.is_some_and(|rescue| rescue.allows(failure, cache.now()))
    }
}

/// Whether a request's own preconditions were to be kept from the origin for the sake of a whole answer
/// that could be stored, and its key's answers have not been such for long.
pub(crate) fn asks_in_vain_for_the_whole(
    cache: &Parts,
    asked: &Retrieval,
    ask: &Ask,
    looker: Looker,
) -> bool {
    ask.reader_fields == ReaderFields::Drop
        && ask.conditional.is_empty()
        && has_a_copy(&asked.head.headers)
        && [asked.sharing_name(), &asked.key]
            .into_iter()
            .any(|name| cache.hit_for_miss.was_apart(name, looker))
}

/// Whether its sender has a copy already, and asks whether that is current.
fn has_a_copy(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_MODIFIED_SINCE)
}
