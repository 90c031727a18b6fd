//! Request: what was asked, by whom, and by which rules it is answered.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderValue, Uri,
    header::HOST,
    request::Parts as Head,
    uri::{self, Authority},
};
use larder_policy::{
    coded::CodedTags,
    head::RequestHead,
    key::RequestKey,
    request::is_personal,
    scheme::Scheme,
    settings::Policy,
    uri::{SMALL_HEX, has_dot_segments, is_written_as, is_written_in_small_hex},
};

use super::{cache::HttpCache, stored::Mark, turns::Client};

/// Put into a request's extensions: the rules that hold for this request instead of the
/// [cache's own](super::HttpCache::policy). All requests for one URI should have the same: what is stored answers by
/// the rules of who asks, but was stored by those of who brought it, `Set-Cookie` included; and whether readers of a
/// URI wait for each other is remembered for all of them.
#[derive(Clone, Debug)]
pub struct Rules(pub Arc<Policy>);

/// Put into a request's extensions: it passes to the origin, and its answer is neither stored nor shared. What it changes
/// goes on being served, unless it has [`StoredBy`] too.
#[derive(Clone, Copy, Debug)]
pub struct Bypass;

/// Put into the extensions of a request that may change something: by which rules a GET of its URI may be stored, where
/// these may be others than its own. What it changes is purged under the key that each of them makes of the URI (RFC 9111
/// §4.4), and its own answer is not stored. No rules: nothing is stored for it, and nothing is purged.
#[derive(Clone, Debug)]
pub struct StoredBy(pub Arc<[Arc<Policy>]>);

/// Put into a request's extensions beside [`Bypass`]: its answer may begin as late as it likes, as that of a long poll
/// does. If it has not begun after [`turn_wait`](super::Settings::turn_wait), the request gives its turn back and waits on
/// without: it is for its server to see that there are not too many.
#[derive(Clone, Copy, Debug)]
pub struct MayTakeLong;

/// In the extensions of a request to the origin that may take only so long: whether its time was over when it was dropped
/// unanswered. Whoever counts calls tells by it those that were given up for being slow from those whose readers left.
#[derive(Clone, Debug, Default)]
pub struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    /// Whether it took too long. Said before it is dropped.
    pub fn took_too_long(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn say(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Put into a request's extensions: it is answered only from what the origin was asked for, or has confirmed, since that
/// moment, as if nothing else were stored. It joins others' fetches as any request does, and passes over what an earlier one
/// brings. What it fetches is stored for all. Later moments are greater.
///
/// A moment of one cache means nothing to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotBefore(Mark);

impl HttpCache {
    /// What the origin was asked for before now is too old. The clock goes in steps of some milliseconds: what was asked
    /// for within this one may have been before, and is too old as well.
    pub fn not_before_now(&self) -> NotBefore {
        NotBefore(Mark::at(self.parts().now() + Duration::from_nanos(1)))
    }
}

/// A request that the cache may answer.
#[derive(Clone)]
pub(crate) struct Retrieval {
    pub(crate) head: Head,
    /// The URI it is about, which is always absolute; that in its head need not be.
    pub(crate) uri: Uri,
    pub(crate) key: Arc<str>,
    /// What it asks, if it is a QUERY.
    pub(crate) content: Bytes,
    pub(crate) began: Instant,
    pub(crate) policy: Arc<Policy>,
    /// The tags of coded forms that its conditions had before they were written in the origin's terms.
    pub(crate) coded_tags: Option<Arc<CodedTags>>,
    /// What [`sharing_name`](Retrieval::sharing_name) has found.
    sharing_name: OnceLock<Arc<str>>,
}

impl Retrieval {
    pub(crate) fn new(
        head: Head,
        uri: Uri,
        key: Arc<str>,
        content: Bytes,
        began: Instant,
        policy: Arc<Policy>,
    ) -> Self {
        // What the origin answers to this spelling may not be what it answers to the usual one.
        let policy = match is_spelt_in_small_hex(&uri, &key) {
            true => Arc::new(policy.apart(SMALL_HEX)),
            false => policy,
        };
        let (coded_tags, sharing_name) = (None, OnceLock::new());
        Retrieval { head, uri, key, content, began, policy, coded_tags, sharing_name }
    }

    /// The same, whose conditions had these tags.
    pub(crate) fn with_coded_tags(self, coded_tags: Option<Arc<CodedTags>>) -> Self {
        Retrieval { coded_tags, ..self }
    }

    pub(crate) fn request(&self) -> RequestHead<'_> {
        request_head(&self.head, &self.uri)
    }

    /// Since when the origin is to have been asked for what answers it.
    pub(crate) fn not_before(&self) -> Option<Mark> {
        self.head.extensions.get().map(|NotBefore(mark)| *mark)
    }

    /// Whether what the origin was asked for then is young enough.
    pub(crate) fn admits(&self, asked_at: Mark) -> bool {
        self.not_before().is_none_or(|mark| asked_at >= mark)
    }

    /// Who asks, if that was told.
    pub(crate) fn client(&self) -> Option<Client> {
        self.head.extensions.get().copied()
    }

    /// Whether what the origin answers may be stored under the key: its URI is written as the key is, or in small hex,
    /// and then its answers lie apart from all others.
    pub(crate) fn is_spelt_as_its_key(&self) -> bool {
        is_spelt_as(&self.uri, &self.key) || is_spelt_in_small_hex(&self.uri, &self.key)
    }

    pub(crate) fn is_personal(&self) -> bool {
        is_personal(&self.policy, &self.head.headers)
    }

    /// Under which name it is remembered whether answers like this one's are for one reader each. That
    /// personal ones are says nothing of the others.
    pub(crate) fn sharing_name(&self) -> &Arc<str> {
        self.sharing_name.get_or_init(|| match self.is_personal() {
            true => format!("{} personal", self.key).into(),
            false => Arc::clone(&self.key),
        })
    }
}

/// Whether a URI is written just as in `key`. If not, the origin sees another spelling, and may answer it
/// otherwise: `key` would be poisoned with that.
pub(crate) fn is_spelt_as(uri: &Uri, key: &str) -> bool {
    written_in(key, uri).is_some_and(|written| is_written_as(uri, written))
}

fn is_spelt_in_small_hex(uri: &Uri, key: &str) -> bool {
    uri.path_and_query().is_some_and(|target| target.as_str().contains('%'))
        && written_in(key, uri).is_some_and(|written| is_written_in_small_hex(uri, written))
}

/// The URI with which `key` begins, if that is as long as `uri`: otherwise they are not written alike.
fn written_in<'k>(key: &'k str, uri: &Uri) -> Option<&'k str> {
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let end = scheme.len() + "://".len() + authority.as_str().len() + target.len();
    // No URI has a space in it.
    let is_end = matches!(key.as_bytes().get(end), None | Some(b' '));
    key.get(..end).filter(|_| is_end)
}

pub(crate) fn request_head<'a>(head: &'a Head, uri: &'a Uri) -> RequestHead<'a> {
    RequestHead { method: &head.method, uri, headers: (&head.headers).into() }
}

/// `None`: it is not for the cache at all.
pub(crate) fn key_of(head: &Head, uri: &Uri, content: Option<&[u8]>) -> Option<Arc<str>> {
    let usual = if content.is_none() { usual_key(uri) } else { None };
    let key = || RequestKey::of(request_head(head, uri), content);
    usual.or_else(|| key().map(|key| key.as_str().into()))
}

/// The same key without detours, where the URI is written as nearly all are.
fn usual_key(uri: &Uri) -> Option<Arc<str>> {
    let scheme = match uri.scheme_str()? {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let (host, target) = (uri.authority()?.as_str(), uri.path_and_query()?.as_str());
    let mut key = Vec::with_capacity(scheme.as_str().len() + 3 + host.len() + target.len());
    let key = RequestKey::write(scheme, host.as_bytes(), target.as_bytes(), &mut key)?;
    (!has_dot_segments(key)).then(|| Arc::from(key))
}

/// An absolute URI counts, and not what is said in `Host` beside it (RFC 9112 §3.2.2): handlers may look
/// there, and what they answer is stored for the URI.
pub(crate) fn hear_of_one_host(head: &mut Head) {
    let Some(authority) = head.uri.authority() else { return };
    let is_named = |host: &HeaderValue| host == authority.as_str();
    if !head.headers.get_all(HOST).iter().all(is_named)
        && let Ok(named) = HeaderValue::try_from(authority.as_str())
    {
        head.headers.insert(HOST, named);
    }
}

/// The URI without what does not matter of its query. What is asked for under it is stored under its key, and what an
/// unsafe request to it changes goes from there.
pub(crate) fn by_recipe(policy: &Policy, uri: Option<Uri>) -> Option<Uri> {
    uri.map(|uri| policy.query_recipe().of_uri(&uri).unwrap_or(uri))
}

/// Where a part of the query does not matter, the origin does not see it either: its answer cannot depend on it.
pub(crate) fn take_target_of(uri: &Uri, policy: &Policy, head: &mut Head) {
    if policy.query_recipe().changes_nothing() || head.uri.path_and_query() == uri.path_and_query()
    {
        return;
    }
    let mut parts = std::mem::take(&mut head.uri).into_parts();
    parts.path_and_query = uri.path_and_query().cloned();
    head.uri = Uri::from_parts(parts).unwrap_or_else(|_| uri.clone());
}

/// The URI that a request is about (RFC 9110 §7.1). A gateway's requests name it whole; an
/// application's have its authority in `Host`, and its scheme nowhere: all count as `http`.
pub(crate) fn effective_uri(head: &Head) -> Option<Uri> {
    if head.uri.authority().is_some() {
        return Some(head.uri.clone());
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    let (host, None) = (hosts.next()?, hosts.next()) else { return None };
    let authority = Authority::try_from(host.as_bytes()).ok()?;
    // Nobody means a user by it (RFC 9110 §4.2.4).
    if authority.as_str().contains('@') {
        return None;
    }
    let mut parts = head.uri.clone().into_parts();
    parts.scheme = Some(uri::Scheme::HTTP);
    parts.authority = Some(authority);
    Uri::from_parts(parts).ok()
}
