//! The HTTP server around the cache: listeners towards readers, upstreams towards origins.
//!
//! Only [`Gateway`] knows the cache. A [`Server`] hands the requests of its connections to any tower
//! service; what can be answered where it lies in the buffer ([`FastPath`](downstream::http1::FastPath)) comes first. An
//! [`Upstream`](upstream::Upstream) is a tower service that asks an origin.
//!
//! ```no_run
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use larder_gateway::{Server, ServerConfig, downstream::http1::ReaderBody};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn example() -> std::io::Result<()> {
//! let server = Server::bind(([127, 0, 0, 1], 8080).into(), ServerConfig::default())?;
//! let hello = tower::service_fn(|_: Request<ReaderBody>| async {
//!     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
//! });
//! let stop = CancellationToken::new();
//! server.serve(hello, stop).await;
//! # Ok(())
//! # }
//! ```
//!
//! What happens to a request:
//!
//! 1. `downstream/server.rs serve_on` has the connection let in (`door.rs next`: how many there may be) and
//!    gives it a task, on one of the event loops: `session.rs live`, which holds its whole life.
//!    With a certificate, or the PROXY protocol, that is `live_behind`: `entrance.rs enter` comes first, and tells
//!    whom the connection is for and which protocol the reader has chosen.
//! 2. `http1/mod.rs serve_connection` takes the request's head (`connection.rs next_head`). It is refused if
//!    two programs could read it differently; a connection that is idle or slow ends here.
//!    A connection that begins as HTTP/2 goes on in `http2/mod.rs`, where each stream is an
//!    `exchange.rs exchange` with the same steps.
//! 3. `exchange.rs exchange` calls the service. While the service works, the connection passes interim
//!    answers on, reads the request's body as the service asks for it, and notices when the reader leaves.
//! 4. `origins/mod.rs ask`, if the service gets there: one address of several, and another if that fails.
//!    `upstream/mod.rs ask`: a connection from the pool, the request, the
//!    answer's head. Polling the answer's body drives the connection to the origin.
//! 5. `exchange.rs answer` writes the head and the body, in one `send` where they fit.
//!
//! [`downstream`] and [`upstream`] do not know each other, but for what lies beside them: [`interim`] answers
//! go from one to the other, and both answer with a [`problem`](problem::Problem).

pub mod access;
mod causes;
pub mod cdn;
pub mod config;
pub mod downstream;
pub mod gateway;
pub mod interim;
mod ledger;
pub mod origins;
pub mod own_answers;
pub mod pem;
pub mod pressure;
pub mod problem;
pub mod routes;
mod sample;
mod seldom;
mod timer;
pub mod traces;
pub mod upgrade;
pub mod upstream;

pub use downstream::{
    ServerConfig,
    loops::Loops,
    server::Server,
    tls::{Tls, TlsError},
};
pub use gateway::{
    Gateway, GatewayConfig, GatewayCrowds, ListenerRules, PurgeConfig, PurgeRequests, RateLimit,
    Refresher,
};
