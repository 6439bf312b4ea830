//! The simulated AWS is as AWS says it is: awscli and botocore, with Amazon's own service models, walk every operation that
//! the simulator offers. What they ask, and what must come of it, is in `tests/fidelity`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use sim::{Alarm, AlarmSubject, Cluster, Fleet, Hook, Options, Sim, TargetGroup, World};
use tokio::process::Command;

/// A world that has something of everything, and enough of it to fill more than one page.
fn world() -> World {
    let incident = World::incident_2024_05_07();
    let cluster = |n: usize| Cluster {
        id: format!("cluster-{n}"),
        readers: 1,
        fleet: None,
        ..incident.clusters[0].clone()
    };
    let alarm = |n: usize| Alarm {
        name: format!("cluster-{n}-logins"),
        of: AlarmSubject::WriterOf(format!("cluster-{n}")),
        ..incident.alarms[0].clone()
    };
    let like = &incident.fleets[0];
    let hook = |transition: &str| Hook {
        name: transition.to_lowercase(),
        transition: format!("autoscaling:EC2_INSTANCE_{transition}"),
        heartbeat_s: 40,
        default_result: "CONTINUE".into(),
    };
    let fleet = |asg: &str, desired: u32| Fleet {
        asg: asg.into(),
        desired,
        min: 1,
        max: desired + 2,
        target_group: Some(TargetGroup { name: asg.into(), ..like.target_group.clone().unwrap() }),
        ..like.clone()
    };
    World {
        name: "something of everything".into(),
        clusters: (1..=24).map(cluster).collect(),
        fleets: vec![
            fleet("proxysql-us", 6),
            Fleet {
                hooks: vec![hook("LAUNCHING"), hook("TERMINATING")],
                target_group: None,
                ..fleet("proxysql-hooked", 2)
            },
            fleet("proxysql-small", 2),
        ],
        alarms: (1..=3).map(alarm).collect(),
        faults: vec![],
        ..incident
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fidelity")
}

/// Python with awscli, which `cargo xtask test` installs and names in FIREBREAK_AWSCLI.
fn python() -> Command {
    let folder = std::env::var("FIREBREAK_AWSCLI")
        .expect("FIREBREAK_AWSCLI does not say where awscli is; run the tests with `cargo xtask test`");
    let program = std::env::var("FIREBREAK_PYTHON").unwrap_or_else(|_| "python3".into());
    let mut python = Command::new(program);
    python
        .env("PYTHONPATH", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    python
}

async fn succeeds(mut command: Command) {
    let output = command.output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "\n{out}\n{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_is_as_awss_own_models_have_it() {
    let sim = Sim::start(world(), Options { speed: 0.0, ..Options::default() }).await.unwrap();
    let mut walk = python();
    walk.arg(scripts().join("walk.py")).arg(sim.endpoint());
    succeeds(walk).await;
    sim.stop().await;
}

#[tokio::test]
async fn the_reading_of_answers_sees_what_is_wrong() {
    let mut tests = python();
    tests.arg(scripts().join("test_answers.py"));
    succeeds(tests).await;
}
