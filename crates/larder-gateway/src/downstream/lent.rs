//! Lent: what a body that is sent holds of its cache, where it is a cache's.

use std::any::Any;

use larder::http::{self, Loan};

/// The loan of a body, if it is of a cache. Servers do not know whose bodies they send.
pub(super) fn loan_of<B: 'static>(body: &B) -> Loan {
    let body: &dyn Any = body;
    body.downcast_ref::<http::Body>().map(http::Body::loan).unwrap_or_default()
}
