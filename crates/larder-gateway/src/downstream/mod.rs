//! Downstream: everything towards readers, from the listener to the last byte of an answer.
//!
//! [`Server`](server::Server) accepts connections and deals them to the event loops; `session` is the life of
//! one of them there, in [`http1`] or [`http2`]. Requests are answered by the service that the server is given,
//! plain hits by its [`FastPath`](http1::FastPath).

mod config;
pub mod counters;
mod door;
mod ended;
pub mod http1;
pub mod http2;

mod lent;
pub mod loops;
mod pace;
mod peer;
pub mod server;
mod session;
pub mod tls;
mod tunnel;

pub use self::{config::ServerConfig, ended::Ended, pace::MinRate, peer::Peer};
