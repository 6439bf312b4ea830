//! The template: a database with the schema in place, which test databases are copied from (tens of milliseconds,
//! however many migrations there are). Its name carries the hash of the migrations, so a changed one makes a new one.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{PrivateError, quoted};
use crate::{MIGRATOR, StoreError};

/// Test databases are called this, and a UUID of version 7, which begins with the time.
pub(super) const TEST_PREFIX: &str = "firebreak_test_";
const TEMPLATE_PREFIX: &str = "firebreak_template_";
/// Any number; whoever makes a template holds this advisory lock of the maintenance database.
const LOCK: i64 = 0x0066_6972_6562_7265;

/// The name of the template for this program's migrations.
pub(super) fn name() -> String {
    let mut hash = DefaultHasher::new();
    for migration in MIGRATOR.iter() {
        (migration.version, &migration.checksum).hash(&mut hash);
    }
    format!("{TEMPLATE_PREFIX}{:016x}", hash.finish())
}

/// Makes the template, unless it is there.
pub(super) async fn ensure(server: &PgConnectOptions) -> Result<(), PrivateError> {
    let name = name();
    let mut admin = PgConnection::connect_with(server).await?;
    if !is_ready(&mut admin, &name).await? {
        // Held until the connection is closed, whatever happens.
        sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut admin).await?;
        if !is_ready(&mut admin, &name).await? {
            build(&mut admin, server, &name).await?;
        }
    }
    admin.close().await?;
    Ok(())
}

/// It becomes a template last, so one that is none was left unfinished.
async fn is_ready(admin: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    let ready = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)";
    sqlx::query_scalar(ready).bind(name).fetch_one(admin).await
}

async fn build(admin: &mut PgConnection, server: &PgConnectOptions, name: &str) -> Result<(), PrivateError> {
    let quoted = quoted(name);
    run(admin, format!("DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")).await?;
    run(admin, format!("CREATE DATABASE {quoted} TEMPLATE template0")).await?;
    let mut inside = PgConnection::connect_with(&server.clone().database(name)).await?;
    MIGRATOR.run(&mut inside).await.map_err(StoreError::from)?;
    sqlx::query("SELECT grant_application()").execute(&mut inside).await?;
    inside.close().await?;
    // Copying needs a source that nobody is connected to.
    run(admin, format!("ALTER DATABASE {quoted} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false")).await
}

/// Removes all test databases, and the templates of other migrations. Call it on a private server that nobody uses yet.
pub(super) async fn remove_stale(url: &str) -> Result<(), PrivateError> {
    let mut admin = PgConnection::connect(url).await?;
    let stale: Vec<String> = sqlx::query_scalar(
        "SELECT datname FROM pg_database
         WHERE starts_with(datname, $1) OR (starts_with(datname, $2) AND datname <> $3)",
    )
    .bind(TEST_PREFIX)
    .bind(TEMPLATE_PREFIX)
    .bind(name())
    .fetch_all(&mut admin)
    .await?;
    for name in stale {
        remove(&mut admin, &name).await?;
    }
    admin.close().await?;
    Ok(())
}

/// Removes a database of ours, also one with connections, also a template.
pub(super) async fn remove(admin: &mut PgConnection, name: &str) -> Result<(), PrivateError> {
    let quoted = quoted(name);
    if name.starts_with(TEMPLATE_PREFIX) {
        run(admin, format!("ALTER DATABASE {quoted} WITH IS_TEMPLATE false")).await?;
    }
    run(admin, format!("DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")).await
}

/// Statements that take a name cannot take it as a parameter: it is [`quoted`].
pub(super) async fn run(admin: &mut PgConnection, sql: String) -> Result<(), PrivateError> {
    sqlx::query(AssertSqlSafe(sql)).execute(admin).await?;
    Ok(())
}
