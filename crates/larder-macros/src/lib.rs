//! `#[cached]`: a cache around an async function, in one line. Use it through the crate `larder`,
//! which documents and re-exports it.

mod expand;
mod options;

use proc_macro::TokenStream;
use syn::{ItemFn, parse_macro_input};

use crate::options::Options;

/// Puts a cache around an async function that returns `T` or `Result<T, E>`.
///
/// ```text
/// static POSTS: LazyLock<Cache<Post>> = LazyLock::new(|| Cache::builder().name("posts").build());
///
/// #[cached(cache = POSTS, key = "post:{id}", ttl = "5m", tags("posts", "post:{id}"))]
/// async fn post(id: u64) -> Result<Post, DbError> {
///     ask_the_database(id).await
/// }
/// ```
///
/// | option | meaning |
/// | --- | --- |
/// | `key = "post:{id}"` | the key, as in `format!`, with the function's arguments. Required |
/// | `cache = POSTS` | where to keep it: an expression of type `Cache<T>`, or one that derefs to it. Without it the function gets a cache of its own, and `T` must be `Weigh` |
/// | `ttl = "5m"` | how long: a whole number with `ms`, `s`, `m`, `h` or `d`. Without it, the cache's TTL |
/// | `tags("posts", "post:{id}")` | with what it is purged; each as the key |
///
/// What it expands to could have been written by hand:
///
/// ```text
/// async fn post(id: u64) -> Result<Post, FetchError<DbError>> {
///     let key = format!("post:{id}");
///     POSTS
///         .try_get_or_fetch(&key, move || async move {
///             let tags = [format!("posts"), format!("post:{id}")];
///             let value: Result<Post, DbError> = async move { ask_the_database(id).await }.await;
///             value.map(|value| Fetched::new(value).ttl(Duration::from_millis(300_000)).tags(tags))
///         })
///         .await
/// }
/// ```
///
/// An error is shared by all who waited for it, so callers see `FetchError<E>` in place of `E`. The
/// fetch may outlive its caller: arguments are taken by value. A function that returns no `Result`
/// uses `get_or_fetch`, and panics where that does.
#[proc_macro_attribute]
pub fn cached(options: TokenStream, function: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as Options);
    let function = parse_macro_input!(function as ItemFn);
    expand::expand(options, function).unwrap_or_else(syn::Error::into_compile_error).into()
}
