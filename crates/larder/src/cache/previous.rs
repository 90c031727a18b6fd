//! Previous: what was stored under a key, for a fetch that can ask whether it has changed.

use std::{ops::Deref, time::Duration};

use super::Library;
use crate::{
    entry::{Fetched, KeptTags, Tags},
    purge::tags::{TagId, TagKey},
};

/// The value that a fetch is to replace: it may ask the origin whether it has changed since, and say that it
/// has [not](Previous::not_modified). Reads as the value.
///
/// A fetch is given one if a value still lies in memory, fresh, stale, or even expired: for sure within its
/// stale windows, and beyond them only until its room is needed. After a soft purge there is one, after a
/// hard one there is none.
///
/// ```
/// # use larder::{Cache, Fetched, Previous};
/// # use std::{sync::Arc, time::Duration};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # enum Reply { Page(Page), NotModified }
/// # async fn get(_url: &str, if_none_match: Option<String>) -> Result<Reply, String> {
/// #     Ok(match if_none_match {
/// #         Some(_) => Reply::NotModified,
/// #         None => Reply::Page(Page { etag: "\"1\"".to_owned(), text: "hello".to_owned() }),
/// #     })
/// # }
/// struct Page { etag: String, text: String }
///
/// let pages = Cache::builder_with_weigher(|page: &Arc<Page>| page.text.len()).build();
/// let fetch = async |previous: Option<Previous<Arc<Page>>>| {
///     let etag = previous.as_ref().map(|page| page.etag.clone());
///     match (get("/hello", etag).await?, previous) {
///         (Reply::Page(page), _) => Ok(Fetched::new(Arc::new(page))),
///         (Reply::NotModified, Some(previous)) => Ok(previous.not_modified()),
///         (Reply::NotModified, None) => Err("nobody asked for that".to_owned()),
///     }
/// };
/// let first = pages.read("/hello").fetch_with(fetch).await.unwrap();
/// pages.soft_remove("/hello");
/// // A second later, say: it is asked for again, and nothing has changed.
/// let second = pages.read("/hello").max_age(Duration::ZERO).fetch_with(fetch).await.unwrap();
/// assert!(Arc::ptr_eq(&first, &second));
/// # }
/// ```
#[derive(Debug)]
pub struct Previous<V> {
    /// In a box, for it goes into a future with the fetch, and may be large.
    value: Box<V>,
    age: Duration,
    tags: Box<[TagId]>,
    tag_key: TagKey,
}

impl<V> Previous<V> {
    /// How long ago its fetch ended, or it was last found to be unchanged.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// What a fetch answers whose origin says that this is still true: the same value, as if it had been
    /// fetched now. It is kept as the cache's settings say, or as the fetch says now
    /// ([`Fetched::ttl`] and its like), with the tags that it has, or [others](Fetched::tags).
    ///
    /// Below memory ([`Builder::lower`](crate::Builder::lower)), where tags have names, it is renewed only if
    /// it has none, or is given them once more.
    pub fn not_modified(self) -> Fetched<V> {
        let Previous { value, tags: ids, tag_key: key, .. } = self;
        let fetched = Fetched::of_boxed(value);
        match ids.is_empty() {
            true => fetched,
            false => Fetched {
                tags: Tags { named: Vec::new(), kept: Some(KeptTags { ids, key }) },
                ..fetched
            },
        }
    }
}

impl<V> Deref for Previous<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

impl<V: Clone + Send + Sync + 'static> Library<V> {
    /// What lies under `key` and was not purged. For a fetch that has begun: a purge that comes later reaches
    /// its flight, and what it answers is then not stored.
    pub(super) fn previous(&self, key: &str) -> Option<Previous<V>> {
        let now = self.engine.now();
        let previous = self.engine.peek(key, |entry| {
            self.engine.freshness(entry, now).ok()?;
            Some(Previous {
                value: Box::new(entry.value.clone()),
                age: entry.age(now),
                tags: entry.tags().into(),
                tag_key: self.engine.tag_key(),
            })
        });
        previous?
    }
}
