//! Refresh: what a purge has marked stale is asked for again, where something here can.

use larder::Purge;
use serde::Serialize;
use utoipa::ToSchema;

/// Asks again for what purges have marked stale. A cache cannot: it is asked by requests. A server before which it stands can.
pub trait Refresh: Send + Sync {
    /// Sees to it that what these purges have named is asked for again, and does not wait for that. It may take as long as
    /// looking at everything that is stored.
    fn refresh(&self, purges: &[Purge]) -> Refreshed;
}

/// What will be asked for again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Refreshed {
    /// So many requests wait for their turn; what was read most comes first.
    pub queued: usize,
    /// So many entries are left to their next readers.
    pub left_out: usize,
}
