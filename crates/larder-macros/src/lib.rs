//! `#[cached]`: a cache around an async function, in one line. Use it through the crate `larder`,
//! which documents and re-exports it.

mod borrowed;
mod expand;
mod key;
mod method;
mod options;
mod returned;
mod template;

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
/// | `key = "post:{id}"` | the key, as in `format!`, with the function's arguments. `{T}` and `{Self}` are the names of types. Without it: the function's path with its types, and all arguments, as `blog::posts::post(1)` |
/// | `skip(trace_id)` | arguments and type parameters that do not change what is returned, and are not in the key. With any other that is left out, or cut by a precision, the function does not compile. `skip(Self)` leaves out the types of the `impl` or `trait` around the function |
/// | `cache = POSTS` | where to keep it: an expression of type `Cache<T>`, or one that derefs to it. Without it the function gets a cache of its own, and `T` must be `Weigh` |
/// | `ttl = "5m"` | how long it is fresh: a whole number with `ms`, `s`, `m`, `h` or `d`. Without it, the cache's TTL. The cache's stale windows follow |
/// | `tags("posts", "post:{id}")` | with what it is purged; each as the key |
///
/// What it expands to could have been written by hand:
///
/// ```text
/// async fn post(id: u64) -> Result<Post, FetchError<DbError>> {
///     static KEYS: KeysOf = KeysOf::function("src/posts.rs:7");
///     let instance = KEYS.instance(|| (), Told::All);
///     let key = format!("post:{id}");
///     POSTS
///         .claim_keys(&instance, || KeyShape::new().text("post:").number())
///         .try_get_or_fetch(&key, move || async move {
///             let tags = [format!("posts"), format!("post:{id}")];
///             let value: Result<Post, DbError> = async move { ask_the_database(id).await }.await;
///             value.map(|value| Fetched::new(value).fresh_for(Duration::from_millis(300_000)).tags(tags))
///         })
///         .await
/// }
/// ```
///
/// An error is shared by all who waited for it, so callers see `FetchError<E>` in place of `E`. The
/// fetch may outlive its caller: arguments are taken by value (`String`, not `&str`), and a method with
/// `self` cannot be cached (call `get_or_fetch` in it). A function that returns no `Result` uses
/// `get_or_fetch`, and panics where that does.
///
/// # No two calls share a key by accident
///
/// - Every argument is in the key, or left out with `skip`. An argument cannot be cut by a precision or padded by
///   a width, since others would look the same. Zeros before a number (`{id:08}`) are fine.
/// - Between two arguments stands some text. If the value of the first contains the character that this
///   text begins with, it comes out percent-encoded: `"{a}-{b}"` of `x-` and `y` is `x%2D-y`. So does the
///   punctuation mark before an argument, if its value contains that: `"post:{slug}"` of `1:comments` is
///   `post:1%3Acomments`, which `"post:{slug}:comments"` never is.
/// - Two functions that can make one key, as `"{id}"` and `"{number}"`, or `"post:{slug}"` and `"{any}"`, in one
///   cache would return each other's values. The one that is called second panics and names both. What
///   is a `u64`, or has another primitive integer's name, is known to be digits.
/// - Without `key`, arguments are written as their `Debug` says. One whose `Debug` hides something (a
///   secret) needs a `key`.
/// - Without `key`, types are in the key, those of the `impl` or `trait` around the function and `Self` included:
///   `blog::Table<blog::Post>::load(1)`. With one, the function's own are named in it (`{T}`), or skipped. Those
///   around it cannot be seen here: `{Self}` names them, and where a call with another type would share a
///   key, it panics.
/// - Types are told apart exactly, also two of one name: the second one's call panics. But if one of the
///   function's own parameters is skipped, the others and the types around are told apart by name only.
/// - Lifetimes are not in the key: no value can differ in one alone.
///
/// What the body reads besides its arguments (a task-local user, the time) is in no key. All NaNs are one.
///
/// A cache of the function's own is a `static`, so what it keeps cannot be a `T` or `Self` of the `impl` around
/// it: name a `cache`, or the type.
#[proc_macro_attribute]
pub fn cached(options: TokenStream, function: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as Options);
    let function = parse_macro_input!(function as ItemFn);
    expand::expand(options, function).unwrap_or_else(syn::Error::into_compile_error).into()
}
