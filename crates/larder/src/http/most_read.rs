//! Most read: of what purges name, the responses that were asked for most, and the requests that bring them anew.
//!
//! A request is a plain GET, with the fields that the response was chosen by as far as these tell nothing of who asks
//! ([`StoredHead::plain_request`](larder_policy::stored::StoredHead::plain_request)). Nobody's credentials are kept, so what
//! was asked for with some is left to its next reader.

use std::collections::HashSet;

use http::{HeaderValue, Method, Request, Uri, header::HOST};

use super::{cache::HttpCache, purge::Spellings, variants::Variants};
use crate::{
    engine::purge::Named,
    entry::Entry,
    purge::{Purge, Scope},
    tier::memory::MostRead,
};

/// The requests that bring anew what purges have named.
#[derive(Debug, Default)]
pub struct Again {
    /// For those that were read most; the most read first. Each is a plain GET.
    pub requests: Vec<Request<()>>,
    /// How many responses there are beside that no request is for: more than were wanted, or not to be had by a plain GET.
    pub left_out: usize,
}

impl HttpCache {
    /// What to ask for anew once these purges are made: up to `most` requests, for what was read most. It looks at
    /// everything in memory, but where only keys are named: not for a thread on which readers wait.
    pub fn again(&self, purges: &[Purge], most: usize) -> Again {
        let engine = self.parts().engine();
        let (mut keys, mut tags, mut others) = (HashSet::new(), HashSet::new(), Vec::new());
        for Purge { scope, .. } in purges {
            match scope {
                Scope::Tag(tag) => tags.extend(engine.tag_ids([tag.as_str()])),
                Scope::Key(_) => keys.extend(self.spellings(scope).names),
                Scope::Prefix(_) | Scope::Glob(_) | Scope::Everything => {
                    others.push((scope, self.spellings(scope)));
                }
            }
        }
        let mut personal = 0;
        let mut may_be_asked = |entry: &Entry<Variants>| {
            let may_be_asked = entry.value.heads().any(|head| head.plain_request().is_some());
            personal += usize::from(!may_be_asked);
            may_be_asked
        };
        let MostRead { keys, beside } = if tags.is_empty() && others.is_empty() {
            let keys = keys.iter().map(String::as_str);
            engine.most_read_of(keys, most, |_, entry| may_be_asked(entry))
        } else {
            let names = |scope: &Scope, spellings: &Spellings, key: &str| match scope {
                Scope::Everything => true,
                Scope::Glob(_) => Named::Globs(&spellings.globs).names(key),
                _ => spellings.names.iter().any(|prefix| key.starts_with(prefix)),
            };
            engine.most_read(most, |key, entry| {
                let is_named = keys.contains(key)
                    || entry.tags().iter().any(|tag| tags.contains(tag))
                    || others.iter().any(|(scope, spellings)| names(scope, spellings, key));
                is_named && may_be_asked(entry)
            })
        };
        let mut again = Again { requests: Vec::new(), left_out: beside + personal };
        for key in keys {
            for head in self.parts().store.look(&key).variants.heads() {
                let request = head.plain_request().and_then(|fields| {
                    let uri: Uri = key.parse().ok()?;
                    let host = HeaderValue::try_from(uri.authority()?.as_str()).ok()?;
                    let mut request = Request::new(());
                    (*request.method_mut(), *request.uri_mut()) = (Method::GET, uri);
                    *request.headers_mut() = fields;
                    request.headers_mut().insert(HOST, host);
                    Some(request)
                });
                match request {
                    Some(request) if again.requests.len() < most => again.requests.push(request),
                    Some(_) | None => again.left_out += 1,
                }
            }
        }
        again
    }
}
