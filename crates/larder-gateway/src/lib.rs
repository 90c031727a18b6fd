//! The HTTP server around the cache: listeners towards readers, upstreams towards origins.
//!
//! Only [`Gateway`] knows the cache. A [`Server`] hands the requests of its connections to any tower
//! service; what can be answered where it lies in the buffer ([`FastPath`](http1::FastPath)) comes first. An
//! [`Upstream`](upstream::Upstream) is a tower service that asks an origin.
//!
//! ```no_run
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use larder_gateway::{Server, ServerConfig, http1::ReaderBody};
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
//! 1. `server.rs serve_on` lets the connection in (`door.rs next`: how many there may be) and gives it a
//!    task, on one of the event loops.
//!    With a certificate, `tls.rs accept` comes first, and tells which protocol the reader has chosen.
//! 2. `http1/mod.rs serve_connection` takes its head (`connection.rs next_head`): refused if two
//!    readers could read it differently, idle or slow connections end here.
//!    A connection that begins as HTTP/2 goes on in `http2/mod.rs`, where each stream is an
//!    `exchange.rs exchange` with the same steps.
//! 3. `exchange.rs exchange` calls the service. While that works, the connection passes interim
//!    answers on, brings the request's body as it is asked for, and notices when the reader leaves.
//! 4. `upstream/mod.rs ask`, if the service gets there: a connection from the pool, the request, the
//!    answer's head. The answer's body drives the connection to the origin itself.
//! 5. `exchange.rs answer` writes the head and the body, in one `send` where they fit.

pub mod counters;
mod door;
pub mod gateway;
pub mod http1;
pub mod http2;
pub mod interim;
pub mod loops;
pub mod problem;
mod seldom;
pub mod server;
mod timer;
pub mod tls;
pub mod upstream;

pub use gateway::{Gateway, GatewayConfig};
pub use loops::Loops;
pub use server::{Server, ServerConfig};
pub use tls::{Tls, TlsError};
