//! What the tests stand on: processes, readers, origins, databases, and what other crates' tests stand on as well.

pub(crate) mod blog;
pub(crate) mod counter;
pub(crate) mod origin;
pub(crate) mod postgres;
pub(crate) mod reader;

pub(crate) use larder_test_support::{eventually::eventually, port::free_port, process::Exit};

/// Proves each of these sentences over SQLite and over PostgreSQL: a sentence is an async function
/// that takes a [`Setup`](blog::Setup).
macro_rules! over_both_databases {
    ($($sentence:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $sentence() {
                super::$sentence($crate::support::blog::Setup::run()).await;
            })*
        }

        mod postgres {
            $(#[tokio::test]
            async fn $sentence() {
                let setup = $crate::support::postgres::with_new_database().await;
                super::$sentence(setup).await;
            })*
        }
    };
}
pub(crate) use over_both_databases;
