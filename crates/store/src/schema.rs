//! The schema: brought up to date by whoever owns it, and only looked at by everybody else.
//!
//! In production two roles share the work: the owner runs `firebreak migrate`, the application (`firebreak_app`, which
//! migration 5 makes) may add to the history and change nothing in it. A process that may migrate does so when it
//! connects, so that a demo, a test and a small installation need no second command. A schema that is newer than this
//! program is fine: migrations only expand, so that old processes go on while new ones are rolled out.

use domain::Timestamp;
use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _, PgExecutor, PgPool};

use crate::{MIGRATOR, StoreError};

/// Migrations that stood on the main branch in two wordings (of how rights to read are handed on), with the checksum of the one that is
/// not here any more. Both make the same tables, so a database that had the other is up to date.
const OTHER_WORDINGS: [(i64, &str); 2] = [
    (20, "7d2dfc3f8a8f79bc3bfd90f0dcbe58a403e36d487288c37d447f865b28961f360200b75a5227127111de69ae10995887"),
    (21, "83f3b3f1f9e3cbe72f7c37f8fd85c5b0ba958e88a8d88e23b4d89755ebcaf817c87672f58813b0c5239296375fabbb42"),
];

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
    // A connection of its own: a migration may take longer than any other statement.
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
    connection.execute("SET statement_timeout = 0").await?;
    let mut all = Migrator::with_migrations(as_recorded(&mut connection).await?);
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

/// The migrations, each in the wording that the database had. What is recorded there stays: a process of the version that brought it
/// up may still start.
async fn as_recorded(connection: &mut PgConnection) -> Result<Vec<Migration>, StoreError> {
    let mut all: Vec<Migration> = MIGRATOR.iter().cloned().collect();
    for (version, success, checksum, written) in done(connection).await? {
        if success && is_other_wording(version, &written) {
            all.iter_mut()
                .filter(|m| m.version == version)
                .for_each(|m| m.checksum = checksum.clone().into());
        }
    }
    Ok(all)
}

fn is_other_wording(version: i64, checksum: &str) -> bool {
    OTHER_WORDINGS.contains(&(version, checksum))
}

/// What the database has had: version, success, checksum, and that in hexadecimal.
async fn done(executor: impl PgExecutor<'_>) -> Result<Vec<(i64, bool, Vec<u8>, String)>, StoreError> {
    let done =
        sqlx::query_as("SELECT version, success, checksum, encode(checksum, 'hex') FROM _sqlx_migrations");
    match done.fetch_all(executor).await {
        Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("42P01") => Ok(Vec::new()), // no such table
        done => Ok(done?),
    }
}

/// The migrations that this program needs and the database has not had.
pub async fn missing(pool: &PgPool) -> Result<Vec<i64>, StoreError> {
    let done = done(pool).await?;
    let mut missing = Vec::new();
    for migration in MIGRATOR.iter() {
        match done.iter().find(|(version, ..)| *version == migration.version) {
            None => missing.push(migration.version),
            Some((version, false, ..)) => return Err(MigrateError::Dirty(*version).into()),
            Some((version, true, checksum, written))
                if *checksum != *migration.checksum && !is_other_wording(*version, written) =>
            {
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
