//! Decision: what is to be done with a request, by its rules and by what is stored now. It does nothing.
//!
//! Here, and nowhere else: `service.rs` does what is decided, and `dry_run.rs` tells it.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, Uri, request::Parts as Head};
use larder_policy::{
    coded::CodedTags,
    reason::Reason,
    reuse::{Ask, Verdict},
    settings::Policy,
};

use super::{
    cache::Parts,
    request::{
        Bypass, Retrieval, Rules, StoredBy, by_recipe, effective_uri, hear_of_one_host, key_of,
        take_target_of,
    },
    store::AtHand,
};
use crate::tier::memory::Looker;

/// The rules of a request, and the tags of coded forms that its conditions have. Its conditions are written in the
/// origin's terms then, and its `Host` is that of its URI.
pub(crate) fn rules_of(head: &mut Head, cache: &Parts) -> (Arc<Policy>, Option<Arc<CodedTags>>) {
    hear_of_one_host(head);
    let policy = match head.extensions.get::<Rules>() {
        Some(Rules(policy)) => Arc::clone(policy),
        None => Arc::clone(&cache.policy),
    };
    let coded_tags = match policy.compression() {
        Some(_) => CodedTags::take(&head.method, &mut head.headers).map(Arc::new),
        None => None,
    };
    (policy, coded_tags)
}

/// Whether a request is for the cache.
pub(crate) enum Kind {
    /// It is a GET or a HEAD that the cache may answer.
    Retrieval { uri: Uri, key: Arc<str> },
    /// It is a QUERY, whose content is a part of its key.
    Query { uri: Uri },
    /// It only passes. `uri`: what it may bring into the cache.
    Passes { uri: Option<Uri>, reason: Reason },
}

/// Which kind of request this is by these rules. `has_content`: some comes behind its head.
pub(crate) fn kind(head: &Head, has_content: bool, policy: &Policy) -> Kind {
    let whole = effective_uri(head);
    let uri = by_recipe(policy, whole);
    let method = head.method.as_str();
    let is_for_cache = head.extensions.get::<Bypass>().is_none();
    // What content means in a GET that is answered from a cache, nobody has said.
    if is_for_cache
        && matches!(method, "GET" | "HEAD")
        && !has_content
        && let Some(key) = uri.as_ref().and_then(|uri| key_of(head, uri, None))
    {
        return Kind::Retrieval { uri: uri.unwrap_or_default(), key };
    }
    if is_for_cache && let ("QUERY", Some(uri)) = (method, &uri) {
        return Kind::Query { uri: uri.clone() };
    }
    let reason = match method {
        _ if !is_for_cache => Reason::BypassRule,
        "GET" | "HEAD" if has_content => Reason::BypassRule,
        "GET" | "HEAD" | "QUERY" => Reason::NoKey,
        _ => Reason::Method,
    };
    // Nothing is stored for a retrieval that passes: what made it pass is not in the key.
    let may_be_stored = reason == Reason::Method && head.extensions.get::<StoredBy>().is_none();
    Kind::Passes { uri: uri.filter(|_| may_be_stored), reason }
}

/// A request that the cache may answer, without what does not matter of it.
pub(crate) fn retrieval(
    mut head: Head,
    (uri, key, content): (Uri, Arc<str>, Bytes),
    began: Instant,
    policy: Arc<Policy>,
    coded_tags: Option<Arc<CodedTags>>,
) -> Retrieval {
    policy.ignored_cookies().strip(&mut head.headers);
    take_target_of(&uri, &policy, &mut head);
    Retrieval::new(head, uri, key, content, began, policy).with_coded_tags(coded_tags)
}

/// What is to be done with a request that the cache may answer.
pub(crate) enum Decision {
    /// Answer with this variant of what is at hand. `refresh`: the fields to ask the origin by behind the reader's back.
    Serve { at_hand: AtHand, index: usize, reason: Reason, refresh: Option<HeaderMap> },
    /// Ask the origin.
    Ask { ask: Ask, at_hand: AtHand },
    /// Answer that the reader wants no origin asked.
    Refuse { reason: Reason },
    /// It is not for the cache.
    Pass { reason: Reason },
}

impl Decision {
    /// Why it is to be done.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Decision::Serve { reason, .. }
            | Decision::Refuse { reason }
            | Decision::Pass { reason } => *reason,
            Decision::Ask { ask, .. } => ask.reason,
        }
    }
}

/// Looks at what is stored, and says what is to be done by the rules.
pub(crate) fn decide(cache: &Parts, asked: &Retrieval, looker: Looker) -> Decision {
    let at_hand = cache.store.look_for(looker, asked);
    match cache.decide(asked, &at_hand) {
        Verdict::Serve { index, reason } => {
            Decision::Serve { at_hand, index, reason, refresh: None }
        }
        Verdict::ServeAndRefresh { index, conditional, reason } => {
            Decision::Serve { at_hand, index, reason, refresh: Some(conditional) }
        }
        Verdict::Ask(ask) => match equivalent(cache, asked, looker) {
            Some((at_hand, index, reason)) => {
                Decision::Serve { at_hand, index, reason, refresh: None }
            }
            None => Decision::Ask { ask, at_hand },
        },
        Verdict::Refuse { reason } => Decision::Refuse { reason },
        Verdict::Pass { reason } => Decision::Pass { reason },
    }
}

/// What is stored for an equivalent URI (`No-Vary-Search`), if it may answer this request as it is.
fn equivalent(cache: &Parts, asked: &Retrieval, looker: Looker) -> Option<(AtHand, usize, Reason)> {
    let tables = cache.no_vary_search.as_ref()?;
    if asked.head.method.as_str() == "QUERY" || asked.not_before().is_some() {
        return None;
    }
    let equivalent = tables.equivalent(&asked.key, cache.engine().position(), looker)?;
    let mut at_hand = cache.store.look_as(looker, &equivalent.key);
    at_hand.elsewhere = Some(Arc::clone(&equivalent.key));
    let (index, reason) = cache.decide(asked, &at_hand).served_alone()?;
    let stored = &at_hand.variants.at(index).stored;
    equivalent.is_still_so(stored.head.fields()).then_some((at_hand, index, reason))
}
