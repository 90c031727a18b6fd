//! Store: the posts in their database, SQLite or PostgreSQL.

use std::{fs::File, io, path::Path, str::FromStr, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use sqlx::{
    ConnectOptions, PgPool, SqlitePool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tokio::time::{Instant, sleep};

use super::seed;
use crate::{
    error::{BlogError, with_causes},
    settings::Database,
};

/// How long a query waits for a connection before the database counts as unavailable. Well below
/// the backend's patience, so that the reader learns what is wrong.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the first connection may take before the start is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_CONNECTIONS: u32 = 8;
/// The first pause before a database that was not there is asked again; each further one is twice as
/// long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// PostgreSQL starts, stops or recovers: `cannot_connect_now` in the appendix of its manual.
const CANNOT_CONNECT_NOW: &str = "57P03";

const LIST: &str =
    "SELECT id, title, content, department, author, created_at FROM posts ORDER BY id";
const FIND: &str =
    "SELECT id, title, content, department, author, created_at FROM posts WHERE id = $1";

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// A post, its fields in the order of the contract.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Post {
    id: i64,
    title: String,
    content: String,
    department: String,
    author: String,
    #[serde(serialize_with = "iso8601")]
    created_at: DateTime<Utc>,
}

/// `2026-11-22T10:22:23.396898+00:00`
fn iso8601<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Micros, false))
}

/// The open database. Clones share one pool.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Store {
    /// Opens the database, brings its tables up to date, and writes the ten posts if there are none.
    /// A PostgreSQL that is not there yet is waited for up to `patience`: services of one stack start
    /// in any order.
    pub(crate) async fn open(database: &Database, patience: Duration) -> Result<Store, BlogError> {
        let name = database.to_string();
        let mut _alone = None;
        let opened = match database {
            Database::Sqlite { file } => {
                _alone = Some(take_folder_of(file).await?);
                open_sqlite(file).await.map(Store::Sqlite)
            }
            Database::Postgres { url } => {
                wait_for_postgres(url, &name, patience).await.map(Store::Postgres)
            }
        };
        let variable = database.variable();
        let store = opened.map_err(|source| BlogError::Database {
            database: name.clone(),
            variable,
            source,
        })?;
        let migrated = match &store {
            Store::Sqlite(pool) => SQLITE.run(pool).await,
            Store::Postgres(pool) => POSTGRES.run(pool).await,
        };
        migrated.map_err(|source| BlogError::Migrate { database: name.clone(), source })?;
        let seeded = match &store {
            Store::Sqlite(pool) => seed::sqlite(pool).await,
            Store::Postgres(pool) => seed::postgres(pool).await,
        };
        seeded.map_err(|source| BlogError::Seed { database: name, source })?;
        Ok(store)
    }

    /// All posts, by id.
    pub(crate) async fn list(&self) -> sqlx::Result<Vec<Post>> {
        match self {
            Store::Sqlite(pool) => sqlx::query_as(LIST).fetch_all(pool).await,
            Store::Postgres(pool) => sqlx::query_as(LIST).fetch_all(pool).await,
        }
    }

    pub(crate) async fn find(&self, id: i64) -> sqlx::Result<Option<Post>> {
        match self {
            Store::Sqlite(pool) => sqlx::query_as(FIND).bind(id).fetch_optional(pool).await,
            Store::Postgres(pool) => sqlx::query_as(FIND).bind(id).fetch_optional(pool).await,
        }
    }

    /// Closes the pool after the queries under way.
    pub(crate) async fn close(&self) {
        match self {
            Store::Sqlite(pool) => pool.close().await,
            Store::Postgres(pool) => pool.close().await,
        }
    }
}

/// Makes the folder, and holds it until the returned file is dropped: SQLite does not keep two
/// services apart that make their tables at the same time (PostgreSQL does).
async fn take_folder_of(file: &Path) -> Result<File, BlogError> {
    let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
    let path = folder.clone();
    let taken = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&path)?;
        let lock = File::create(path.join("blog.lock"))?;
        lock.lock()?;
        Ok(lock)
    });
    let taken = taken.await.expect("nothing in there panics");
    taken.map_err(|source| BlogError::DataDirectory { path: folder, source })
}

async fn open_sqlite(file: &Path) -> sqlx::Result<SqlitePool> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new()
        // Each connection of SQLite is a thread; two serve ten posts.
        .max_connections(2)
        .acquire_timeout(ACQUIRE_TIMEOUT);
    pool.connect_with(options).await
}

/// Opens it as soon as it accepts connections. The last attempt begins before `patience` is over, and
/// its error is the one that is told.
async fn wait_for_postgres(url: &str, name: &str, patience: Duration) -> sqlx::Result<PgPool> {
    let end = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match open_postgres(url).await {
            Ok(pool) => return Ok(pool),
            Err(error) => error,
        };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || !may_come_yet(&error) {
            return Err(error);
        }
        tracing::warn!(
            "waiting for the database {name}, {:.0} s more at most: {}",
            left.as_secs_f64().ceil(),
            with_causes(&error)
        );
        sleep(pause.min(left)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether the database may only not have started yet. What it refuses (a password, a name) it will
/// refuse again.
fn may_come_yet(error: &sqlx::Error) -> bool {
    match error {
        // No connection, or the name service does not know the host yet.
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(said) => said.code().as_deref() == Some(CANNOT_CONNECT_NOW),
        _ => false,
    }
}

async fn open_postgres(url: &str) -> sqlx::Result<PgPool> {
    let options = PgConnectOptions::from_str(url)?.disable_statement_logging();
    // A pool tries again until its time is over, and then says only that. One connection says why.
    let connect = tokio::time::timeout(CONNECT_TIMEOUT, options.connect());
    connect.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))?;
    let pool =
        PgPoolOptions::new().max_connections(MAX_CONNECTIONS).acquire_timeout(ACQUIRE_TIMEOUT);
    pool.connect_with(options).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_printed_with_microseconds_and_offset() {
        let created_at = "2026-11-22T12:22:23+02:00".parse().unwrap();
        let text = |text: &str| text.to_owned();
        let (title, content) = (text("t"), text("c"));
        let (department, author) = (text("d"), text("a"));
        let post = Post { id: 1, title, content, department, author, created_at };
        assert_eq!(
            serde_json::to_string(&post).unwrap(),
            r#"{"id":1,"title":"t","content":"c","department":"d","author":"a","created_at":"2026-11-22T10:22:23.000000+00:00"}"#
        );
    }
}
