//! By postcard: values of any type that serde knows, in few bytes.

use std::{any::type_name, fmt, marker::PhantomData};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Codec, CodecError};

/// Values of a type that serde can write and read, as [postcard](https://postcard.jamesmunns.com).
///
/// These bytes do not say what is in them: a struct with another field would be read as nonsense, or not at all. So a
/// record says which type it holds, by its full name, and which [version](Postcard::version) of it; one of another
/// type or version is a miss. **Give the type another version with every change of what is in it**, at any depth.
///
/// ```
/// use larder::{Cache, Clock, codec::Postcard, lower::InProcess};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Post {
///     title: String,
///     likes: u64, // since version 2
/// }
/// # impl larder::Weigh for Post {
/// #     fn heap_bytes(&self) -> usize {
/// #         self.title.heap_bytes()
/// #     }
/// # }
///
/// let tier = InProcess::new(Clock::system());
/// let posts = Cache::<Post>::builder().lower(tier, Postcard::new().version(2)).build();
/// ```
pub struct Postcard<V> {
    format: String,
    values: PhantomData<fn() -> V>,
}

impl<V> Postcard<V> {
    /// Of version 1.
    pub fn new() -> Self {
        Postcard { format: String::new(), values: PhantomData }.version(1)
    }

    /// Of this version of `V`.
    pub fn version(mut self, version: u32) -> Self {
        self.format = format!("postcard {} {version}", type_name::<V>());
        self
    }
}

impl<V> Codec<V> for Postcard<V>
where
    V: Serialize + DeserializeOwned + 'static,
{
    fn format(&self) -> &str {
        &self.format
    }

    fn encode(&self, value: &V) -> Result<Bytes, CodecError> {
        Ok(postcard::to_allocvec(value)?.into())
    }

    fn decode(&self, bytes: Bytes) -> Result<V, CodecError> {
        match postcard::take_from_bytes(&bytes)? {
            (value, []) => Ok(value),
            (_, _) => Err("bytes are left over".into()),
        }
    }
}

impl<V> Default for Postcard<V> {
    fn default() -> Self {
        Postcard::new()
    }
}

impl<V> Clone for Postcard<V> {
    fn clone(&self) -> Self {
        Postcard { format: self.format.clone(), values: PhantomData }
    }
}

impl<V> fmt::Debug for Postcard<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postcard").field(&self.format).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Value = Vec<(String, Option<u64>)>;

    proptest! {
        #[test]
        fn what_is_written_is_read(value: Value) {
            let codec = Postcard::<Value>::new();
            prop_assert_eq!(codec.decode(codec.encode(&value).unwrap()).unwrap(), value);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            Postcard::<Value>::new().decode(bytes.into()).ok();
        }
    }

    #[test]
    fn a_format_names_the_type_and_its_version() {
        let formats = [
            Postcard::<u32>::new().format,
            Postcard::<u32>::new().version(2).format,
            Postcard::<u64>::new().format,
        ];
        assert_eq!(formats, ["postcard u32 1", "postcard u32 2", "postcard u64 1"]);
    }

    #[test]
    fn bytes_that_go_on_after_the_value_are_no_such_value() {
        assert!(Postcard::<bool>::new().decode(Bytes::from_static(&[1, 0])).is_err());
    }
}
