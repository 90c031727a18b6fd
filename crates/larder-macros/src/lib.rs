//! `#[cached]`: a cache around an async function, in one line. Use it through the crate `larder`,
//! which documents and re-exports it.

mod borrowed;
mod expand;
mod key;
mod method;
mod options;
mod returned;
mod template;
mod weigh;

use proc_macro::TokenStream;
use proc_macro2::Span;
use syn::{DeriveInput, ItemFn, parse_macro_input};

use crate::options::Options;

/// Puts a cache around an async function.
///
/// ```
/// use larder::{FetchError, cached};
///
/// # type Post = String;
/// # #[derive(Debug, thiserror::Error)]
/// # #[error("down")]
/// # struct DbError;
/// # async fn ask_the_database(slug: &str) -> Result<Post, DbError> { Ok(slug.to_owned()) }
/// #[cached(static POSTS, key = "post:{slug}", ttl = "5m", stale_if_error = "1h", tags("posts", "post:{slug}"))]
/// async fn post(slug: &str) -> Result<Post, DbError> {
///     ask_the_database(slug).await
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), FetchError<DbError>> {
/// assert_eq!(post("a").await?, post("a").await?);
/// POSTS.purge_tag("post:a");
/// # Ok(())
/// # }
/// ```
///
/// | option | meaning |
/// | --- | --- |
/// | `key = "post:{id}"` | the key, as in `format!`, with the function's arguments. `{T}` and `{Self}` are the names of types. Without it: the function's path with its types, and all arguments, as `blog::posts::post(1)` |
/// | `skip(trace_id)` | arguments and type parameters that do not change what is returned, and are not in the key. With any other that is left out, or cut by a precision, the function does not compile. `skip(Self)` leaves out the types of the `impl` or `trait` around the function |
/// | `cache = POSTS` | where to keep it: an expression of type `Cache<T>`, or one that derefs to it. Without it the function gets a cache of its own, and `T` must be `Weigh` |
/// | `static POSTS` | the name of the function's own cache, a `static` beside it that is as public as it is: for purges, and what else a `Cache` does. Of a function that is in no `impl` |
/// | `ttl = "5m"` | how long it is fresh: a whole number with `ms`, `s`, `m`, `h` or `d`, or an expression of type `Duration`, like a constant, which is asked at each call. Without it, the cache's TTL. The cache's stale windows follow |
/// | `negative_ttl = "5s"` | how long `None` is remembered, and, in a cache of the function's own, an error. Without it: not at all |
/// | `stale_if_error = "1h"`, `stale_while_revalidate = "1m"` | the stale windows of a cache of the function's own. Of another its builder says them |
/// | `tags("posts", "post:{id}")` | with what it is purged; each as the key |
///
/// # What a function returns
///
/// | it is declared with | its callers get | what is kept |
/// | --- | --- | --- |
/// | `T` | `T` | all it returns |
/// | `Option<T>` | `Option<T>` | what is `Some`. `None` ends what was there, and is remembered for `negative_ttl` |
/// | `Result<T, E>`, `anyhow::Result<T>`, `io::Result<T>`, or what else is called `Result` | `Result<T, FetchError<E>>` | what is `Ok`; of an `Option` in it, what is `Some`. Errors as the cache remembers them (`negative_ttl`, `Builder::negative_ttl_for`) |
/// | `Fetched<T>`, or a `Result` of it | `T`, or a `Result` of it | as the value says: with a TTL of its own, or not at all. The attribute's `ttl` is for those that say nothing of it, its tags are beside theirs |
///
/// An error is shared by all who waited for it, so callers see `FetchError<E>` in place of `E`, which need not be
/// `Clone`. `?` takes that into `anyhow::Error` and `Box<dyn Error>`, and from `io::Error` back into `io::Error`. A
/// function that returns no `Result` uses `get_or_fetch`, and panics where that does.
///
/// ```
/// use larder::{Fetched, cached};
/// use std::time::Duration;
///
/// /// Whom there is none of is asked for again after five seconds.
/// #[cached(key = "author:{id}", ttl = "1h", negative_ttl = "5s")]
/// async fn author(id: u64) -> anyhow::Result<Option<String>> {
///     # let found = Some(id.to_string());
///     Ok(found)
/// }
///
/// /// Good for as long as its issuer says.
/// #[cached]
/// async fn token() -> std::io::Result<Fetched<String>> {
///     # let (token, expires_in) = (String::new(), 60);
///     Ok(Fetched::new(token).ttl(Duration::from_secs(expires_in)).tags(["tokens"]))
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// # assert_eq!(author(1).await?, Some("1".to_owned()));
/// # token().await?;
/// # Ok(())
/// # }
/// ```
///
/// # What a function takes
///
/// A fetch may outlive its caller, so it works with arguments of its own. Of `&T`, `Cow<T>`, and an `Option` of them, it
/// gets a copy, which is made at each call, hits included, like the key is; take by value what is dear to copy (an `Arc`,
/// `Bytes`). What borrows otherwise is refused.
///
/// Of `self` it gets a clone, so a method's type is `Clone`, as services that hold their state in `Arc`s are. A method
/// needs a `key`, and says where its value is in it: kept in a cache of the value's own, `cache = self.posts`; told in the
/// key, `{self}` (its `Display`); or left out with `skip(self)`, where all values of the type return the same. The
/// method is one of an `impl` without a trait, for its body goes into another one beside it.
///
/// ```
/// use larder::{Cache, FetchError, cached};
///
/// # #[derive(Clone)]
/// # struct Pool;
/// # impl Pool {
/// #     async fn title(&self, slug: &str, _: Option<&str>) -> Result<String, String> { Ok(slug.to_owned()) }
/// # }
/// #[derive(Clone)]
/// struct Blog {
///     pool: Pool,
///     titles: Cache<String>,
/// }
///
/// impl Blog {
///     #[cached(cache = self.titles, key = "{slug}:{lang:?}")]
///     async fn title(&self, slug: &str, lang: Option<&str>) -> Result<String, String> {
///         self.pool.title(slug, lang).await
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), FetchError<String>> {
/// # let blog = Blog { pool: Pool, titles: Cache::builder().build() };
/// # assert_eq!(blog.title("a", None).await?, "a");
/// # Ok(())
/// # }
/// ```
///
/// # What it expands to
///
/// could have been written by hand. Here with `cache = POSTS`:
///
/// ```text
/// async fn post(slug: &str) -> Result<Post, FetchError<DbError>> {
///     static KEYS: KeysOf = KeysOf::function("src/posts.rs:7");
///     let instance = KEYS.instance(|| (), Told::All);
///     let key = format!("post:{slug}");
///     let ttl = Duration::from_millis(300_000);
///     let copy = slug.to_owned();
///     POSTS
///         .claim_keys(&instance, || KeyShape::new().text("post:").any(&[':']))
///         .try_get_or_fetch(&key, move || async move {
///             let slug: &str = copy.borrow();
///             let tags = [format!("posts"), format!("post:{slug}")];
///             let found: Result<Post, DbError> = async move { ask_the_database(slug).await }.await;
///             found.map(|found| Fetched::new(found).fresh_for(ttl).tags(tags))
///         })
///         .await
/// }
/// ```
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

/// Weighs a struct or an enum by what its fields own.
///
/// ```text
/// #[derive(Weigh)]
/// struct Post<T> {
///     title: String,
///     body: T,
///     #[weigh(with = json_bytes)]
///     extra: serde_json::Value,
///     #[weigh(skip)]
///     pool: Pool,
/// }
/// ```
///
/// | on a field | meaning |
/// | --- | --- |
/// | nothing | it is `Weigh` itself |
/// | `#[weigh(with = json_bytes)]` | its type is not: a function `fn(&Value) -> usize`, or a closure, tells the bytes that it owns on the heap |
/// | `#[weigh(skip)]` | it counts for nothing, as what lives elsewhere anyway |
///
/// A type parameter of which a field that is weighed makes use has to be `Weigh`.
///
/// It expands to the sum that a reader could have written:
///
/// ```text
/// impl<T: Weigh> Weigh for Post<T> {
///     fn heap_bytes(&self) -> usize {
///         match self {
///             Post { title, body, extra, pool: _ } => 0_usize
///                 .saturating_add(Weigh::heap_bytes(title))
///                 .saturating_add(Weigh::heap_bytes(body))
///                 .saturating_add((json_bytes)(extra)),
///         }
///     }
/// }
/// ```
#[proc_macro_derive(Weigh, attributes(weigh))]
pub fn derive_weigh(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    weigh::expand(input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Errors about what has this span point at `place`; lints of the user's own code pass it over.
fn told_at(place: Span) -> Span {
    Span::mixed_site().located_at(place)
}
