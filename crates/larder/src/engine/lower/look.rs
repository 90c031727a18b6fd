//! Look: a leader's way below: one read of the heads, and where nothing of use is there, the right to fetch, or what
//! another process fetches meanwhile.

use std::{future::Future, sync::Arc};

use tokio::time::Instant;

use super::{
    Lower,
    read::{Asked, Leasing, OwnLease},
};
use crate::sync;

/// What a conductor looks for under a key.
pub(crate) trait Search {
    /// What it has found.
    type Found;

    /// What of the heads that were `asked` for is of use.
    fn usable(&mut self, asked: &Asked) -> impl Future<Output = Option<Self::Found>> + Send;

    /// Which of the key's records it would fetch: the right to do that keeps nobody from fetching another one.
    fn wanted(&self, asked: &Asked) -> String;

    /// Whether what it fetches is for others as well, and worth their waiting, as far as can be told by what lies there.
    /// If not, it goes without the right to.
    fn fetches_for_others(&self, _asked: &Asked) -> bool {
        true
    }

    /// Whether it waits for another process that has the right to fetch.
    fn waits_for_others(&self) -> bool {
        true
    }
}

impl Lower {
    /// What `search` finds, or else the lease if there is one.
    pub(crate) async fn look<S: Search>(
        self: &Arc<Self>,
        key: &Arc<str>,
        search: &mut S,
    ) -> Result<S::Found, Option<OwnLease>> {
        let deadline = sync::after(Instant::now(), self.settings().lease_wait);
        let Some(mut asked) = self.heads(key).await else { return Err(None) };
        loop {
            if let Some(found) = search.usable(&asked).await {
                return Ok(found);
            }
            if !search.fetches_for_others(&asked) {
                return Err(None);
            }
            match self.lease(key, &search.wanted(&asked)).await {
                Leasing::Granted(lease, again) => {
                    if !again.has_other_heads(&asked) {
                        return Err(Some(lease));
                    }
                    // Another process has written since, and given it back.
                    if let Some(found) = search.usable(&again).await {
                        return Ok(found);
                    }
                    return Err(search.fetches_for_others(&again).then_some(lease));
                }
                Leasing::Held(_) if !search.waits_for_others() => return Err(None),
                Leasing::Held(ended) => {
                    let has_ended = sync::until(deadline, ended).await.is_some();
                    if !has_ended || deadline <= Instant::now() {
                        return Err(None);
                    }
                }
                Leasing::Nobody => return Err(None),
            }
            let Some(again) = self.heads(key).await else { return Err(None) };
            asked = again;
        }
    }
}
