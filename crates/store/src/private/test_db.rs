//! A database per test: real, migrated, alone in it.

use std::thread;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::template::{self, TEST_PREFIX};
use super::{Options, PrivateError, Server, given, quoted};

/// A fresh database with the schema in place. Dropping this removes it, also if somebody is still connected; what a killed
/// test leaves behind is removed when the private server starts next.
#[derive(Debug)]
pub struct TestDb {
    name: String,
    server: PgConnectOptions,
    pool: PgPool,
}

/// One server per process. It is never dropped: the process's end is what lets go of it.
#[derive(Debug)]
struct Host {
    options: PgConnectOptions,
    _private: Option<Server>,
}

static HOST: OnceCell<Host> = OnceCell::const_new();

impl TestDb {
    /// A new database, on the server that `DATABASE_URL` names (whose user may create databases), else on the private one.
    pub async fn new() -> Result<Self, PrivateError> {
        let host = HOST.get_or_try_init(host).await?;
        let name = format!("{TEST_PREFIX}{}", Uuid::now_v7().simple());
        let server = host.options.clone();
        let mut admin = PgConnection::connect_with(&server).await?;
        let create = format!("CREATE DATABASE {} TEMPLATE {}", quoted(&name), quoted(&template::name()));
        template::run(&mut admin, create).await?;
        admin.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(12)
            .acquire_timeout(Duration::from_secs(30))
            .connect_lazy_with(server.clone().database(&name));
        Ok(Self { name, server, pool })
    }

    /// A pool of connections to it.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A pool of connections with the rights of another role.
    pub fn pool_as(&self, role: &str) -> PgPool {
        let options = self.server.clone().database(&self.name).options([("role", role)]);
        PgPoolOptions::new().max_connections(12).connect_lazy_with(options)
    }

    /// Its URL, for a second pool or another process.
    pub fn url(&self) -> String {
        self.server.clone().database(&self.name).to_url_lossy().to_string()
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let (name, server) = (self.name.clone(), self.server.clone());
        // A thread, because a runtime cannot wait inside another; waited for, so that the process's end does not cut it off.
        let remove = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let removed =
                runtime.map_err(sqlx::Error::from).map_err(PrivateError::from).and_then(|runtime| {
                    runtime.block_on(async {
                        let mut admin = PgConnection::connect_with(&server).await?;
                        template::remove(&mut admin, &name).await
                    })
                });
            if let Err(e) = removed {
                tracing::warn!("the test database {name} stays behind: {e}");
            }
        };
        if thread::spawn(remove).join().is_err() {
            tracing::warn!("the test database {} stays behind", self.name);
        }
    }
}

async fn host() -> Result<Host, PrivateError> {
    let (url, private) = match given()? {
        Some(url) => (url, None),
        None => {
            let server = Server::start(Options::fleeting()).await?;
            (server.url("postgres"), Some(server))
        }
    };
    let options: PgConnectOptions =
        url.parse().map_err(|e| PrivateError::Given(format!("not a Postgres URL: {e}")))?;
    let options = options.application_name("firebreak-test");
    if private.is_none() {
        remove_old(&options).await?;
    }
    template::ensure(&options).await?;
    Ok(Host { options, _private: private })
}

/// On a server that is not ours alone, nobody can tell whose a database is. One that is older than any test run lasts and
/// that nobody is connected to was left behind.
async fn remove_old(server: &PgConnectOptions) -> Result<(), PrivateError> {
    let mut admin = PgConnection::connect_with(server).await?;
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT datname FROM pg_database d
         WHERE starts_with(datname, $1) AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)",
    )
    .bind(TEST_PREFIX)
    .fetch_all(&mut admin)
    .await?;
    let now: i64 = sqlx::query_scalar("SELECT extract(epoch FROM clock_timestamp())::bigint")
        .fetch_one(&mut admin)
        .await?;
    for name in names {
        if created(&name).is_some_and(|at| now - at > 6 * 3600) {
            template::remove(&mut admin, &name).await?;
        }
    }
    admin.close().await?;
    Ok(())
}

/// When a test database was created, in seconds since 1970.
fn created(name: &str) -> Option<i64> {
    let id: Uuid = name.strip_prefix(TEST_PREFIX)?.parse().ok()?;
    i64::try_from(id.get_timestamp()?.to_unix().0).ok()
}
