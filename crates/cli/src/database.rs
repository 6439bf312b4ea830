//! Which database a command works on.

use std::path::PathBuf;

use anyhow::bail;

use crate::config::Config;

/// The flags that name a database.
#[derive(clap::Args)]
pub(crate) struct Database {
    /// The Postgres URL
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// The configuration file of the server, which refers to its database
    #[arg(long, env = "FIREBREAK_CONFIG")]
    config: Option<PathBuf>,
}

impl Database {
    /// The configuration, where one is named.
    pub(crate) fn config(&self) -> anyhow::Result<Option<Config>> {
        self.config.as_deref().map(Config::read).transpose()
    }

    /// Its URL.
    pub(crate) fn url(&self) -> anyhow::Result<String> {
        match (&self.database_url, &self.config) {
            (Some(url), _) => Ok(url.clone()),
            (None, Some(config)) => Config::read(config)?.database_url(),
            (None, None) => bail!("no database: give --database-url or --config, or set DATABASE_URL"),
        }
    }
}
