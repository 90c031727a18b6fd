//! Downstream: everything towards readers, from the listener to the last byte of an answer.
//!
//! [`Server`](server::Server) accepts connections and deals them to the event loops; `session` is the life of
//! one of them there, in [`http1`] or [`http2`]. Requests are answered by the service that the server is given,
//! plain hits by its [`FastPath`](http1::FastPath).

mod certificates;
mod config;
pub mod counters;
mod door;
mod ended;
mod entrance;
mod farewell;
mod handshakes;
pub mod http1;
pub mod http2;

mod lent;
mod let_in;
mod listener;
pub mod loops;
mod pace;
mod peer;
mod proxy;
pub mod server;
mod session;
mod span;
pub mod tls;
mod trusted;
mod tunnel;
mod under_way;

pub use self::{
    config::{ListenerConfig, ServerConfig},
    ended::Ended,
    farewell::Farewell,
    listener::{Bound, FileKeeper, ListenAddress},
    pace::MinRate,
    peer::{Peer, PeerAddress, TlsFacts},
    proxy::ProxyProtocol,
    trusted::{NoPeer, TrustedPeer, TrustedPeers},
    under_way::UnderWay,
};
