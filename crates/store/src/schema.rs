//! The schema: brought up to date by whoever owns it, and only looked at by everybody else.
//!
//! In production two roles share the work: the owner runs `firebreak migrate`, the application (`firebreak_app`, which
//! migration 5 makes) may add to the history and change nothing in it. A process that may migrate does so when it
//! connects, so that a demo, a test and a small installation need no second command. A schema that is newer than this
//! program is fine: migrations only expand, so that old processes go on while new ones are rolled out.

use domain::Timestamp;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _, PgPool};

use crate::{MIGRATOR, StoreError};

/// Makes sure that the schema has all that this program needs.
pub async fn ready(pool: &PgPool) -> Result<(), StoreError> {
    let missing = missing(pool).await?;
    if missing.is_empty() && !restored(pool).await? {
        return Ok(());
    }
    match migrate(pool).await {
        Err(StoreError::NotOwner { .. }) if missing.is_empty() => Err(StoreError::Restored),
        Err(StoreError::NotOwner { user }) => Err(StoreError::Behind { missing, user }),
        done => done,
    }
}

/// Brings the schema up to date, and grants the application's role what it may do. Needs the schema's owner.
pub async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    match bring_up(pool).await {
        Err(e) if is_refused(&e) => {
            let user = sqlx::query_scalar!(r#"SELECT current_user::text AS "user!""#).fetch_one(pool).await?;
            Err(StoreError::NotOwner { user })
        }
        done => done,
    }
}

async fn bring_up(pool: &PgPool) -> Result<(), StoreError> {
    let mut all = Migrator::with_migrations(MIGRATOR.iter().cloned().collect());
    // A connection of its own: a migration may take longer than any other statement.
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
    connection.execute("SET statement_timeout = 0").await?;
    all.set_ignore_missing(true).run(&mut connection).await?;
    let granted = sqlx::query_scalar!(
        r#"SELECT grant_application() AS "granted!" FROM pg_advisory_xact_lock(hashtext('firebreak.schema'), 0), resume_write_order()"#
    )
    .fetch_one(&mut connection)
    .await?;
    connection.close().await?;
    if !granted {
        tracing::warn!(
            "there is no role firebreak_app, and this user may not create it: only triggers keep the application from changing history"
        );
    }
    Ok(())
}

/// The migrations that this program needs and the database has not had.
pub async fn missing(pool: &PgPool) -> Result<Vec<i64>, StoreError> {
    let done: Vec<(i64, bool, Vec<u8>)> =
        match sqlx::query_as("SELECT version, success, checksum FROM _sqlx_migrations").fetch_all(pool).await
        {
            Ok(done) => done,
            Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("42P01") => Vec::new(), // no such table
            Err(e) => return Err(e.into()),
        };
    let mut missing = Vec::new();
    for migration in MIGRATOR.iter() {
        match done.iter().find(|(version, ..)| *version == migration.version) {
            None => missing.push(migration.version),
            Some((version, false, _)) => return Err(MigrateError::Dirty(*version).into()),
            Some((version, true, checksum)) if *checksum != *migration.checksum => {
                return Err(MigrateError::VersionMismatch(*version).into());
            }
            Some(_) => {}
        }
    }
    Ok(missing)
}

/// What the one who is connected may do to history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Who.
    pub user: String,
    /// Add to it.
    pub writes: bool,
    /// Change it.
    pub rewrites: bool,
}

/// As whom we are connected.
pub async fn standing(pool: &PgPool) -> Result<Standing, StoreError> {
    Ok(sqlx::query_as!(
        Standing,
        r#"SELECT current_user::text AS "user!", has_table_privilege('journal_line', 'INSERT') AS "writes!",
                  has_table_privilege('journal_line', 'UPDATE') AS "rewrites!""#
    )
    .fetch_one(pool)
    .await?)
}

/// The database's clock.
pub async fn clock(pool: &PgPool) -> Result<Timestamp, StoreError> {
    Ok(sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(pool).await?)
}

/// Whether the server's transaction ids lie behind those that are stored: the database came from a dump.
async fn restored(pool: &PgPool) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT coalesce((SELECT upto FROM seal ORDER BY n DESC LIMIT 1) > write_horizon(), false) AS "restored!""#
    )
    .fetch_one(pool)
    .await?)
}

/// Refused for want of a privilege.
fn is_refused(error: &StoreError) -> bool {
    let code = |e: &sqlx::Error| e.as_database_error().and_then(|e| e.code()).as_deref() == Some("42501");
    match error {
        StoreError::Database(e) => code(e),
        StoreError::Migration(MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _)) => code(e),
        _ => false,
    }
}
