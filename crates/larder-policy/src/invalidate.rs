//! Invalidation: what a request that may have changed something makes stale (RFC 9111 §4.4,
//! RFC 9875).

use std::collections::HashSet;

use http::{Method, Uri, header};
use sfv::{BareItem, Item, List, ListEntry, Parser};

use crate::{
    fields::Fields,
    head::{RequestHead, ResponseHead},
    list, uri,
};

/// What is to be invalidated: to be removed, or to be validated before its next use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invalidation {
    /// Everything stored for these URIs, whatever the method, the variant or the part.
    pub uris: Vec<Uri>,
    /// Everything stored of the request's origin that belongs to one of these cache groups.
    pub groups: Vec<String>,
}

impl Invalidation {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.uris.is_empty() && self.groups.is_empty()
    }
}

/// What the answer to a request makes stale.
///
/// Nothing if the method is safe, or the answer an error: then nothing has changed (RFC 9111 §4.4).
/// Otherwise the URI itself (also without its dot segments, as some origins read it), the `Location` and `Content-Location` of the answer where they are of
/// the same origin (nobody may empty another's cache), and the groups of `Cache-Group-Invalidation`.
pub fn invalidates(request: RequestHead<'_>, response: ResponseHead<'_>) -> Invalidation {
    let no_error = response.status.is_success() || response.status.is_redirection();
    if is_safe(request.method) || !no_error {
        return Invalidation::default();
    }
    let mut uris = vec![request.uri.clone()];
    uris.extend(uri::without_dot_segments(request.uri));
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let target = list::single(response.headers, name.as_str())
            .and_then(|reference| uri::resolve(request.uri, reference))
            .filter(|target| uri::same_origin(target, request.uri));
        if let Some(target) = target
            && !uris.contains(&target)
        {
            uris.push(target);
        }
    }
    Invalidation { uris, groups: groups(response.headers, "cache-group-invalidation") }
}

/// Whether a method is registered as safe (RFC 9110 §9.2.1 and the method registry). Methods that
/// nobody has registered may change anything.
pub fn is_safe(method: &Method) -> bool {
    const REGISTERED_AS_SAFE: [&str; 9] =
        ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PRI", "PROPFIND", "REPORT", "SEARCH"];
    REGISTERED_AS_SAFE.contains(&method.as_str())
}

/// The strings in a list such as `Cache-Group-Invalidation` or `Cache-Groups`, every one once. A
/// field that is not such a list counts as not there (RFC 9651 §4.2). There is no limit but that on
/// the head: a group left out would be a response left standing.
pub(crate) fn groups(headers: Fields<'_>, name: &str) -> Vec<String> {
    let field = list::lines(headers, name).collect::<Vec<_>>().join(&b", "[..]);
    let Ok(members) = Parser::new(&field).parse::<List>() else {
        return Vec::new();
    };
    let mut groups = Vec::new();
    let mut seen = HashSet::new();
    for member in members {
        // A list of strings: anything else in it, and it is not that list.
        let ListEntry::Item(Item { bare_item: BareItem::String(group), .. }) = member else {
            return Vec::new();
        };
        let group = String::from(group);
        if seen.insert(group.clone()) {
            groups.push(group);
        }
    }
    groups
}
