//! Entry: what is known of a request so far; its line is written when this is dropped, whichever way that comes about.

use std::{
    net::IpAddr,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};
use larder::http::HitResponse;

use super::{
    AccessLog, Hit, Note,
    line::{Asked, Ended, Line},
    note::Verdict,
};
use crate::downstream::{Peer, TlsFacts};

/// What is logged of a request whose reader left before its answer began: nginx has made this number usual.
const NO_ANSWER: u16 = 499;

/// A request under way.
pub(crate) struct Entry {
    log: AccessLog,
    began: Instant,
    peer: Option<IpAddr>,
    tls: Option<TlsFacts>,
    note: Note,
    method: Bytes,
    scheme: &'static str,
    host: Bytes,
    target: Bytes,
    protocol: &'static str,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    status: Option<StatusCode>,
    age: Option<u64>,
    first_byte: Option<Duration>,
    bytes: u64,
    ended: Ended,
}

/// What of a request's head is told.
pub(crate) struct Head<'a> {
    pub(crate) method: &'a http::Method,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) scheme: &'static str,
}

impl Entry {
    /// On the heap, so that what is under way is no larger where there is no log.
    pub(crate) fn begin(log: &AccessLog, peer: &Peer, head: Head<'_>) -> Box<Entry> {
        let Head { method, uri, version, headers, scheme } = head;
        let host = match headers.get(header::HOST) {
            Some(host) => Bytes::copy_from_slice(host.as_bytes()),
            None => uri
                .authority()
                .map(|host| Bytes::copy_from_slice(host.as_str().as_bytes()))
                .unwrap_or_default(),
        };
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let protocol = match version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        };
        Box::new(Entry {
            log: log.clone(),
            began: Instant::now(),
            peer: peer.ip(),
            tls: peer.tls,
            note: Note::default(),
            method: Bytes::copy_from_slice(method.as_str().as_bytes()),
            scheme,
            host,
            target: Bytes::copy_from_slice(target.as_bytes()),
            protocol,
            referer: headers.get(header::REFERER).cloned(),
            user_agent: headers.get(header::USER_AGENT).cloned(),
            status: None,
            age: None,
            first_byte: None,
            bytes: 0,
            ended: Ended::Cut,
        })
    }

    /// A plain hit that may be on its way for a while.
    pub(crate) fn of_hit(log: &AccessLog, hit: Hit<'_, '_>, served: &HitResponse) -> Box<Entry> {
        let asked = hit.asked();
        let value = |value: &[u8]| HeaderValue::from_bytes(value).ok();
        let note = Note::default();
        note.verdict(Verdict::HIT);
        Box::new(Entry {
            log: log.clone(),
            began: hit.began,
            peer: hit.client,
            tls: hit.tls,
            note,
            method: Bytes::copy_from_slice(asked.method),
            scheme: hit.scheme,
            host: Bytes::copy_from_slice(asked.host),
            target: Bytes::copy_from_slice(asked.target),
            protocol: asked.protocol,
            referer: value(asked.referer),
            user_agent: value(asked.user_agent),
            status: Some(served.status()),
            age: Some(served.age().as_secs()),
            first_byte: Some(hit.began.elapsed()),
            bytes: served.content().len() as u64,
            ended: Ended::Cut,
        })
    }

    /// For the service of the request.
    pub(crate) fn note(&self) -> Note {
        self.note.clone()
    }

    /// The answer begins.
    pub(crate) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = Some(status);
        self.first_byte = Some(self.began.elapsed());
        let age = headers.get(header::AGE).and_then(|age| age.to_str().ok());
        self.age = age.and_then(|age| age.parse().ok());
    }

    /// So much more of its content is on its way.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// So much of that has not left.
    pub(crate) fn left_behind(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }

    /// All of it was sent.
    pub(crate) fn whole(&mut self) {
        self.ended = Ended::Whole;
    }

    /// The server has answered instead of the service.
    pub(crate) fn refused(&mut self, status: StatusCode, why: &'static str) {
        self.status = Some(status);
        self.ended = Ended::Refused(why);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let status = self.status.map_or(NO_ANSWER, |status| status.as_u16());
        if !self.log.wants(status, self.ended) {
            return;
        }
        fn bytes(value: &Option<HeaderValue>) -> &[u8] {
            value.as_ref().map(HeaderValue::as_bytes).unwrap_or_default()
        }
        self.log.write(&Line {
            at: SystemTime::now(),
            client: self.note.said_client().or(self.peer),
            listener: self.log.listener(),
            tls: self.tls,
            asked: Asked {
                method: &self.method,
                scheme: self.scheme,
                host: &self.host,
                target: &self.target,
                protocol: self.protocol,
                referer: bytes(&self.referer),
                user_agent: bytes(&self.user_agent),
            },
            status,
            bytes: self.bytes,
            cache: self.note.said_verdict(),
            age: self.age,
            upstream: self.note.said_upstream(),
            total: self.began.elapsed(),
            first_byte: self.first_byte,
            origin: self.note.said_origin(),
            ended: self.ended,
        });
    }
}
