//! Real services that die in the middle and come back: what is kept still loads, the rest says what
//! is wrong, and nobody has to restart the others.

use std::time::Duration;

use crate::support::{
    blog::{Blog, Setup},
    free_port,
    postgres::Postgres,
    reader::{get, get_all},
};

const UNAVAILABLE: &str = "Database unavailable";
/// What the backend allows for a whole answer of the posts service.
const BUDGET: Duration = Duration::from_secs(5);

async fn load(blog: &Blog, path: &str) -> u16 {
    get(&blog.backend(path)).await.status
}

/// At the first attempt, without a restart.
async fn assert_recovered(blog: &Blog) {
    for answer in get_all(["/api/posts/2", "/api/posts"].map(|path| blog.backend(path))).await {
        assert_eq!((answer.status, answer.handling()), (200, "uri-miss"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_posts_service_may_die_in_the_middle_of_a_request_and_come_back() {
    let port = free_port();
    let setup = Setup::part("posts").set("POSTS_SERVICE_PORT", port).set("POSTS_DELAY_MS", 1000);
    let posts = setup.start().await;
    let blog = Setup::part("backend").set("POSTS_SERVICE_URL", posts.posts("")).start().await;
    let kept = get(&blog.backend("/api/posts/1")).await;
    assert_eq!(kept.status, 200);

    // In the middle: the connection is there from before, so the request is out with its log line.
    let under_way = tokio::spawn({
        let url = blog.backend("/api/posts/2");
        async move { get(&url).await }
    });
    blog.logs("Cache MISS for /posts/2").await;
    posts.kill().await;
    let interrupted = under_way.await.unwrap();
    assert_eq!(interrupted.status, 503, "{interrupted:?}");

    let hit = get(&blog.backend("/api/posts/1")).await;
    assert_eq!((hit.status, hit.handling(), &hit.body), (200, "hit", &kept.body));
    let refused = "Posts service unavailable (connection error)";
    let missing = ["/api/posts/2", "/api/posts/3", "/api/posts"];
    for path in missing {
        get(&blog.backend(path)).await.assert_detail(503, refused);
    }

    let _posts = setup.start().await;
    for answer in get_all(missing.map(|path| blog.backend(path))).await {
        assert_eq!((answer.status, answer.handling()), (200, "uri-miss"), "{answer:?}");
    }
}

/// With the delay of the story: the time a lost database takes comes on top of it, and both must fit
/// into the budget of the backend, or the reader is not told what is wrong.
#[tokio::test]
async fn a_database_may_die_and_come_back() {
    let mut postgres = Postgres::start().await;
    let setup = Setup::run().set("DATABASE_URL", postgres.new_database().await);
    let blog = setup.set("POSTS_DELAY_MS", 2000).start().await;
    assert_eq!(load(&blog, "/api/posts/1").await, 200);

    postgres.kill().await;

    let (hit, post, list) = futures_util::join!(
        async { get(&blog.backend("/api/posts/1")).await },
        async { get(&blog.backend("/api/posts/2")).await },
        async { get(&blog.backend("/api/posts")).await },
    );
    assert_eq!((hit.status, hit.handling()), (200, "hit"));
    for answer in [post, list] {
        answer.assert_detail(503, UNAVAILABLE);
        assert!(answer.took < BUDGET, "{:?}", answer.took);
    }
    assert_eq!(get(&blog.posts("/health")).await.status, 200);

    postgres.restart().await;
    assert_recovered(&blog).await;
}

#[tokio::test]
async fn a_database_may_stand_still_and_go_on() {
    let postgres = Postgres::start().await;
    let setup = Setup::run().set("DATABASE_URL", postgres.new_database().await);
    let blog = setup.start().await;
    assert_eq!(load(&blog, "/api/posts/1").await, 200);

    postgres.freeze();
    let urls = ["/api/posts/1", "/api/posts/2", "/api/posts"].map(|path| blog.backend(path));
    let answers = get_all(urls).await;
    postgres.thaw();

    assert_eq!((answers[0].status, answers[0].handling()), (200, "hit"));
    for answer in &answers[1..] {
        answer.assert_detail(503, UNAVAILABLE);
    }
    assert_recovered(&blog).await;
}
