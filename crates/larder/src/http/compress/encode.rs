//! Encode: bytes in a content coding.
//!
//! Each form is made once and read often, so it is made with more care than by servers that code each answer anew:
//! about as small as the coding gets for a tenth of the time that its last percents would take.

use bytes::Bytes;
use larder_policy::coding::Coding;

/// These bytes in a coding, if that takes no more than `most` bytes.
#[cfg(feature = "compress")]
pub(super) fn encode(coding: Coding, chunks: &[Bytes], most: usize) -> Option<Vec<u8>> {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    let len: usize = chunks.iter().map(Bytes::len).sum();
    let out = Bounded { bytes: Vec::new(), most };
    let write_to = |to: &mut dyn Write| chunks.iter().try_for_each(|chunk| to.write_all(chunk));
    let coded = match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(out, Compression::new(GZIP_LEVEL));
            write_to(&mut encoder).ok()?;
            encoder.finish().ok()?
        }
        Coding::Zstd => {
            let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL).ok()?;
            // So a reader knows how much room to make. And no window is larger than what RFC 9659 allows.
            encoder.set_pledged_src_size(Some(len as u64)).ok()?;
            encoder.window_log(ZSTD_WINDOW_LOG).ok()?;
            write_to(&mut encoder).ok()?;
            encoder.finish().ok()?
        }
        Coding::Br => {
            // A window that is larger than the body takes memory for nothing.
            let window_log = (usize::BITS - len.leading_zeros()).clamp(16, BROTLI_WINDOW_LOG);
            let mut encoder =
                brotli::CompressorWriter::new(out, BUFFER_BYTES, BROTLI_QUALITY, window_log);
            write_to(&mut encoder).ok()?;
            // Its end cannot tell of an error: what there was no room for has left nothing behind.
            encoder.into_inner()
        }
    };
    coded.finish()
}

#[cfg(feature = "compress")]
const GZIP_LEVEL: u32 = 6;
#[cfg(feature = "compress")]
const ZSTD_LEVEL: i32 = 9;
/// 8 MiB, the most that a browser has to take (RFC 9659 §3).
#[cfg(feature = "compress")]
const ZSTD_WINDOW_LOG: u32 = 23;
#[cfg(feature = "compress")]
const BROTLI_QUALITY: u32 = 6;
#[cfg(feature = "compress")]
const BROTLI_WINDOW_LOG: u32 = 22;
#[cfg(feature = "compress")]
const BUFFER_BYTES: usize = 16 << 10;

/// Bytes up to a bound. What is one too many is an error, and all that follows.
#[cfg(feature = "compress")]
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

#[cfg(feature = "compress")]
impl Bounded {
    fn finish(self) -> Option<Vec<u8>> {
        (self.bytes.len() <= self.most && !self.bytes.is_empty()).then_some(self.bytes)
    }
}

#[cfg(feature = "compress")]
impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if bytes.len() > self.most.saturating_sub(self.bytes.len()) {
            // It does not become shorter again.
            self.bytes.clear();
            self.most = 0;
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// No rules ask for codings where none can be made.
#[cfg(not(feature = "compress"))]
pub(super) fn encode(_coding: Coding, _chunks: &[Bytes], _most: usize) -> Option<Vec<u8>> {
    None
}
