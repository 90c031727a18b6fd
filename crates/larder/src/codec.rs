//! Codec: how values become the bytes that lie below memory, and values again.
//!
//! **The shape of all of this may still change**, until a tier over a network has been built on it.

#[cfg(feature = "redis")]
mod by_postcard;

use std::{str, sync::Arc};

use bytes::Bytes;

#[cfg(feature = "redis")]
pub use self::by_postcard::Postcard;

/// Why a value could not be written or read. The value is then fetched, or not kept below.
pub type CodecError = Box<dyn std::error::Error + Send + Sync>;

/// Writes values of type `V` as bytes, and reads them. It runs under no lock, on the cache's tasks: what takes
/// milliseconds holds up others there.
pub trait Codec<V>: Send + Sync + 'static {
    /// What the bytes mean: the type and its version. A record of another format is a miss, so change it with
    /// everything that changes what [`decode`](Codec::decode) would make of old bytes. A few words; the same
    /// at each call.
    fn format(&self) -> &str;

    /// `value` as bytes.
    ///
    /// # Errors
    ///
    /// It cannot be written. It is then in memory only.
    fn encode(&self, value: &V) -> Result<Bytes, CodecError>;

    /// What was written as `bytes`, perhaps by another process. Anything may be in them.
    ///
    /// # Errors
    ///
    /// It is no such value. It is then fetched.
    fn decode(&self, bytes: Bytes) -> Result<V, CodecError>;
}

/// Text as it is, in UTF-8.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text;

impl Codec<String> for Text {
    fn format(&self) -> &str {
        "utf-8"
    }

    fn encode(&self, value: &String) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(value.as_bytes()))
    }

    fn decode(&self, bytes: Bytes) -> Result<String, CodecError> {
        Ok(String::from_utf8(bytes.into())?)
    }
}

impl Codec<Arc<str>> for Text {
    fn format(&self) -> &str {
        "utf-8"
    }

    fn encode(&self, value: &Arc<str>) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(value.as_bytes()))
    }

    fn decode(&self, bytes: Bytes) -> Result<Arc<str>, CodecError> {
        Ok(str::from_utf8(&bytes)?.into())
    }
}

/// Bytes as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec<Bytes> for Raw {
    fn format(&self) -> &str {
        "bytes"
    }

    fn encode(&self, value: &Bytes) -> Result<Bytes, CodecError> {
        Ok(value.clone())
    }

    fn decode(&self, bytes: Bytes) -> Result<Bytes, CodecError> {
        Ok(bytes)
    }
}

impl Codec<Vec<u8>> for Raw {
    fn format(&self) -> &str {
        "bytes"
    }

    fn encode(&self, value: &Vec<u8>) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(value))
    }

    fn decode(&self, bytes: Bytes) -> Result<Vec<u8>, CodecError> {
        Ok(bytes.into())
    }
}
