//! Tags: by which tags a purge finds what is stored under a key.

use http::Uri;
use larder_policy::{head::RequestHead, key::RequestKey, stored::StoredHead, uri::origin};

/// Those of all its variants, and of their groups, which are the request's origin's.
pub(crate) fn tags_of<'a>(
    heads: impl IntoIterator<Item = &'a StoredHead>,
    request: RequestHead<'_>,
) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for head in heads {
        let groups = head.groups().iter().map(|group| group_tag(request.uri, group));
        tags.extend(head.tags().iter().map(ToString::to_string).chain(groups));
    }
    if request.method.as_str() == "QUERY" {
        tags.extend(RequestKey::of_uri(request.uri).map(|uri| query_tag(&uri)));
    }
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// The tag of every answer to QUERY that is stored for a URI, whatever its content.
pub(crate) fn query_tag(uri: &RequestKey) -> String {
    format!("query {}", uri.as_str())
}

/// The origin of a URI, written as in the keys, however its host and port are spelt; empty where it has none.
pub(crate) fn origin_of(uri: &Uri) -> String {
    origin(uri).unwrap_or_default()
}

/// The tag under which the members of a cache group of this origin are purged (RFC 9875 §2.1).
pub(crate) fn group_tag(uri: &Uri, group: &str) -> String {
    format!("group {} {group}", origin_of(uri))
}
