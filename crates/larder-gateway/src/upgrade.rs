//! Upgrade: how a connection that goes on in another protocol gets from its origin to its reader (RFC 9110 §7.8).
//!
//! A reader's connection puts an [`Upgrade`] into the extensions of a request that offers other protocols. Whoever
//! may allow one of them grants it, and an upstream asks its origin for what was granted. If the origin switches,
//! its stream is handed over here, beside the answer, which is 101 then. Any other answer is one like others.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use tokio::io::{AsyncRead, AsyncWrite};

/// The most protocols of one request that are looked at.
const MAX_OFFERS: usize = 8;

/// The protocol that browsers ask for (RFC 6455).
pub const WEBSOCKET: &str = "websocket";

/// What a request offers to go on in. Clones are of the same request.
#[derive(Clone)]
pub struct Upgrade(Arc<Shared>);

/// The end of a reader's connection.
pub(crate) struct Upgraded(Arc<Shared>);

struct Shared {
    /// In the order of the request.
    offers: Vec<HeaderValue>,
    /// Without it the request is none.
    is_required: bool,
    state: Mutex<State>,
}

/// Under a lock that is never held across an await.
#[derive(Default)]
struct State {
    terms: Option<Terms>,
    stream: Option<OriginStream>,
}

/// On what terms a protocol was granted.
#[derive(Debug)]
pub struct Terms {
    /// As the origin is asked for it.
    pub protocol: HeaderValue,
    /// How long nothing may move.
    pub idle_timeout: Duration,
    /// What is given back at the end.
    pub permit: Permit,
}

/// Holds something until it is dropped.
pub struct Permit(#[expect(dead_code, reason = "it is there to be dropped")] Box<dyn Send>);

impl Permit {
    /// Holds this.
    pub fn new(held: impl Send + 'static) -> Permit {
        Permit(Box::new(held))
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// Both directions of a connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An origin's connection that has switched.
pub(crate) struct OriginStream {
    pub(crate) io: Box<dyn Stream>,
    /// What came right behind the origin's 101.
    pub(crate) read: Bytes,
}

/// An origin's connection that has switched, and on what terms.
pub(crate) struct Switched {
    pub(crate) stream: OriginStream,
    pub(crate) terms: Terms,
}

/// The protocols that a request of HTTP/1.1 without content offers. `None` where it offers none that can be passed on.
///
/// Those that are about HTTP itself, or the connection to this hop, are none: `h2c` and its kin would let a reader
/// speak HTTP with the origin past this gateway.
pub(crate) fn offers(method: &Method, headers: &HeaderMap) -> Option<Vec<HeaderValue>> {
    let is_meant = list(headers, header::CONNECTION)
        .any(|option| option.eq_ignore_ascii_case(header::UPGRADE.as_str().as_bytes()));
    if !is_meant {
        return None;
    }
    let is_passed_on = |protocol: &&[u8]| {
        let is_websocket = protocol.eq_ignore_ascii_case(WEBSOCKET.as_bytes());
        is_protocol(protocol) && (!is_websocket || method == Method::GET)
    };
    let offers = list(headers, header::UPGRADE).filter(is_passed_on).take(MAX_OFFERS);
    let offers: Vec<_> =
        offers.filter_map(|protocol| HeaderValue::from_bytes(protocol).ok()).collect();
    (!offers.is_empty()).then_some(offers)
}

/// Whether something is the name of a protocol, with a version or without, that may be asked for on behalf of others.
pub(crate) fn is_protocol(text: &[u8]) -> bool {
    let is_token = |part: &[u8]| {
        let is_token_byte =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        !part.is_empty() && part.iter().all(is_token_byte)
    };
    let mut parts = text.splitn(2, |byte| *byte == b'/');
    parts.next().is_some_and(is_token) && parts.next().is_none_or(is_token) && !is_about_http(text)
}

/// Whether it is a protocol that speaks HTTP itself, or is about the connection to this hop.
pub(crate) fn is_about_http(text: &[u8]) -> bool {
    let name = text.split(|byte| *byte == b'/').next().unwrap_or_default();
    let known = ["h2", "h2c", "h3", "http", "tls"];
    known.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn list(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(name).into_iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// The two ends for one request.
pub(crate) fn channel(offers: Vec<HeaderValue>) -> (Upgrade, Upgraded) {
    ends(offers, false)
}

/// The same for a request that is nothing but the wish to go on in this protocol.
pub(crate) fn required(protocol: HeaderValue) -> (Upgrade, Upgraded) {
    ends(vec![protocol], true)
}

fn ends(offers: Vec<HeaderValue>, is_required: bool) -> (Upgrade, Upgraded) {
    let shared = Arc::new(Shared { offers, is_required, state: Mutex::default() });
    (Upgrade(Arc::clone(&shared)), Upgraded(shared))
}

impl Upgrade {
    /// The protocols, in the order of the request.
    pub fn offers(&self) -> &[HeaderValue] {
        &self.0.offers
    }

    /// Whether the request makes no sense in HTTP itself.
    pub fn is_required(&self) -> bool {
        self.0.is_required
    }

    /// Allows an upstream to ask for this protocol.
    pub fn grant(&self, terms: Terms) {
        let before = self.0.state().terms.replace(terms);
        drop(before);
    }

    /// What was granted.
    pub(crate) fn protocol(&self) -> Option<HeaderValue> {
        self.0.state().terms.as_ref().map(|terms| terms.protocol.clone())
    }

    /// What is dropped at the end of what was granted, beside its permit.
    pub(crate) fn hold(&self, held: impl Send + 'static) {
        let mut state = self.0.state();
        // Without terms the reader has left already.
        if let Some(Terms { protocol, idle_timeout, permit }) = state.terms.take() {
            let permit = Permit::new((permit, held));
            state.terms = Some(Terms { protocol, idle_timeout, permit });
        }
    }

    /// The origin has switched.
    pub(crate) fn switch(&self, stream: OriginStream) {
        let before = self.0.state().stream.replace(stream);
        drop(before);
    }
}

impl Upgraded {
    /// The origin's stream, if it has switched.
    pub(crate) fn take(&self) -> Option<Switched> {
        let mut state = self.0.state();
        match (state.stream.take(), state.terms.take()) {
            (Some(stream), Some(terms)) => Some(Switched { stream, terms }),
            _ => None,
        }
    }
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        // Whatever still holds the request holds nothing of the connection.
        let left = std::mem::take(&mut *self.0.state());
        drop(left);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("offers", &self.0.offers).finish_non_exhaustive()
    }
}
