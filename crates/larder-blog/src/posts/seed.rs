//! Seed: the ten posts a new database begins with.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::{PgPool, SqlitePool};

const POSTS: &str = include_str!("../../seed/posts.toml");

const COUNT: &str = "SELECT count(*) FROM posts";
// Two services may start on one new database at once; the second finds the rows there.
const INSERT: &str = "INSERT INTO posts (id, title, content, department, author, created_at) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING";
/// Rows with given ids do not advance the identity; the next post must not collide with them.
const ADVANCE: &str =
    "SELECT setval(pg_get_serial_sequence('posts', 'id'), (SELECT max(id) FROM posts))";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seed {
    post: Vec<SeedPost>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedPost {
    id: i64,
    title: String,
    department: String,
    author: String,
    created_at: DateTime<Utc>,
    content: String,
}

fn posts() -> Vec<SeedPost> {
    let seed: Seed = toml::from_str(POSTS).expect("the seed in the tree is checked by a test");
    seed.post
}

/// Writes the posts into a database that has none, and leaves every other one alone: somebody who
/// deleted a post does not want it back at the next start.
pub(super) async fn sqlite(pool: &SqlitePool) -> sqlx::Result<()> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let present: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut *transaction).await?;
    if present == 0 {
        for post in posts() {
            sqlx::query(INSERT)
                .bind(post.id)
                .bind(post.title)
                .bind(post.content.trim())
                .bind(post.department)
                .bind(post.author)
                .bind(post.created_at)
                .execute(&mut *transaction)
                .await?;
        }
    }
    transaction.commit().await
}

/// As [`sqlite`].
pub(super) async fn postgres(pool: &PgPool) -> sqlx::Result<()> {
    let mut transaction = pool.begin().await?;
    let present: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut *transaction).await?;
    if present == 0 {
        for post in posts() {
            sqlx::query(INSERT)
                .bind(post.id)
                .bind(post.title)
                .bind(post.content.trim())
                .bind(post.department)
                .bind(post.author)
                .bind(post.created_at)
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query(ADVANCE).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_ten_posts_within_the_limits_of_their_columns() {
        let posts = posts();
        let ids: Vec<_> = posts.iter().map(|post| post.id).collect();
        assert_eq!(ids, (1..=10).collect::<Vec<_>>());
        assert_eq!(posts[0].title, "The Dialectics of Nature");
        for post in &posts {
            assert!(post.title.chars().count() <= 255, "{}", post.title);
            assert!(post.department.chars().count() <= 100, "{}", post.title);
            assert!(post.author.chars().count() <= 127, "{}", post.title);
            assert!((1000..=3000).contains(&post.content.trim().len()), "{}", post.title);
        }
    }
}
