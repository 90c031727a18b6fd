//! Ended: how a connection came to its end.

use bytes::Bytes;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an answer that was cut must not look whole"]
pub enum Ended {
    /// In order: whatever was answered was answered whole.
    Closed,
    /// In the middle of an answer, or the reader was gone. The stream must be reset rather than
    /// closed: to a reader of HTTP/1.0 an orderly close may be the end of a whole body.
    Cut,
    /// It did not: its first bytes, these, are HTTP/2's. Go on with
    /// [`http2::serve_connection`](crate::downstream::http2::serve_connection), or close it.
    Http2(Bytes),
}
