//! `#[cached]`, by what a function takes: arguments that borrow from its caller, and `self`.

use std::{
    borrow::Cow,
    path::Path,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use larder::{Cache, cached};

static CALLS: AtomicU32 = AtomicU32::new(0);

#[cached(key = "{title}/{lang:?}/{mood}/{id}", skip(skipped), tags("{title}"))]
async fn borrows<'a>(
    title: &str,
    lang: Option<&'a str>,
    mut mood: Cow<'_, str>,
    skipped: &[u8],
    id: &u64,
) -> String
where
    'a: 'a,
{
    CALLS.fetch_add(1, Ordering::SeqCst);
    tokio::task::yield_now().await;
    mood.to_mut().push('!');
    let _types: (&str, Option<&str>, &Cow<'_, str>, &[u8]) = (title, lang, &mood, skipped);
    format!("{title} {lang:?} {mood} {} {id}", skipped.len())
}

#[cached]
async fn borrows_without_a_key(
    path: &Path,
    mood: Option<Cow<'_, str>>,
    mut list: &[String],
) -> usize {
    CALLS.fetch_add(1, Ordering::SeqCst);
    let first = list.len();
    list = &list[1..];
    path.components().count() + mood.map_or(0, |mood| mood.len()) + first + list.len()
}

/// What is in the key alone is no unused argument.
#[deny(unused_variables)]
#[cached(key = "{unread}")]
async fn in_the_key_alone(unread: &str) -> u32 {
    CALLS.fetch_add(1, Ordering::SeqCst)
}

#[tokio::test]
async fn what_borrows_from_the_caller_is_copied_for_the_fetch() {
    let ask = async |title: String, lang: Option<String>| {
        borrows(&title, lang.as_deref(), Cow::Borrowed(&*title), b"abc", &7).await
    };
    for _ in 0..2 {
        assert_eq!(ask("a".to_owned(), None).await, "a None a! 3 7");
        assert_eq!(ask("a".to_owned(), Some("fr".to_owned())).await, "a Some(\"fr\") a! 3 7");
    }
    let list = ["a".to_owned(), "b".to_owned()];
    for _ in 0..2 {
        let found = borrows_without_a_key(Path::new("a/b"), Some("cd".into()), &list).await;
        assert_eq!(found, 2 + 2 + 2 + 1);
    }
    assert_eq!(in_the_key_alone("a").await, in_the_key_alone("a").await);
    assert_eq!(CALLS.load(Ordering::SeqCst), 4);
}

/// A service as applications have them: cheap to clone, with its caches in it.
#[derive(Clone)]
struct Service {
    name: Arc<str>,
    posts: Cache<String>,
    calls: Arc<AtomicU32>,
}

static EVERYWHERE: LazyLock<Cache<String>> = LazyLock::new(|| Cache::builder().build());

impl Service {
    fn new(name: &str) -> Service {
        Service { name: name.into(), posts: Cache::builder().build(), calls: Arc::default() }
    }

    async fn ask(&self, what: &str) -> String {
        self.calls.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        format!("{what} of {}", self.name)
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(self.name.len() as u64)
    }

    /// In a cache of its own.
    #[cached(cache = self.posts, key = "post:{slug}:{id}", tags("post:{slug}"))]
    async fn post(&self, slug: &str, mut id: u32) -> Result<String, String> {
        id += 1;
        Ok(self.ask(&format!("{slug} {id}")).await)
    }

    #[cached(cache = EVERYWHERE, key = "{self}:{id}", ttl = self.ttl())]
    async fn named(&self, id: u32) -> String {
        self.ask(&id.to_string()).await
    }

    #[cached(key = "of all:{id}", skip(self))]
    #[expect(unused_variables, reason = "it is the body's")]
    async fn of_all(self: Arc<Self>, id: u32) -> String {
        let unread = id;
        self.ask(&id.to_string()).await
    }

    #[cached(cache = self.posts, key = "by value:{N}:{T}")]
    pub(crate) async fn by_value<T: Default + Send + Sync + 'static, const N: usize>(
        self,
    ) -> String {
        self.ask(&format!("{N} {}", size_of_val(&T::default()))).await
    }

    #[cached(cache = self.posts, key = "shared")]
    async fn shared(self: &Arc<Self>) -> String {
        let itself: &Arc<Service> = self;
        itself.ask("shared").await
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

#[tokio::test]
async fn a_method_is_cached_in_its_value_or_by_what_its_key_says_of_it() {
    let (one, two) = (Arc::new(Service::new("one")), Arc::new(Service::new("two")));
    for _ in 0..2 {
        assert_eq!(one.post("a", 1).await.unwrap(), "a 2 of one");
        assert_eq!(two.post("a", 1).await.unwrap(), "a 2 of two");
        assert_eq!(one.named(1).await, "1 of one");
        assert_eq!(two.named(1).await, "1 of two");
        assert_eq!(Arc::clone(&one).of_all(1).await, "1 of one");
        assert_eq!(Arc::clone(&two).of_all(1).await, "1 of one", "as its key says");
        assert_eq!((*one).clone().by_value::<u16, 3>().await, "3 2 of one");
        assert_eq!((*one).clone().by_value::<u8, 3>().await, "3 1 of one");
        assert_eq!(two.shared().await, "shared of two");
    }
    assert_eq!(EVERYWHERE.entry("one:1").unwrap().lifetime.ttl(), Duration::from_secs(3));
    let calls = |of: &Service| of.calls.load(Ordering::SeqCst);
    assert_eq!((calls(&one), calls(&two)), (5, 3));
    one.posts.purge_tag("post:a");
    one.post("a", 1).await.unwrap();
    two.post("a", 1).await.unwrap();
    assert_eq!((calls(&one), calls(&two)), (6, 3));
}
