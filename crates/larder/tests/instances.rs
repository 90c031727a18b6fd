//! `#[cached]` where one function is many: in generic code, in traits, and with one name in several places.

use std::{
    fmt::Debug,
    marker::PhantomData,
    sync::{Arc, LazyLock},
};

use larder::{Cache, cached};

/// What the types say of themselves, so that another's value shows.
trait Named {
    const NAME: &'static str;
}

impl Named for u8 {
    const NAME: &'static str = "u8";
}

impl Named for u16 {
    const NAME: &'static str = "u16";
}

impl Named for &str {
    const NAME: &'static str = "text";
}

static SHARED: LazyLock<Cache<String>> = LazyLock::new(|| Cache::builder().name("shared").build());

struct Table<T>(PhantomData<T>);

impl<T: Named> Table<T> {
    #[cached(cache = SHARED)]
    async fn load(id: u32) -> String {
        format!("{} {id}", T::NAME)
    }

    #[cached]
    async fn load_alone(id: u32) -> String {
        format!("{} {id}", T::NAME)
    }

    #[cached(cache = SHARED)]
    async fn load_as<U: Named, const N: usize>(id: impl Debug + Send + 'static) -> String {
        format!("{} {} {N} {} {id:?}", T::NAME, U::NAME, size_of_val(&id))
    }

    #[cached(cache = SHARED, key = "with key {Self}:{U}:{N}:{id}")]
    async fn load_with_key<U: Named, const N: usize>(id: u32) -> String {
        format!("{} {} {N} {id}", T::NAME, U::NAME)
    }

    #[cached(cache = SHARED, skip(U))]
    async fn load_for_all<U: Named, V: Named, const N: usize>(id: u32) -> String {
        format!("{} {} {N} {id}", T::NAME, V::NAME)
    }
}

#[tokio::test]
async fn each_type_that_an_impl_is_for_has_its_own() {
    for _ in 0..2 {
        assert_eq!(Table::<u8>::load(1).await, "u8 1");
        assert_eq!(Table::<u16>::load(1).await, "u16 1");
        assert_eq!(Table::<&str>::load(1).await, "text 1");
        assert_eq!(Table::<u8>::load_alone(1).await, "u8 1");
        assert_eq!(Table::<u16>::load_alone(1).await, "u16 1");
    }
    let found = SHARED.get("instances::Table<u16>::load(1)");
    assert_eq!(found.as_deref(), Some("u16 1"));
}

#[tokio::test]
async fn the_types_around_a_function_and_its_own_are_told_apart_together() {
    for _ in 0..2 {
        assert_eq!(Table::<u8>::load_as::<u16, 1>(1_u8).await, "u8 u16 1 1 1");
        assert_eq!(Table::<u16>::load_as::<u8, 1>(1_u8).await, "u16 u8 1 1 1");
        assert_eq!(Table::<u16>::load_as::<u8, 2>(1_u8).await, "u16 u8 2 1 1");
        assert_eq!(Table::<u16>::load_as::<u8, 2>(1_u32).await, "u16 u8 2 4 1");
    }
}

#[tokio::test]
async fn a_key_can_name_types() {
    for _ in 0..2 {
        assert_eq!(Table::<u8>::load_with_key::<u16, 1>(1).await, "u8 u16 1 1");
        assert_eq!(Table::<u16>::load_with_key::<u8, 1>(1).await, "u16 u8 1 1");
        assert_eq!(Table::<u16>::load_with_key::<u8, 2>(1).await, "u16 u8 2 1");
    }
    let key = "with key instances%3A%3ATable<u16>:u8:2:1";
    assert_eq!(SHARED.get(key).as_deref(), Some("u16 u8 2 1"));
}

#[tokio::test]
async fn a_type_that_is_left_out_leaves_the_others_in() {
    assert_eq!(Table::<u8>::load_for_all::<&str, u16, 1>(1).await, "u8 u16 1 1");
    assert_eq!(Table::<u8>::load_for_all::<u8, u16, 1>(1).await, "u8 u16 1 1");
    assert_eq!(Table::<u8>::load_for_all::<u8, u8, 1>(1).await, "u8 u8 1 1");
    assert_eq!(Table::<u8>::load_for_all::<u8, u8, 2>(1).await, "u8 u8 2 1");
    assert_eq!(Table::<u16>::load_for_all::<u8, u8, 2>(1).await, "u16 u8 2 1");
    let keys = SHARED.purge_prefix("instances::Table<u8>::load_for_all(u");
    assert_eq!(keys, 3);
}

trait Source<T> {
    fn name() -> String;

    #[cached(cache = SHARED)]
    async fn usual(id: u32) -> String
    where
        Self: Sized,
    {
        format!("{} {id}", Self::name())
    }

    async fn own(id: u32) -> String;
}

struct Disk;
struct Net;

impl Source<u8> for Disk {
    fn name() -> String {
        "disk u8".to_owned()
    }

    #[cached(cache = SHARED)]
    async fn own(id: u32) -> String {
        format!("disk u8's own {id}")
    }
}

impl Source<u16> for Disk {
    fn name() -> String {
        "disk u16".to_owned()
    }

    #[cached(cache = SHARED)]
    async fn own(id: u32) -> String {
        format!("disk u16's own {id}")
    }
}

impl<T: Named> Source<T> for Net {
    fn name() -> String {
        format!("net {}", T::NAME)
    }

    #[cached(cache = SHARED)]
    async fn own(id: u32) -> String {
        format!("net {}'s own {id}", T::NAME)
    }
}

#[tokio::test]
async fn each_type_that_has_a_trait_has_its_own() {
    for _ in 0..2 {
        assert_eq!(<Disk as Source<u8>>::usual(1).await, "disk u8 1");
        assert_eq!(<Disk as Source<u16>>::usual(1).await, "disk u16 1");
        assert_eq!(<Net as Source<u8>>::usual(1).await, "net u8 1");
        assert_eq!(<Net as Source<u16>>::usual(1).await, "net u16 1");
        assert_eq!(<Disk as Source<u8>>::own(1).await, "disk u8's own 1");
        assert_eq!(<Disk as Source<u16>>::own(1).await, "disk u16's own 1");
        assert_eq!(<Net as Source<u8>>::own(1).await, "net u8's own 1");
        assert_eq!(<Net as Source<u16>>::own(1).await, "net u16's own 1");
    }
}

struct One;
struct Two;

impl One {
    #[cached(cache = SHARED)]
    async fn of(id: u32) -> String {
        format!("one {id}")
    }
}

impl Two {
    #[cached(cache = SHARED)]
    async fn of(id: u32) -> String {
        format!("two {id}")
    }

    /// `Self` in the arguments and in what is returned.
    #[cached(cache = SELVES)]
    async fn back(this: Arc<Copied>, more: Vec<Arc<Copied>>) -> Arc<Copied> {
        Arc::new(Copied(this.0 + more.len() as u32))
    }
}

#[derive(Debug)]
struct Copied(u32);

static SELVES: LazyLock<Cache<Arc<Copied>>> =
    LazyLock::new(|| Cache::builder_with_weigher(|_| 8).build());

impl Copied {
    #[cached(cache = SELVES)]
    async fn again(this: Arc<Self>) -> Arc<Self> {
        Arc::new(Self(this.0 + 1))
    }
}

#[tokio::test]
async fn functions_of_one_name_in_two_impls_or_bodies_have_their_own() {
    async fn first(id: u32) -> String {
        #[cached(cache = SHARED)]
        async fn inner(id: u32) -> String {
            format!("first {id}")
        }
        inner(id).await
    }
    async fn second<T: Named>(id: u32) -> String {
        #[cached(cache = SHARED)]
        async fn inner<T: Named>(id: u32) -> String {
            format!("second {} {id}", T::NAME)
        }
        inner::<T>(id).await
    }
    for _ in 0..2 {
        assert_eq!((One::of(1).await, Two::of(1).await), ("one 1".into(), "two 1".into()));
        assert_eq!(first(1).await, "first 1");
        assert_eq!(second::<u8>(1).await, "second u8 1");
        assert_eq!(second::<u16>(1).await, "second u16 1");
    }
    let copied = || Arc::new(Copied(1));
    assert_eq!(Copied::again(copied()).await.0, 2);
    assert_eq!(Two::back(copied(), vec![copied()]).await.0, 2);
    assert_eq!(Two::back(copied(), vec![copied(); 2]).await.0, 3);
}

struct Borrowing<'a, T>(PhantomData<&'a T>);

impl<'a, T: Named> Borrowing<'a, T> {
    /// Nothing here lives for `'static`, and no value can differ in its lifetime alone.
    #[cached(cache = SHARED)]
    async fn load<'b: 'b>(id: u32) -> String {
        format!("{} {id}", T::NAME)
    }
}

#[tokio::test]
async fn types_that_borrow_have_their_own_and_lifetimes_share() {
    async fn of<'a>(_: &'a str) -> (String, String) {
        (Borrowing::<'a, &'a str>::load::<'a>(1).await, Borrowing::<'a, u8>::load::<'a>(1).await)
    }
    let local = String::from("local");
    assert_eq!(of(&local).await, ("text 1".to_owned(), "u8 1".to_owned()));
    assert_eq!(of("static").await, ("text 1".to_owned(), "u8 1".to_owned()));
}

static LOUD: LazyLock<Cache<String>> = LazyLock::new(|| Cache::builder().name("loud").build());

impl<T: Named> Table<T> {
    #[cached(cache = LOUD, key = "row {id}")]
    async fn row(id: u32) -> String {
        format!("{} {id}", T::NAME)
    }

    #[cached(key = "row {id}")]
    async fn row_alone(id: u32) -> String {
        format!("{} {id}", T::NAME)
    }

    #[cached(cache = LOUD, key = "skipped {id}", skip(U))]
    async fn row_with_skip<U>(id: u32) -> String {
        format!("{} {id}", T::NAME)
    }

    #[cached(cache = LOUD, key = "all {id}", skip(Self))]
    async fn row_for_all(id: u32) -> String {
        format!("row {id}")
    }

    #[cached(cache = LOUD, skip(Self))]
    async fn usual_for_all(id: u32) -> String {
        format!("usual {id}")
    }
}

impl<T: Named> Source<T> for Table<u8> {
    fn name() -> String {
        T::NAME.to_owned()
    }

    /// `Self` is the same for each `T`.
    #[cached(cache = LOUD, key = "{Self} own {id}")]
    async fn own(id: u32) -> String {
        format!("{} {id}", T::NAME)
    }
}

async fn refused(call: impl Future<Output = String> + Send + 'static) -> String {
    let panic = tokio::spawn(call).await.expect_err("it would return the other's value");
    *panic.into_panic().downcast::<String>().expect("a message")
}

#[tokio::test]
async fn types_that_a_key_does_not_tell_are_refused_unless_that_is_meant() {
    assert_eq!(Table::<u8>::row(1).await, "u8 1");
    let message = refused(Table::<u16>::row(1)).await;
    for words in
        ["loud", "row {}", "Table<u8>::row at ", "Table<u16>::row at ", "{Self}", "skip(Self)"]
    {
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(Table::<u8>::row(1).await, "u8 1");

    assert_eq!(Table::<u16>::row_alone(1).await, "u16 1");
    refused(Table::<u8>::row_alone(1)).await;

    assert_eq!(Table::<u8>::row_with_skip::<u8>(1).await, "u8 1");
    assert_eq!(Table::<u8>::row_with_skip::<u16>(1).await, "u8 1");
    refused(Table::<u16>::row_with_skip::<u8>(1)).await;

    assert_eq!(<Table<u8> as Source<u8>>::own(1).await, "u8 1");
    refused(<Table<u8> as Source<u16>>::own(1)).await;

    let before = LOUD.stats().misses;
    for _ in 0..2 {
        assert_eq!(Table::<u8>::row_for_all(1).await, "row 1");
        assert_eq!(Table::<u16>::row_for_all(1).await, "row 1");
        assert_eq!(Table::<u8>::usual_for_all(1).await, "usual 1");
        assert_eq!(Table::<u16>::usual_for_all(1).await, "usual 1");
    }
    assert_eq!(LOUD.stats().misses, before + 2);
}

#[cached(cache = SHARED)]
async fn of_type<T: Named>(id: u32) -> String {
    format!("{} {id}", T::NAME)
}

#[tokio::test]
async fn types_of_one_name_are_refused_instead_of_sharing() {
    {
        struct Local;
        impl Named for Local {
            const NAME: &'static str = "first";
        }
        assert_eq!(of_type::<Local>(1).await, "first 1");
    }
    {
        struct Local;
        impl Named for Local {
            const NAME: &'static str = "second";
        }
        let message = refused(of_type::<Local>(1)).await;
        assert!(message.contains("Local"), "{message}");
    }
}

#[tokio::test]
async fn one_function_has_keys_in_as_many_caches_as_it_is_called_with() {
    #[cached(cache = cache, key = "{T}:{id}", skip(cache))]
    async fn of<T: Named>(cache: Cache<String>, id: u32) -> String {
        format!("{} {id}", T::NAME)
    }
    let caches: Vec<Cache<String>> = (0..3).map(|_| Cache::builder().build()).collect();
    for _ in 0..2 {
        for cache in &caches {
            assert_eq!(of::<u8>(cache.clone(), 1).await, "u8 1");
            assert_eq!(of::<u16>(cache.clone(), 1).await, "u16 1");
        }
    }
    assert!(caches.iter().all(|cache| cache.stats().misses == 2));
}
