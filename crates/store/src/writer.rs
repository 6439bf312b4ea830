//! A connection of its own for what must be quick: prepared once, and never part of a pool whose borrowers may be cancelled.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, PgPool};

use crate::StoreError;
use crate::journal::{self, Append, Appended};
use crate::runs::{self, Created, NewRun};

/// How long a statement may take before its connection counts as dead: no packet may ever tell.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the write path says to the planner. Its statements are always the same, and always find a few rows by key: planning
/// them anew costs more than the write, and a scan that was cheap while the tables were small is not for long.
pub const SETTINGS: [&str; 2] = ["plan_cache_mode = force_generic_plan", "enable_seqscan = off"];

/// Writes journals and runs, several at once.
#[derive(Debug)]
pub struct Writer {
    pool: PgPool,
    connection: Option<PgConnection>,
    /// The texts that this connection knows to be kept, by hash. What another server has, only another connection can tell.
    texts: HashSet<String>,
}

impl Writer {
    /// A writer to the database of this pool; it connects when there is something to write.
    pub fn to(pool: &PgPool) -> Self {
        Self { pool: pool.clone(), connection: None, texts: HashSet::new() }
    }

    /// Appends to many journals at once, as `owner`; one answer for each, in the same order. An error means that nothing is
    /// known: try again with the same appends.
    pub async fn append(&mut self, owner: i64, appends: &[&Append]) -> Result<Vec<Appended>, StoreError> {
        soon(async {
            let mut connection = self.connection().await?;
            let answer = journal::append(&mut connection, owner, appends).await;
            self.put_back(connection, answer)
        })
        .await
    }

    /// Starts many runs at once; one answer for each, in the same order. After an error the same call may be made again: it
    /// finds what an earlier try wrote.
    ///
    /// A lock that one of several cannot have is an error for all of them: try each alone.
    pub async fn create(&mut self, births: &[(&NewRun, &Append)]) -> Result<Vec<Created>, StoreError> {
        soon(async {
            let mut connection = self.connection().await?;
            let answer = runs::create(&mut connection, births, &mut self.texts).await;
            self.put_back(connection, answer)
        })
        .await
    }

    async fn connection(&mut self) -> Result<PgConnection, StoreError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => {
                self.texts.clear();
                connect(&self.pool).await
            }
        }
    }

    /// A connection on which a statement failed is not used again. A refusal is an answer as any other: its transaction was
    /// the statement, and is over.
    fn put_back<T>(
        &mut self,
        connection: PgConnection,
        answer: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if answer.as_ref().err().is_none_or(StoreError::is_final) {
            self.connection = Some(connection);
        }
        answer
    }
}

async fn soon<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::Again("the database does not answer")),
    }
}

async fn connect(pool: &PgPool) -> Result<PgConnection, StoreError> {
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
    for setting in SETTINGS {
        sqlx::query(sqlx::AssertSqlSafe(format!("SET {setting}"))).execute(&mut connection).await?;
    }
    Ok(connection)
}
