//! A small AWS: two fleets of two hosts that boot within seconds, and what a server must be told about it.

use std::path::Path;

use serde_json::{Value, json};
use sim::{Fleet, TargetGroup, World, WorldInfo};

use crate::schedule::{FLEETS, LEASE};

pub(crate) fn small() -> World {
    let mut world = World::incident_2024_05_07();
    world.name = "chaos".into();
    world.alarms.clear();
    world.clusters.retain(|c| FLEETS.iter().any(|(_, cluster)| *cluster == c.id));
    let model = world.fleets.remove(0);
    for (fleet, _) in FLEETS {
        world.fleets.push(Fleet {
            asg: fleet.into(),
            min: 1,
            desired: 2,
            max: 8,
            boot_s: (2, 5),
            target_group: Some(TargetGroup {
                name: fleet.into(),
                deregistration_delay_s: 5,
                initial_health_s: 3,
                unhealthy_after_s: 60,
            }),
            ..model.clone()
        });
    }
    for cluster in &mut world.clusters {
        cluster.fleet = FLEETS.iter().find(|(_, c)| *c == cluster.id).map(|(fleet, _)| (*fleet).to_owned());
    }
    world.clients.connections = 100.0;
    world.clients.drain_half_life_s = 2.0;
    let (fleet, cluster) = FLEETS[0];
    world.faults = vec![sim::TimedFault {
        at_s: 0,
        fault: sim::FaultKind::SickHosts {
            fleet: fleet.into(),
            cluster: cluster.into(),
            from: 0.9,
            to: 0.95,
            ramp_s: 60,
            hosts: None,
            new_hosts_too: false,
        },
    }];
    world
}

/// The configuration of a server.
pub(crate) fn config(world: &WorldInfo, sim: &str, listen: &str, folder: &Path) -> anyhow::Result<Value> {
    let account = |user: &str, password: &str| -> anyhow::Result<Value> {
        let file = folder.join(user);
        std::fs::write(&file, password)?;
        Ok(json!({ "user": user, "password": { "file": file } }))
    };
    let mut clusters = Vec::new();
    for c in &world.clusters {
        clusters.push(json!({
            "id": c.id, "region": world.region, "endpoint": c.endpoint, "port": c.port,
            "customers_percent": c.customers_percent, "max_connections": c.max_connections,
            "probe": account(&c.probe_user, &c.probe_password)?,
        }));
    }
    let mut fleets = Vec::new();
    for f in &world.fleets {
        let behind: Vec<_> = world.clusters.iter().filter(|c| c.fleet == f.asg).map(|c| &c.id).collect();
        fleets.push(json!({
            "id": f.asg, "region": f.region, "group": f.asg, "target_group": f.target_group_arn,
            "port": f.mysql_port, "admin_port": f.admin_port,
            "admin": account(&f.admin_user, &f.admin_password)?,
            "clusters": behind, "backend_connections": f.backend_connections,
        }));
    }
    Ok(json!({
        "listen": listen,
        "environment": "chaos",
        "runbooks": folder.join("runbooks"),
        "inventory": { "clusters": clusters, "fleets": fleets },
        "aws": { "endpoint": sim },
        "simulation": { "control": sim },
        // The prober is not what is tested here, and its logins are not free.
        "prober": { "every_s": 1_000_000 },
        "worker": { "lease_s": LEASE.as_secs_f64() },
    }))
}

/// The runbooks: those made for chaos, and the real one.
pub(crate) fn write_runbooks(folder: &Path) -> std::io::Result<()> {
    let folder = folder.join("runbooks");
    std::fs::create_dir_all(&folder)?;
    for (name, text) in [
        ("juggle", include_str!("runbooks/juggle.yaml")),
        ("swap", include_str!("runbooks/swap.yaml")),
        ("replace-proxysql", include_str!("../../../../runbooks/replace-proxysql.yaml")),
    ] {
        std::fs::write(folder.join(format!("{name}.yaml")), text)?;
    }
    Ok(())
}
