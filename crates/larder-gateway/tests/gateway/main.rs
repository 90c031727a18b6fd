//! The gateway from outside: raw sockets before it, scripted origins behind it.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

mod support;

mod answers;
mod clients;
mod counters;
mod ends;
mod expect;
mod half_closed;
mod hits;
mod http2;
mod http2_frames;
mod loops;
mod origins;
mod origins_http2;
mod outgoing;
mod passthrough;
mod rates;
mod requests;
mod retry;
mod slow;
mod splitting;
mod stalled;
mod streams;
mod targets;
mod times;
mod tls;
mod turns;
mod wakes;
