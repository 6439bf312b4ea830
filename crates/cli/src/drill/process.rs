//! The process that a drill's engine lives in: a runtime of its own with connections of its own, so that it can die in the middle of
//! whatever it does, as by kill -9: nothing is handed back, and no answer is waited for.

use std::future::Future;

use anyhow::Context;
use engine::Engine;
use store::PgPool;
use tokio::runtime::{Builder, Runtime};

use crate::app::{self, Plan};

/// An engine that can be killed.
pub(super) struct Process {
    runtime: Option<Runtime>,
    engine: Engine,
}

impl Process {
    /// Starts one on the database at `url`.
    pub(super) async fn start(url: &str, plan: impl FnOnce(PgPool) -> Plan) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (url, handle) = (url.to_owned(), runtime.handle().clone());
        // In its own runtime from the first connection on: they die with it.
        let pool = tokio::task::spawn_blocking(move || handle.block_on(store::connect(&url))).await;
        let plan = match pool.context("the engine's connections")? {
            Ok(pool) => plan(pool),
            Err(e) => {
                runtime.shutdown_background();
                return Err(e.into());
            }
        };
        let launched = runtime.spawn(app::launch(plan)).await.context("the engine")?;
        match launched {
            Ok(engine) => Ok(Self { runtime: Some(runtime), engine }),
            Err(e) => {
                runtime.shutdown_background();
                Err(e)
            }
        }
    }

    /// Its engine, for what it knows by itself.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Does something within it.
    pub(super) async fn run<T, F>(&self, work: impl FnOnce(Engine) -> F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = anyhow::Result<T>> + Send + 'static,
    {
        let runtime = self.runtime.as_ref().context("the engine's process is dead")?;
        runtime.spawn(work(self.engine.clone())).await.context("the engine's process")?
    }

    /// kill -9.
    pub(super) fn kill(mut self) {
        self.end();
    }

    /// Lets it finish what is in flight.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.run(|engine| async move {
            engine.shut_down().await;
            engine.pool().close().await;
            Ok(())
        })
        .await
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
