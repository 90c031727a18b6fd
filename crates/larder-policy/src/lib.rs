//! What a cache may answer, and how it says so: data in, verdict out.
//!
//! Nothing here opens a socket, reads a clock or waits. `now` never appears as a call, only as an
//! argument, so every verdict can be repeated in a unit test.
//!
//! | module | job | source |
//! | --- | --- | --- |
//! | [`freshness`] | how long an entry is good for, and what it is good for at one age | RFC 9111 §4.2 |
//! | [`reason`] | the closed vocabulary of why an answer came about | – |
//! | [`cache_status`] | the `Cache-Status` field | RFC 9211 |

pub mod cache_status;
pub mod freshness;
pub mod reason;
