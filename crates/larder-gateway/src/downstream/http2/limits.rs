//! Limits: what a reader may have under way on one connection.

/// Streams that a reader may have open at once at most; the number that RFC 9113 §6.5.2 names as the least
/// that does not hold a reader back.
pub(crate) const MAX_STREAMS: u32 = 100;
/// What a reader may send ahead on one stream, and on all of them, before anybody wants it.
pub(super) const STREAM_WINDOW: u32 = 256 << 10;
pub(super) const CONNECTION_WINDOW: u32 = 1 << 20;
/// What one stream may have waiting for the socket.
pub(super) const SEND_BUFFER: usize = 128 << 10;
/// Streams that a reader may give up before they were accepted. All that has come is read before the
/// first is accepted, so this is no sign of an attack; a reader that goes on like that exhausts its budget.
pub(super) const MAX_GIVEN_UP: usize = 1000;

/// Streams that we may have to reset for mistakes. Most of what leads to that draws on the budget, too; h2
/// counts over the whole life of a connection, which may be that of a proxy with many readers.
pub(super) const MAX_MISTAKES: usize = 10_000;

/// A head may be so many times as large as allowed, and its stream is answered 431. Others of the connection go on: behind a
/// proxy they are other readers'.
pub(super) const REFUSED_HEAD_TIMES: usize = 4;
