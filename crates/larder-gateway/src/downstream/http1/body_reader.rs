//! Body reader: the bytes after a head become the pieces of its body.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::framing::BodyFraming;

/// The longest line with a chunk's size, extensions included; no sender needs them.
const MAX_SIZE_LINE: usize = 256;
/// All trailer fields together.
const MAX_TRAILER_BYTES: usize = 16 << 10;
const MAX_TRAILERS: usize = 64;

/// How far a body has been read.
#[derive(Debug)]
pub(crate) struct BodyReader {
    state: State,
}

#[derive(Debug)]
enum State {
    Length { left: u64 },
    ChunkSize,
    ChunkData { left: u64 },
    ChunkEnd,
    Trailers { seen: usize, fields: HeaderMap },
    End,
}

/// What the bytes at the front were.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Data(Bytes),
    /// Nothing to be had without more bytes.
    Hungry,
    /// The fields behind the last piece, and there is nothing more.
    Trailers(HeaderMap),
    End,
}

impl BodyReader {
    pub(crate) fn new(framing: BodyFraming) -> Self {
        let state = match framing {
            BodyFraming::None | BodyFraming::Length(0) => State::End,
            BodyFraming::Length(left) => State::Length { left },
            BodyFraming::Chunked => State::ChunkSize,
        };
        BodyReader { state }
    }

    /// Whether the whole body has been taken.
    pub(crate) fn is_at_end(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// How many bytes there still are, if that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.state {
            State::Length { left } => Some(left),
            State::End => Some(0),
            _ => None,
        }
    }

    /// Takes the next piece off the front of `bytes`. After an error there is nothing more to be
    /// read on this connection.
    pub(crate) fn take(&mut self, bytes: &mut BytesMut) -> Result<Piece, &'static str> {
        loop {
            match &mut self.state {
                State::End => return Ok(Piece::End),
                State::Length { left } => {
                    let Some(data) = take_up_to(*left, bytes) else { return Ok(Piece::Hungry) };
                    *left -= data.len() as u64;
                    if *left == 0 {
                        self.state = State::End;
                    }
                    return Ok(Piece::Data(data));
                }
                State::ChunkSize => {
                    let Some(line) = take_line(bytes, MAX_SIZE_LINE, "a chunk's size is too long")?
                    else {
                        return Ok(Piece::Hungry);
                    };
                    self.state = match chunk_size(&line)? {
                        0 => State::Trailers { seen: 0, fields: HeaderMap::new() },
                        left => State::ChunkData { left },
                    };
                }
                State::ChunkData { left } => {
                    let Some(data) = take_up_to(*left, bytes) else { return Ok(Piece::Hungry) };
                    *left -= data.len() as u64;
                    if *left == 0 {
                        self.state = State::ChunkEnd;
                    }
                    return Ok(Piece::Data(data));
                }
                State::ChunkEnd => match bytes[..] {
                    [b'\r', b'\n', ..] => {
                        bytes.advance(2);
                        self.state = State::ChunkSize;
                    }
                    [] | [b'\r'] => return Ok(Piece::Hungry),
                    _ => return Err("a chunk is longer than its size"),
                },
                State::Trailers { seen, fields } => {
                    let limit = MAX_TRAILER_BYTES - *seen;
                    let Some(line) = take_line(bytes, limit, "the trailers are too long")? else {
                        return Ok(Piece::Hungry);
                    };
                    *seen += line.len() + 2;
                    if line.is_empty() {
                        let fields = std::mem::take(fields);
                        self.state = State::End;
                        if !fields.is_empty() {
                            return Ok(Piece::Trailers(fields));
                        }
                    } else {
                        let (name, value) = field(&line).ok_or("a trailer is not a field")?;
                        if fields.len() == MAX_TRAILERS {
                            return Err("there are too many trailers");
                        }
                        fields.append(name, value);
                    }
                }
            }
        }
    }
}

fn take_up_to(left: u64, bytes: &mut BytesMut) -> Option<Bytes> {
    let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (length > 0).then(|| bytes.split_to(length).freeze())
}

/// A line without its CRLF, of at most `limit` bytes with it. No line may hold a control character
/// but the tab: a bare CR or LF may end a line for others.
fn take_line(
    bytes: &mut BytesMut,
    limit: usize,
    too_long: &'static str,
) -> Result<Option<Bytes>, &'static str> {
    let within = &bytes[..bytes.len().min(limit)];
    let Some(end) = memchr::memchr(b'\n', within) else {
        return if bytes.len() >= limit { Err(too_long) } else { Ok(None) };
    };
    let line = bytes.split_to(end + 1).freeze();
    let Some(text) = line.strip_suffix(b"\r\n") else {
        return Err("a line of the body ends in LF without CR");
    };
    if text.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
        return Err("a line of the body holds a control character");
    }
    Ok(Some(line.slice(..text.len())))
}

/// `chunk-size [ BWS ";" extension ]` (RFC 9112 §7.1). Extensions are ignored.
fn chunk_size(line: &[u8]) -> Result<u64, &'static str> {
    const NO_SIZE: &str = "a chunk's size is not a number";
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let has_only_extensions = rest.is_empty() || rest.trim_ascii_start().starts_with(b";");
    if digits.is_empty() || !has_only_extensions {
        return Err(NO_SIZE);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| NO_SIZE)?;
    u64::from_str_radix(digits, 16).map_err(|_| "a chunk's size is too large")
}

fn field(line: &Bytes) -> Option<(HeaderName, HeaderValue)> {
    let colon = memchr::memchr(b':', line)?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((name, value))
}
