//! Peer: who is at the other end of a connection.

use std::net::SocketAddr;

/// Who sent a request; in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);
