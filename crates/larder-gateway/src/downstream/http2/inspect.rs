//! Inspect: what a reader sends is looked at frame by frame before h2 sees it.
//!
//! h2 gives one code for most mistakes, bounds few kinds of frames, and mends some requests in silence.
//! What it leaves is seen here, from the heads of frames and from header blocks; other payloads are
//! skipped.

use std::sync::Arc;

use h2::Reason;

use super::{
    budget::{Budget, Spent},
    hpack,
    limits::{MAX_STREAMS, REFUSED_HEAD_TIMES},
    notes::{Malformed, Notes, TooMany},
};

const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
/// The most that a frame of a reader's may hold, since we never say otherwise (RFC 9113 §4.2).
const FRAME_BYTES: usize = 16 << 10;
/// A header block may be so many times as large as a head: one that is too large is answered, up to four
/// times the limit and a little more, and coded it may be larger still. No client that wants an answer sends more.
const BLOCK_TIMES: usize = 8;
/// No more memory than this is kept from one frame to the next.
const KEPT_BYTES: usize = 1 << 10;

/// The kinds of frames (RFC 9113 §6).
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const PRIORITY: u8 = 2;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PUSH_PROMISE: u8 = 5;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
}

mod flag {
    pub(super) const ACK: u8 = 1;
    pub(super) const END_STREAM: u8 = 1;
    pub(super) const END_HEADERS: u8 = 4;
    pub(super) const PADDED: u8 = 8;
    pub(super) const PRIORITY: u8 = 0x20;
}

/// Streams that are remembered as open: some more than may be.
const OPEN_STREAMS: usize = 2 * MAX_STREAMS as usize;

const INITIAL_WINDOW_SIZE: u16 = 4;
const WINDOW_LIMIT: u32 = (1 << 31) - 1;

#[derive(Debug)]
pub(super) struct Inspector {
    notes: Arc<Notes>,
    budget: Budget,
    hpack: hpack::Decoder,
    block_limit: usize,
    /// Larger heads h2 answers by itself.
    answered_limit: usize,
    preface_left: usize,
    has_settings: bool,
    head: [u8; HEAD_BYTES],
    /// How much of the head is there.
    head_bytes: usize,
    frame: Frame,
    payload_left: usize,
    /// How much of the payload is kept to be looked at.
    wanted: usize,
    kept: Vec<u8>,
    /// The stream whose header block is not complete, and what there is of it.
    unfinished: Option<u32>,
    block: Vec<u8>,
    /// Whether nothing follows the block on its stream.
    is_last: bool,
    /// Streams that the reader has not ended, the oldest first. Of those before `forgotten` that is not known
    /// any more: streams that we end the reader need not.
    open: Vec<u32>,
    forgotten: u32,
    /// Streams beyond this one are new.
    last_stream: u32,
    /// Streams that were opened and not yet reset: each may be once, without that being useless.
    resettable: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// Why the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What the reader is told.
    pub(super) reason: Reason,
    pub(super) detail: &'static str,
}

/// A header block that is not whole keeps memory, and what comes behind it from being read.
pub(super) const SLOW_HEAD: Fault =
    fault(Reason::ENHANCE_YOUR_CALM, "a header block comes too slowly");

const fn fault(reason: Reason, detail: &'static str) -> Fault {
    Fault { reason, detail }
}

impl Inspector {
    pub(super) fn new(notes: Arc<Notes>, max_head_bytes: usize) -> Self {
        Inspector {
            notes,
            budget: Budget::new(),
            hpack: hpack::Decoder::new(),
            block_limit: max_head_bytes.saturating_mul(BLOCK_TIMES),
            answered_limit: max_head_bytes.saturating_mul(REFUSED_HEAD_TIMES),
            preface_left: PREFACE_BYTES,
            has_settings: false,
            head: [0; HEAD_BYTES],
            head_bytes: 0,
            frame: Frame::default(),
            payload_left: 0,
            wanted: 0,
            kept: Vec::new(),
            unfinished: None,
            block: Vec::new(),
            is_last: false,
            open: Vec::new(),
            forgotten: 0,
            last_stream: 0,
            resettable: 0,
        }
    }

    /// Looks at what was read, wherever it was cut. After a fault there is nothing more to look at.
    pub(super) fn inspect(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        // That it is one h2 checks.
        let preface = self.preface_left.min(bytes.len());
        self.preface_left -= preface;
        let mut bytes = &bytes[preface..];
        while !bytes.is_empty() {
            if self.head_bytes < HEAD_BYTES {
                let (head, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES - self.head_bytes));
                self.head[self.head_bytes..][..head.len()].copy_from_slice(head);
                self.head_bytes += head.len();
                bytes = rest;
                if self.head_bytes == HEAD_BYTES {
                    self.frame = Frame::parse(self.head);
                    self.payload_left = self.frame.length;
                    self.begin()?;
                }
            } else {
                let (payload, rest) = bytes.split_at(bytes.len().min(self.payload_left));
                let kept = payload.len().min(self.wanted - self.kept.len());
                self.kept.extend_from_slice(&payload[..kept]);
                self.payload_left -= payload.len();
                bytes = rest;
            }
            if self.head_bytes == HEAD_BYTES && self.payload_left == 0 {
                self.head_bytes = 0;
                let kept = std::mem::take(&mut self.kept);
                self.end(&kept)?;
                if kept.capacity() <= KEPT_BYTES {
                    self.kept = kept;
                    self.kept.clear();
                }
            }
        }
        Ok(())
    }

    /// What the head of a frame says.
    fn begin(&mut self) -> Result<(), Fault> {
        let frame = self.frame;
        if !self.has_settings {
            // RFC 9113 §3.4.
            if frame.kind != kind::SETTINGS || frame.has(flag::ACK) {
                let detail = "the preface is not followed by SETTINGS";
                return Err(fault(Reason::PROTOCOL_ERROR, detail));
            }
            self.has_settings = true;
        }
        if self.unfinished.is_some_and(|of| (kind::CONTINUATION, of) != (frame.kind, frame.stream))
        {
            let detail = "a header block is interrupted";
            return Err(fault(Reason::PROTOCOL_ERROR, detail));
        }
        frame.check()?;
        self.wanted = match frame.kind {
            kind::HEADERS | kind::CONTINUATION | kind::SETTINGS => frame.length,
            // How long the padding is.
            kind::DATA if frame.has(flag::PADDED) => 1,
            _ => 0,
        };
        match frame.kind {
            kind::CONTINUATION if self.unfinished.is_none() => {
                let detail = "a header block goes on that has not begun";
                Err(fault(Reason::PROTOCOL_ERROR, detail))
            }
            kind::DATA => self.check_open(),
            kind::CONTINUATION if frame.length > 0 => Ok(()),
            kind::RST_STREAM => {
                self.close(frame.stream);
                if self.resettable == 0 {
                    return self.charge();
                }
                self.resettable -= 1;
                Ok(())
            }
            _ => self.charge(),
        }
    }

    /// What the whole frame says.
    fn end(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let frame = self.frame;
        match frame.kind {
            kind::DATA if frame.has(flag::END_STREAM) => {
                self.close(frame.stream);
                Ok(())
            }
            kind::DATA => {
                // A padding that is too long h2 refuses.
                let padding = payload.first().map_or(0, |padding| 1 + usize::from(*padding));
                if frame.length <= padding { self.charge() } else { Ok(()) }
            }
            kind::SETTINGS => check_settings(payload),
            kind::HEADERS => {
                let fragment = frame.fragment(payload)?;
                self.is_last = frame.has(flag::END_STREAM);
                if frame.has(flag::END_HEADERS) {
                    return self.read_block(fragment);
                }
                self.unfinished = Some(frame.stream);
                self.append(fragment)
            }
            kind::CONTINUATION => {
                self.append(payload)?;
                if !frame.has(flag::END_HEADERS) {
                    return Ok(());
                }
                self.unfinished = None;
                let block = std::mem::take(&mut self.block);
                self.read_block(&block)
            }
            _ => Ok(()),
        }
    }

    /// Whether a header block has begun and has not ended.
    pub(super) fn is_in_block(&self) -> bool {
        let is_begun = self.head_bytes == HEAD_BYTES && self.frame.kind == kind::HEADERS;
        is_begun || self.unfinished.is_some()
    }

    fn append(&mut self, fragment: &[u8]) -> Result<(), Fault> {
        if self.block.len() + fragment.len() > self.block_limit {
            return Err(fault(Reason::ENHANCE_YOUR_CALM, "a header block is too large"));
        }
        self.block.extend_from_slice(fragment);
        Ok(())
    }

    fn read_block(&mut self, block: &[u8]) -> Result<(), Fault> {
        let unreadable = fault(Reason::COMPRESSION_ERROR, "a header block is not readable");
        let seen = self.hpack.read(block).map_err(|hpack::Unreadable| unreadable)?;
        let stream = self.frame.stream;
        let malformed = if stream > self.last_stream {
            self.last_stream = stream;
            self.open(stream);
            self.notes.begin(stream, seen.bytes > self.answered_limit);
            self.resettable = self.resettable.saturating_add(1);
            if seen.has_fragment {
                Some(Malformed::Head("the target has a fragment"))
            } else if !seen.has_path {
                Some(Malformed::NoPath)
            } else {
                None
            }
        } else {
            seen.has_pseudo.then_some(Malformed::Trailers)
        };
        if self.is_last {
            self.close(stream);
        }
        let Some(malformed) = malformed else { return Ok(()) };
        let too_many = fault(Reason::ENHANCE_YOUR_CALM, "there are too many malformed requests");
        self.notes.remember(stream, malformed).map_err(|TooMany| too_many)
    }

    fn open(&mut self, stream: u32) {
        if self.open.len() >= OPEN_STREAMS {
            self.forgotten = self.open.remove(0) + 1;
        }
        self.open.push(stream);
    }

    fn close(&mut self, stream: u32) {
        if let Ok(at) = self.open.binary_search(&stream) {
            self.open.remove(at);
        }
    }

    /// Whether more content may come (RFC 9113 §5.1). For streams of the server's, and those that nobody has
    /// opened, h2 has the right code.
    fn check_open(&mut self) -> Result<(), Fault> {
        let stream = self.frame.stream;
        let is_old = stream % 2 == 1 && stream <= self.last_stream;
        if !is_old || self.open.binary_search(&stream).is_ok() {
            Ok(())
        } else if stream < self.forgotten {
            self.charge()
        } else {
            Err(fault(Reason::STREAM_CLOSED, "content comes after its end"))
        }
    }

    fn charge(&mut self) -> Result<(), Fault> {
        let spent = fault(Reason::ENHANCE_YOUR_CALM, "there are too many useless frames");
        self.budget.charge(1, &self.notes).map_err(|Spent| spent)
    }
}

impl Frame {
    /// RFC 9113 §4.1.
    fn parse(head: [u8; HEAD_BYTES]) -> Frame {
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        Frame { length, kind, flags, stream: u32::from_be_bytes(stream) & WINDOW_LIMIT }
    }

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether there may be such a frame of a reader's at all.
    fn check(self) -> Result<(), Fault> {
        let is_sized = self.length <= FRAME_BYTES
            && match self.kind {
                kind::PRIORITY => self.length == 5,
                kind::RST_STREAM | kind::WINDOW_UPDATE => self.length == 4,
                kind::SETTINGS if self.has(flag::ACK) => self.length == 0,
                kind::SETTINGS => self.length.is_multiple_of(6),
                kind::PING => self.length == 8,
                kind::GOAWAY => self.length >= 8,
                _ => true,
            };
        if !is_sized {
            return Err(fault(Reason::FRAME_SIZE_ERROR, "a frame has not the size of its kind"));
        }
        if self.kind == kind::PUSH_PROMISE {
            return Err(fault(Reason::PROTOCOL_ERROR, "a reader pushes"));
        }
        Ok(())
    }

    /// A HEADERS frame's part of the header block: without padding and priority (§6.2).
    fn fragment(self, payload: &[u8]) -> Result<&[u8], Fault> {
        let (mut fragment, mut padding) = (Some(payload), 0);
        if self.has(flag::PADDED) {
            padding = payload.first().copied().map_or(0, usize::from);
            fragment = payload.get(1..);
        }
        if self.has(flag::PRIORITY) {
            fragment = fragment.and_then(|fragment| fragment.get(5..));
        }
        fragment
            .and_then(|fragment| fragment.get(..fragment.len().checked_sub(padding)?))
            .ok_or(fault(Reason::PROTOCOL_ERROR, "a frame is shorter than its padding"))
    }
}

/// RFC 9113 §6.5.2; the others h2 checks, whose code is right for them.
fn check_settings(payload: &[u8]) -> Result<(), Fault> {
    for setting in payload.chunks_exact(6) {
        let name = u16::from_be_bytes([setting[0], setting[1]]);
        let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
        if name == INITIAL_WINDOW_SIZE && value > WINDOW_LIMIT {
            return Err(fault(Reason::FLOW_CONTROL_ERROR, "a window is too large"));
        }
    }
    Ok(())
}
