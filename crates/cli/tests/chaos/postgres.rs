//! A Postgres cluster that nobody else uses, so that restarting it disturbs nobody else.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgPool};
use store::private::{Options, Server};
use tokio::sync::Mutex;

use crate::processes::{Signal, signal};
use crate::schedule::Restart;

const DATABASE: &str = "chaos";

/// One of several such clusters of this target folder, held by one harness at a time.
pub(crate) struct Cluster {
    /// Its number; no other harness on this machine's target folder has the same now.
    pub(crate) slot: u8,
    options: Options,
    server: Mutex<Server>,
    _lock: File,
}

impl Cluster {
    /// Takes the first that is free.
    pub(crate) async fn take(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        for slot in 1..=100 {
            let lock = File::create(folder.join(format!("slot-{slot}.lock")))?;
            if lock.try_lock().is_ok() {
                let options = Options { data: folder.join(format!("pg-{slot}")), durable: false };
                let server = Mutex::new(Server::start(options.clone()).await?);
                return Ok(Self { slot, options, server, _lock: lock });
            }
        }
        anyhow::bail!("a hundred harnesses are at work in {}", folder.display())
    }

    /// A fresh database; its URL, past every proxy.
    pub(crate) async fn fresh(&self) -> anyhow::Result<String> {
        Ok(self.server.lock().await.fresh_database(DATABASE).await?)
    }

    /// A pool that outlives restarts.
    pub(crate) fn pool(&self, url: &str) -> anyhow::Result<PgPool> {
        let options: PgConnectOptions = url.parse()?;
        let options = options.application_name("harness").disable_statement_logging();
        let pool = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(3));
        Ok(pool.connect_lazy_with(options))
    }

    /// Where it listens.
    pub(crate) fn socket(url: &str) -> anyhow::Result<PathBuf> {
        let options: PgConnectOptions = url.parse()?;
        let folder = options.get_socket().ok_or_else(|| anyhow::anyhow!("{url} names no socket"))?;
        Ok(folder.join(".s.PGSQL.5432"))
    }

    /// How the servers reach it, through a proxy.
    pub(crate) fn through(port: u16) -> String {
        format!("postgres://firebreak@127.0.0.1:{port}/{DATABASE}?sslmode=disable")
    }

    pub(crate) async fn restart(&self, how: Restart, down: Duration, pool: &PgPool) -> anyhow::Result<()> {
        let mut server = self.server.lock().await;
        if how == Restart::Crash {
            let pid: Option<i32> = sqlx::query_scalar(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'firebreak' ORDER BY pid LIMIT 1",
            )
            .fetch_optional(pool)
            .await?;
            if let Some(pid) = pid.and_then(|pid| u32::try_from(pid).ok()) {
                signal(pid, Signal::Kill);
            }
            return Ok(());
        }
        let Some(pid) = self.postmaster(&server.folder()) else { return Ok(()) };
        signal(pid, if how == Restart::Fast { Signal::Interrupt } else { Signal::Quit });
        // An end in order waits for nothing but a checkpoint.
        for _ in 0..3000 {
            if !signal(pid, Signal::Probe) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(down).await;
        *server = Server::start(self.options.clone()).await?;
        Ok(())
    }

    fn postmaster(&self, folder: &Path) -> Option<u32> {
        let entries = fs::read_dir(folder).ok()?;
        let pid = entries.flatten().find_map(|e| fs::read_to_string(e.path().join("postmaster.pid")).ok())?;
        pid.lines().next()?.trim().parse().ok()
    }
}

/// Ends every so manieth connection of the servers.
pub(crate) async fn terminate(pool: &PgPool, every: i32) -> sqlx::Result<()> {
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'firebreak' AND pid % $1 = 0",
    )
    .bind(every)
    .execute(pool)
    .await?;
    Ok(())
}
