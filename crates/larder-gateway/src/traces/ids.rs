//! Ids: by chance, so that nobody else has the same.

use std::hash::{BuildHasher, RandomState};

/// Of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceId(pub(super) [u8; 16]);

/// Of a span in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpanId(pub(super) [u8; 8]);

impl TraceId {
    pub(super) fn new() -> TraceId {
        let id = u128::from(bits()) << 64 | u128::from(bits());
        TraceId(id.to_be_bytes())
    }
}

impl SpanId {
    pub(super) fn new() -> SpanId {
        SpanId(bits().to_be_bytes())
    }
}

/// Never zero, which is no id. The system's random numbers seed the standard library's, and each has keys of its own.
fn bits() -> u64 {
    RandomState::new().hash_one(0).max(1)
}

/// A span in its trace, as one value: what others link to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
}

impl Place {
    pub(super) fn in_one(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(&self.trace.0);
        bytes[16..].copy_from_slice(&self.span.0);
        bytes
    }

    pub(super) fn of(bytes: [u8; 24]) -> Place {
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        trace.copy_from_slice(&bytes[..16]);
        span.copy_from_slice(&bytes[16..]);
        Place { trace: TraceId(trace), span: SpanId(span) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_from_its_bytes_and_no_two_are_the_same() {
        let place = || Place { trace: TraceId::new(), span: SpanId::new() };
        let (one, other) = (place(), place());
        assert_eq!(Place::of(one.in_one()), one);
        assert!(one.trace != other.trace && one.span != other.span);
        assert!(one.trace.0 != [0; 16] && one.span.0 != [0; 8]);
    }
}
