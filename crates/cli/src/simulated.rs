//! A simulated AWS: its clock, its inventory, and the command that runs it alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use domain::inventory::{Cluster, Credentials, Inventory, ProxyFleet, SecretRef};
use domain::{Clock, Timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use sim::{SHEDDER_SECRET, STATUSPAGE_PAGE, STATUSPAGE_TOKEN, Sim, World, WorldInfo};

use crate::terminal::say;

/// `firebreak sim`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Simulated seconds per second
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 4599)]
    port: u16,
    /// Seed of what chance decides
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A speed at which a drill can be watched, and ends.
pub(crate) fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed| (0.1..=1000.0).contains(speed));
    speed.ok_or_else(|| "write 0.1 to 1000 simulated seconds per second".to_owned())
}

/// Runs the world of the incident until interrupted.
pub(crate) async fn sim(args: Args) -> anyhow::Result<ExitCode> {
    let options = sim::Options { speed: args.speed, seed: args.seed, http_port: args.port };
    let sim = Sim::start(World::incident_2024_05_07(), options).await?;
    let at = sim.endpoint();
    say(format!("A simulated AWS listens on {at} (AWS services, /_sim/…, /api/v1/query)."));
    say(format!("What happens there, and how to make it worse: {at}/_sim"));
    tokio::signal::ctrl_c().await?;
    sim.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// The lease of a process that nobody else shares its database with, and nobody takes over from: a laptop that sleeps in the middle
/// of a demo goes on where it was.
pub(crate) const ALONE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The clock of a simulator in this process.
pub(crate) struct SimClock(pub(crate) sim::Clock);

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.0.clone();
        async move { clock.sleep(duration).await }.boxed()
    }

    fn of_wall(&self, wall: Duration) -> Duration {
        wall.mul_f64(self.0.speed())
    }
}

/// The clock of a simulator in another process, as it stands now.
pub(crate) async fn remote_clock(control: &str) -> anyhow::Result<Arc<dyn Clock>> {
    #[derive(Deserialize)]
    struct Reading {
        now: Timestamp,
        speed: f64,
    }
    let url = format!("{}/_sim/clock", control.trim_end_matches('/'));
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
    let reading: Reading = client
        .get(&url)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .with_context(|| format!("simulation.control: no simulator answers at {url}"))?
        .json()
        .await
        .with_context(|| format!("simulation.control: what answers at {url} is no simulator"))?;
    Ok(Arc::new(engine::clock::ScaledClock::set(reading.now, reading.speed)))
}

/// How a simulated outside is reached: all of it is at one address.
pub(crate) fn actions(endpoint: &str, secrets: &Path) -> anyhow::Result<actions::Settings> {
    let shedder = actions::Webhook {
        url: format!("{endpoint}/shedder"),
        secret: secret(secrets, "load-shedder", SHEDDER_SECRET)?,
    };
    let page = actions::Statuspage {
        page: STATUSPAGE_PAGE.to_owned(),
        token: secret(secrets, "statuspage", STATUSPAGE_TOKEN)?,
        url: Some(endpoint.to_owned()),
    };
    Ok(actions::Settings {
        aws_endpoint: Some(endpoint.to_owned()),
        prometheus: Some(endpoint.to_owned()),
        webhooks: BTreeMap::from([("load-shedder".to_owned(), shedder)]),
        statuspage: Some(page),
        ..actions::Settings::default()
    })
}

/// Keeps a secret in a file: configuration only ever refers to secrets.
fn secret(folder: &Path, name: &str, value: &str) -> anyhow::Result<SecretRef> {
    std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    let file = folder.join(name);
    std::fs::write(&file, value).with_context(|| format!("{}", file.display()))?;
    Ok(SecretRef::File(file.display().to_string()))
}

/// The inventory of a simulated world; its passwords are files in `secrets`.
pub(crate) fn inventory(world: &WorldInfo, secrets: &Path) -> anyhow::Result<Inventory> {
    let credentials = |user: &str, password: &str| -> anyhow::Result<Credentials> {
        Ok(Credentials { user: user.to_owned(), password: secret(secrets, user, password)? })
    };
    let clusters = world.clusters.iter().map(|c| {
        Ok(Cluster {
            id: c.id.clone(),
            region: world.region.clone(),
            account: None,
            identifier: None,
            endpoint: c.endpoint.clone(),
            port: c.port,
            customers_percent: c.customers_percent,
            max_connections: c.max_connections,
            probe: credentials(&c.probe_user, &c.probe_password)?,
        })
    });
    let fleets = world.fleets.iter().map(|f| {
        Ok(ProxyFleet {
            id: f.asg.clone(),
            region: f.region.clone(),
            account: None,
            group: f.asg.clone(),
            target_group: f.target_group_arn.clone(),
            port: f.mysql_port,
            admin_port: f.admin_port,
            admin: credentials(&f.admin_user, &f.admin_password)?,
            clusters: world.clusters.iter().filter(|c| c.fleet == f.asg).map(|c| c.id.clone()).collect(),
            backend_connections: f.backend_connections,
        })
    });
    Ok(Inventory {
        account: Some(world.account.clone()),
        accounts: Vec::new(),
        clusters: clusters.collect::<anyhow::Result<_>>()?,
        fleets: fleets.collect::<anyhow::Result<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_world_that_stands_still_or_cannot_be_watched_is_refused() {
        assert_eq!(super::speed("20"), Ok(20.0));
        for wrong in ["0", "-1", "inf", "NaN", "1e9", "fast"] {
            assert!(super::speed(wrong).unwrap_err().contains("0.1 to 1000"), "{wrong}");
        }
    }
}
