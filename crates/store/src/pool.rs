//! The pool, and what may go back into it.
//!
//! ```text
//!   borrowed ─▶ asked ─▶ given back ─▶ in a transaction? a standby? silent? ──yes──▶ closed
//!      ▲                                        │ no
//!      └──── does it answer? ◀──── idle ◀───────┘
//! ```
//!
//! - A statement that was cancelled half-way may leave its connection inside a transaction (sqlx 0.9: a cancelled `begin`);
//!   what the next borrower commits there would vanish. Such a connection is closed.
//! - A server that has become a standby answers every ping and refuses every write. A connection to it is closed, so that
//!   the next one is made to wherever the name leads by then.
//! - A connection that says nothing (the other end is gone, and no packet tells) would keep its place for a quarter of an
//!   hour, and a borrower for as long as it waits for one. It gets [`PATIENCE`], and the next is tried.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgPoolOptions};
use sqlx::{Connection as _, Error, Row as _};

/// How long a connection may take to answer something trivial. A borrower can thus try a few in its time.
const PATIENCE: Duration = Duration::from_secs(1);

/// The options of every pool of ours.
pub(crate) fn options() -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(12)
        .acquire_timeout(Duration::from_secs(5))
        .test_before_acquire(false) // it would wait for ever
        .before_acquire(|connection, meta| Box::pin(answers(connection, meta.idle_for)))
        .after_release(|connection, _| Box::pin(may_be_used_again(connection)))
}

/// One that has just been used is not asked again: that would cost every busy borrower a round trip.
async fn answers(connection: &mut PgConnection, idle_for: Duration) -> Result<bool, Error> {
    if idle_for < PATIENCE {
        return Ok(true);
    }
    soon(connection.ping()).await.map(|()| true)
}

/// Outside of a transaction both times are the same. (`ROLLBACK` would do too, and fill the server's log with warnings.) Asked
/// in one message: with separate ones for binding and executing, the second has a time of its own.
async fn may_be_used_again(connection: &mut PgConnection) -> Result<bool, Error> {
    let asked =
        sqlx::raw_sql("SELECT NOT pg_is_in_recovery() AND transaction_timestamp() = statement_timestamp()");
    soon(asked.fetch_one(connection)).await?.try_get(0)
}

async fn soon<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let silent = || Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the connection is silent"));
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(silent()))
}

#[cfg(test)]
mod tests {
    use sqlx::Executor as _;

    use crate::private::TestDb;

    /// What a cancelled `begin` does, done on purpose.
    #[tokio::test]
    async fn a_connection_inside_a_transaction_does_not_go_back_into_the_pool() {
        let db = TestDb::new().await.unwrap();
        let pool = super::options().max_connections(1).connect(&db.url()).await.unwrap();
        let mut borrowed = pool.acquire().await.unwrap();
        let before: i32 =
            sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *borrowed).await.unwrap();
        borrowed.execute("BEGIN").await.unwrap();
        borrowed.execute("CREATE TABLE left_behind ()").await.unwrap();
        drop(borrowed);

        let after: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&pool).await.unwrap();
        assert_ne!(before, after);
        let there: bool = sqlx::query_scalar("SELECT to_regclass('left_behind') IS NOT NULL")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert!(!there, "what nobody committed is gone");

        // And one that is fine stays.
        let again: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&pool).await.unwrap();
        assert_eq!(after, again);
    }

    #[tokio::test]
    async fn neither_a_statement_nor_a_pause_between_two_lasts_for_ever() {
        let db = TestDb::new().await.unwrap();
        let pool = crate::open(&db.url()).await.unwrap();
        for (setting, most) in [
            ("statement_timeout", crate::STATEMENT_TIMEOUT),
            ("idle_in_transaction_session_timeout", crate::PAUSE_IN_TRANSACTION),
        ] {
            let show =
                sqlx::AssertSqlSafe(format!("SELECT current_setting('{setting}')::interval = '{most}'"));
            let holds: bool = sqlx::query_scalar(show).fetch_one(&pool).await.unwrap();
            assert!(holds, "{setting}");
        }
    }
}
