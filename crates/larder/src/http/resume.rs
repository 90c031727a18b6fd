//! Resume: the rest of a body, from the byte where it is, by a request of its own: for a reader that the others have left
//! behind, and where a piece of what lies below is gone.

use std::{future::pending, sync::Arc};

use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, IF_RANGE, RANGE},
};
use http_body::Body as _;
use larder_policy::{
    etag::EntityTag,
    fields::Fields,
    head::ResponseHead,
    own_tag::hide_own_tags,
    part::Part,
    request::{drop_reader_fields, drop_steering_fields},
};

use super::{body::Body, cache::Parts, origin::Origin, request::Retrieval};
use crate::sync;

/// What is worth a request of its own, in bytes: less than that others wait for.
const LEAST_BYTES: u64 = 1 << 20;

/// Lets the reader of `answer` go on by itself, where that is a body on its way, all of it, which the origin knows
/// again by a strong tag (RFC 9110 §13.1.5). `origin`: how it is asked.
pub(crate) fn resumable(
    cache: &Arc<Parts>,
    asked: &Arc<Retrieval>,
    mut answer: Response<Body>,
    origin: Origin,
) -> Response<Body> {
    if !answer.body().may_be_left_behind(LEAST_BYTES) {
        return answer;
    }
    let is_all_of_it = answer.status() == StatusCode::OK && asked.head.method == Method::GET;
    let Some(form) = Form::of(answer.headers()).filter(|_| is_all_of_it) else { return answer };
    let (cache, asked) = (Arc::clone(cache), Arc::clone(asked));
    answer.body_mut().resume_by(Box::new(move |at| {
        Box::pin(async move {
            let body = rest(&cache, &asked, origin, form, at).await;
            if body.is_none() {
                cache.counters().readers_cut.increment();
            }
            body
        })
    }));
    answer
}

/// By what the origin knows a body again (RFC 9110 §13.1.5).
pub(crate) struct Form {
    tag: HeaderValue,
    coding: Option<HeaderValue>,
}

impl Form {
    /// `None`: it has no strong tag.
    pub(crate) fn of<'a>(fields: impl Into<Fields<'a>>) -> Option<Form> {
        let fields = fields.into();
        let is_strong = EntityTag::of(fields).is_some_and(|tag| tag.is_strong());
        let value = |name: HeaderName| {
            fields.first(name.as_str()).and_then(|value| HeaderValue::from_bytes(value).ok())
        };
        let tag = value(ETAG).filter(|_| is_strong)?;
        Some(Form { tag, coding: value(CONTENT_ENCODING) })
    }
}

/// What follows of a body from this byte on, from the origin. `None`: that does not tell, or not in time, or has something
/// else by now.
pub(crate) async fn rest(
    cache: &Parts,
    asked: &Retrieval,
    origin: Origin,
    form: Form,
    at: u64,
) -> Option<Body> {
    let asking = ask(cache, asked, origin, form, at);
    // No longer than a fetch may take until its head is there: a turn is another's then.
    match cache.hard_timeout(&asked.policy) {
        Some(limit) => sync::in_time(limit, asking).await.ok().flatten(),
        None => asking.await,
    }
}

async fn ask(
    cache: &Parts,
    asked: &Retrieval,
    mut origin: Origin,
    Form { tag, coding }: Form,
    at: u64,
) -> Option<Body> {
    let of = (&*asked.key, asked.client());
    let (turns, wait) = (&cache.turns, cache.settings.turn_wait);
    let turn = turns.take_counted(of, wait, cache.counters(), pending()).await.ok()?;
    let mut head = asked.head.clone();
    head.method = Method::GET;
    drop_steering_fields(&asked.policy, &mut head.headers);
    drop_reader_fields(&mut head.headers);
    let range = HeaderValue::try_from(format!("bytes={at}-")).expect("digits and a dash");
    head.headers.insert(RANGE, range);
    head.headers.insert(IF_RANGE, tag.clone());
    if asked.policy.compression().is_some() && coding.is_none() {
        // What this reader has is plain bytes, whatever else it takes.
        head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    hide_own_tags(&asked.policy, &mut head.headers);
    if !head.headers.contains_key(RANGE) {
        // Its tag is one that the origin has never seen.
        return None;
    }
    let counted = cache.engine().begin_fetch();
    let answer = origin.ask(Request::from_parts(head, Body::empty())).await.ok()?;
    drop(turn);
    let (head, body) = answer.into_parts();
    let response = ResponseHead { status: head.status, headers: (&head.headers).into() };
    let part = Part::announced(response)?;
    let is_the_same = head.headers.get(ETAG) == Some(&tag)
        && head.headers.get(CONTENT_ENCODING) == coding.as_ref();
    let goes_on_there = part.range().first() == at
        && part.complete_bytes().is_some_and(|complete| complete == part.range().last() + 1)
        && body.size_hint().exact().is_none_or(|bytes| bytes == part.range().len());
    if !(is_the_same && goes_on_there) {
        return None;
    }
    counted.succeed();
    Some(body.counted(&cache.account))
}
