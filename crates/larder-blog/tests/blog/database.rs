//! The database: made and filled once, and kept.

use futures_util::future::join_all;
use rustix::process::Signal;
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::support::{
    blog::{Blog, Setup},
    eventually,
    origin::{Act, Origin},
    over_both_databases,
    postgres::{PASSWORD, Postgres},
    reader::get,
};

over_both_databases!(
    a_second_start_finds_the_posts_of_the_first,
    a_second_start_does_not_bring_back_what_was_deleted,
    a_post_written_later_gets_the_next_id,
    services_may_start_on_one_new_database_at_once,
);

async fn ids(blog: &Blog) -> Vec<i64> {
    let list = get(&blog.posts("/posts")).await.json();
    let posts = list.as_array().expect("a list");
    posts.iter().map(|post| post["id"].as_i64().expect("a number")).collect()
}

/// Somebody else at the same database.
async fn execute(setup: &Setup, statement: &'static str) {
    match setup.variable("DATABASE_URL") {
        Some(url) => {
            let mut connection = PgConnection::connect(url).await.expect("a server that runs");
            sqlx::query(statement).execute(&mut connection).await.expect("a good statement");
        }
        None => {
            let file = setup.folder().join("data/blog.sqlite");
            let url = format!("sqlite://{}", file.display());
            let mut connection = SqliteConnection::connect(&url).await.expect("a file that exists");
            sqlx::query(statement).execute(&mut connection).await.expect("a good statement");
        }
    }
}

async fn a_second_start_finds_the_posts_of_the_first(setup: Setup) {
    let first = setup.start().await;
    let before = get(&first.posts("/posts")).await;
    first.signal(Signal::TERM);
    assert_eq!(first.exit().await.code, Some(0));

    let second = setup.start().await;
    assert_eq!(get(&second.posts("/posts")).await.body, before.body);
    // And if the end of the one before was none of its own.
    second.kill().await;
    let third = setup.start().await;
    assert_eq!(get(&third.posts("/posts")).await.body, before.body);
}

async fn a_second_start_does_not_bring_back_what_was_deleted(setup: Setup) {
    drop(setup.start().await);
    execute(&setup, "DELETE FROM posts WHERE id IN (3, 10)").await;
    execute(&setup, "UPDATE posts SET title = 'Changed' WHERE id = 1").await;

    let blog = setup.start().await;

    assert_eq!(ids(&blog).await, [1, 2, 4, 5, 6, 7, 8, 9]);
    assert_eq!(get(&blog.backend("/api/posts/1")).await.json()["title"], "Changed");
    get(&blog.backend("/api/posts/3")).await.assert_detail(404, "Post with ID 3 not found");
}

async fn a_post_written_later_gets_the_next_id(setup: Setup) {
    let blog = setup.start().await;
    let insert =
        "INSERT INTO posts (title, content, department, author) VALUES ('Æ “New”', '', 'D', 'A')";
    execute(&setup, insert).await;

    let post = get(&blog.backend("/api/posts/11")).await;

    assert_eq!(post.status, 200, "{post:?}");
    let begin = "{\"id\":11,\"title\":\"Æ “New”\",\"content\":\"\",\"department\":\"D\",\
                 \"author\":\"A\",\"created_at\":\"20";
    assert!(post.text().starts_with(begin), "{post:?}");
    assert!(post.text().ends_with("+00:00\"}"), "{post:?}");
}

async fn services_may_start_on_one_new_database_at_once(setup: Setup) {
    let services = join_all((0..8).map(|_| setup.start())).await;
    for service in services {
        assert_eq!(ids(&service).await, (1..=10).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_made_is_named() {
    let setup = Setup::run().file("occupied", "by a file").set("BLOG_DATA_DIR", "occupied");
    let exit = setup.end().await;
    assert_eq!((exit.code, exit.out.as_str()), (Some(1), ""));
    assert!(exit.log.contains("BLOG_DATA_DIR") && exit.log.contains("occupied"), "{}", exit.log);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_left_alone() {
    let nonsense = "This is no database at all. ".repeat(100);
    let setup = Setup::run().set("BLOG_DATA_DIR", ".").file("blog.sqlite", &nonsense);
    let exit = setup.end().await;
    assert_eq!((exit.code, exit.out.as_str()), (Some(1), ""));
    assert!(exit.log.contains("blog.sqlite"), "{}", exit.log);
    let file = std::fs::read_to_string(setup.folder().join("blog.sqlite")).unwrap();
    assert_eq!(file, nonsense);
}

/// Exit code 1, and a message that names the variable but not what is secret in it.
async fn unreachable(url: String) -> String {
    let setup = Setup::run().set("DATABASE_URL", &url).set("DATABASE_WAIT_SECONDS", 0);
    let exit = setup.end().await;
    assert_eq!((exit.code, exit.out.as_str()), (Some(1), ""), "{url}: {}", exit.log);
    assert!(exit.log.contains("DATABASE_URL"), "{}", exit.log);
    assert!(!exit.log.contains("sEcReT"), "{}", exit.log);
    exit.log
}

#[tokio::test]
async fn a_postgresql_that_is_not_there_is_named_without_the_password_however_it_is_written() {
    let urls = [
        format!("postgres://blog:{PASSWORD}@127.0.0.1:1/blog"),
        format!("postgresql://blog:{PASSWORD}@127.0.0.1:1/blog?x=1"),
        format!("postgres://blog:a@{PASSWORD}@127.0.0.1:1/blog"),
        format!("postgres://127.0.0.1:1/blog?user=blog&password={PASSWORD}"),
        format!("postgres://127.0.0.1:1/blog?user=blog&password=a@{PASSWORD}"),
    ];
    for log in join_all(urls.map(unreachable)).await {
        assert!(log.contains("127.0.0.1:1/blog"), "{log}");
    }
}

#[tokio::test]
async fn a_start_without_its_postgresql_says_what_is_wrong_with_it() {
    let log = unreachable("postgres://blog@127.0.0.1:1/blog".to_owned()).await;
    assert!(log.contains("Connection refused"), "{log}");
}

#[tokio::test]
async fn a_postgresql_that_never_answers_is_named_without_the_password() {
    let silent = Origin::start(Act::SendAndStall(Vec::new())).await;
    let place = silent.url().replace("http://", "");
    unreachable(format!("postgres://blog:{PASSWORD}@{place}/blog?sslmode=disable")).await;
}

#[tokio::test]
async fn a_postgresql_that_starts_later_is_waited_for() {
    let mut postgres = Postgres::start().await;
    let setup = Setup::run().set("DATABASE_URL", postgres.new_database().await);
    postgres.kill().await;
    let blog = setup.begin();
    let waits = async || blog.log().contains("waiting for the database").then_some(());
    eventually("a start that waits", waits).await;
    postgres.restart().await;
    let blog = setup.started(blog).await;
    assert_eq!(ids(&blog).await.len(), 10);
    assert!(!blog.log().contains("sEcReT"), "{}", blog.log());
}

#[tokio::test]
async fn a_start_that_waits_for_its_postgresql_can_be_stopped() {
    let setup = Setup::run().set("DATABASE_URL", "postgres://blog@127.0.0.1:1/blog");
    for signal in [Signal::INT, Signal::TERM] {
        let blog = setup.begin();
        let waits = async || blog.log().contains("waiting for the database").then_some(());
        eventually("a start that waits", waits).await;
        blog.signal(signal);
        assert_eq!(blog.exit().await.code, Some(0));
    }
}

#[tokio::test]
async fn what_a_postgresql_refuses_is_not_waited_for() {
    let url = Postgres::shared().await.url("no_such_database");
    let exit = Setup::run().set("DATABASE_URL", &url).end().await;
    assert_eq!(exit.code, Some(1), "{}", exit.log);
    assert!(!exit.log.contains("waiting for"), "{}", exit.log);
}

#[tokio::test]
async fn the_wait_for_a_postgresql_ends() {
    let setup = Setup::run().set("DATABASE_URL", "postgres://blog@127.0.0.1:1/blog");
    let exit = setup.set("DATABASE_WAIT_SECONDS", 1).end().await;
    assert_eq!(exit.code, Some(1), "{}", exit.log);
    assert!(exit.log.contains("waiting for the database"), "{}", exit.log);
    assert!(exit.log.contains("Connection refused"), "{}", exit.log);
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_without_the_password() {
    let log = unreachable(Postgres::shared().await.url("no_such_database")).await;
    assert!(log.contains("\"no_such_database\" does not exist"), "{log}");
}

#[tokio::test]
async fn a_postgresql_url_that_makes_no_sense_is_refused_without_the_password() {
    for url in [
        format!("postgres://blog:{PASSWORD}@127.0.0.1:port/blog"),
        format!("postgres://blog:a?{PASSWORD}@127.0.0.1:1/blog"),
        format!("postgres://blog:a/{PASSWORD}@127.0.0.1:1/blog"),
        format!("postgres://blog:a#{PASSWORD}@127.0.0.1:1/blog"),
    ] {
        let exit = Setup::run().set("DATABASE_URL", &url).end().await;
        assert_eq!((exit.code, exit.out.as_str()), (Some(2), ""), "{url}: {}", exit.log);
        assert!(exit.log.contains("DATABASE_URL"), "{}", exit.log);
        assert!(!exit.log.contains("sEcReT"), "{}", exit.log);
    }
}

/// Somebody who types it finds the folder where he said, not a parameter of SQLite.
#[tokio::test]
async fn a_data_directory_may_have_any_name() {
    let name = "Wörter und ?mode=memory#1%20";
    let setup = Setup::run().set("BLOG_DATA_DIR", name);
    let blog = setup.start().await;
    assert_eq!(ids(&blog).await.len(), 10);
    assert!(setup.folder().join(name).join("blog.sqlite").exists());
}
