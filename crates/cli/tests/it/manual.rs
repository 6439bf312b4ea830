//! The manual of each runbook, pasted into a bash against the simulator, does what the runbook does: with awscli, jq and a
//! MySQL client, as a person has them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use domain::action::{Ctx, Registry};
use domain::run::{Node, State};
use domain::{Clock, Timestamp};
use engine::clock::{ScaledClock, SystemClock};
use serde_json::{Map, Value, json};
use sim::{FaultKind, Hook, Options, Phase, Sim, World};
use tempfile::TempDir;
use uuid::Uuid;

use crate::faults::{Stage, all_stages, changes, on_each_of};
use crate::kills::small_world;
use crate::served::{PATIENCE, Served, ended, inventory, webhooks};

/// So much slower than a run: programs of people take a second to start.
const SLOWER: f64 = 4.0;

/// Calls the awscli that is kept warm. (Its first major version forgets AWS_ENDPOINT_URL for RDS in us-east-1.)
const AWS: &str = r#"
exec 3<>/dev/tcp/127.0.0.1/PORT
{ printf '%s\0' --endpoint-url ENDPOINT "$@"; echo; } >&3
{ read -r code; read -r length; head -c "$length" >&2; cat; } <&3
exit "$code"
"#;

/// The port of an awscli that ends with this process.
fn awscli() -> u16 {
    static PORT: OnceLock<(u16, Child)> = OnceLock::new();
    let start = || {
        let folder = std::env::var("FIREBREAK_AWSCLI")
            .expect("FIREBREAK_AWSCLI does not say where awscli is; run the tests with `cargo xtask test`");
        let mut server = Command::new("python3")
            .args(["-c", include_str!("awscli.py")])
            .env("PYTHONPATH", folder)
            .env("AWS_ACCESS_KEY_ID", "person")
            .env("AWS_SECRET_ACCESS_KEY", "none")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
        (port.trim().parse().expect("awscli starts"), server)
    };
    PORT.get_or_init(start).0
}

/// A terminal with the programs of a person, whose clock runs with the simulator's.
struct Terminal {
    folder: TempDir,
    registry: Registry,
    /// The simulator's.
    clock: Arc<dyn Clock>,
}

impl Terminal {
    async fn at(sim: &Sim) -> Self {
        let clock = sim.clock();
        let (speed, passes) = (clock.speed().max(1.0), clock.speed());
        let (simulated, real) = (clock.now(), SystemClock.now());
        let seconds = |at: Timestamp| at.timestamp_micros() as f64 / 1e6;
        let folder = tempfile::tempdir().unwrap();
        let places = inventory(&sim.world_info(), folder.path());
        let hooks = webhooks(sim, folder.path());
        let config = json!({ "inventory": places, "webhooks": hooks });
        std::fs::write(folder.path().join("firebreak.yaml"), config.to_string()).unwrap();
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        for (name, text) in [
            ("aws", AWS.replace("PORT", &awscli().to_string()).replace("ENDPOINT", sim.endpoint())),
            ("sleep", format!("PATH=${{PATH#*:}} exec sleep \"$(awk \"BEGIN {{ print $1 / {speed} }}\")\"")),
            (
                "date",
                format!(
                    "PATH=${{PATH#*:}}\ncase $1 in +%s) awk \"BEGIN {{ printf \\\"%.0f\\\", {} + ($(date +%s.%N) - {}) * {passes} }}\" ;; *) date \"$@\" ;; esac",
                    seconds(simulated),
                    seconds(real)
                ),
            ),
        ] {
            executable(&bin.join(name), &format!("#!/bin/bash\n{text}\n"));
        }
        let settings =
            actions::Settings { aws_endpoint: Some(sim.endpoint().into()), ..actions::Settings::default() };
        let clock = ScaledClock::set(simulated, passes);
        let places = Arc::new(serde_json::from_value(places).unwrap());
        let registry = actions::registry(places, settings).await.unwrap();
        Self { folder, registry, clock: Arc::new(clock) }
    }

    /// Other runbooks than the embedded ones.
    fn with_runbooks(&self, runbooks: &[(&str, &str)]) {
        let folder = self.folder.path().join("runbooks");
        std::fs::create_dir(&folder).unwrap();
        for (name, text) in runbooks {
            std::fs::write(folder.join(name).with_extension("yaml"), text).unwrap();
        }
        let file = self.folder.path().join("firebreak.yaml");
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        config["runbooks"] = json!(folder);
        std::fs::write(file, config.to_string()).unwrap();
    }

    /// The blocks of the manual, in order.
    fn blocks(&self, runbook: &str, inputs: &Value) -> String {
        let given = inputs.as_object().unwrap().iter().map(|(name, value)| {
            format!("--input={name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        });
        let output = Command::new(env!("CARGO_BIN_EXE_firebreak"))
            .args(["runbook", "manual", runbook, "--config"])
            .arg(self.folder.path().join("firebreak.yaml"))
            .args(given)
            .output()
            .unwrap();
        let page = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        blocks_of(&page)
    }

    /// What a bash says that these lines are pasted into.
    async fn paste(&self, lines: &str) -> String {
        let script = self.folder.path().join("pasted.sh");
        std::fs::write(&script, lines).unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut bash = Command::new("bash");
        bash.arg(&script)
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()))
            .env("HOME", self.folder.path());
        let output = tokio::task::spawn_blocking(move || bash.output().unwrap()).await.unwrap();
        let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        format!("{said}{told}")
    }

    /// What an action sees.
    async fn see(&self, action: &str, input: &Value) -> Value {
        let ctx = Ctx::looking(self.clock.clone(), Duration::from_secs(20));
        let action = self.registry.get(action).unwrap();
        action.observe(&ctx, input).await.unwrap_or_else(|e| panic!("{input}: {e}"))
    }

    /// What there is in the end, as far as two worlds can be compared.
    async fn world(&self, sim: &Sim, old: &BTreeSet<String>) -> Value {
        let info = sim.world_info();
        let mut seen = Map::new();
        for fleet in &info.fleets {
            let group = self
                .see("autoscaling.describe_group", &json!({ "region": fleet.region, "group": fleet.asg }))
                .await;
            let hosts = group["in_service"].as_array().unwrap();
            let kept = hosts.iter().filter(|host| old.contains(host["id"].as_str().unwrap())).count();
            let protected = hosts.iter().filter(|host| host["protected"] == json!(true)).count();
            let sizes = ["desired", "min", "max", "suspended", "pending", "leaving"]
                .map(|field| group[field].clone());
            seen.insert(fleet.asg.clone(), json!([sizes, hosts.len(), kept, protected]));
        }
        for cluster in &info.clusters {
            let input = json!({ "region": info.region, "cluster": cluster.id });
            let seen_now = self.see("rds.describe_cluster", &input).await;
            let members = seen_now["members"].as_array().unwrap().iter();
            let members: Vec<_> = members
                .map(|m| ["id", "writer", "tier", "status", "class", "pending"].map(|field| m[field].clone()))
                .collect();
            seen.insert(cluster.id.clone(), json!([seen_now["status"], members]));
        }
        Value::Object(seen)
    }

    /// The ids of the hosts that there are.
    async fn hosts(&self, sim: &Sim) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for fleet in sim.world_info().fleets {
            let group = self
                .see("autoscaling.describe_group", &json!({ "region": fleet.region, "group": fleet.asg }))
                .await;
            ids.extend(group["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()));
        }
        ids
    }
}

/// What a person copies of a manual.
fn blocks_of(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1).map(|block| block.split("\n```").next().unwrap());
    blocks.collect::<Vec<_>>().join("\n")
}

fn executable(file: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn slow() -> Options {
    Options { speed: 30.0, ..Options::default() }
}

#[test]
fn the_commands_of_each_manual_leave_the_world_as_the_runbook_does() {
    on_each_of(all_stages(), |stage| async move {
        let by_firebreak = by_firebreak(&stage).await;
        let sim = stage.sim_at(stage.speed / SLOWER).await;
        let terminal = Terminal::at(&sim).await;
        let old = terminal.hosts(&sim).await;
        let said = terminal.paste(&terminal.blocks(&stage.runbook, &stage.inputs(&sim))).await;
        assert!(!said.contains("STOP"), "{}:\n{said}", stage.runbook);
        assert_eq!(terminal.world(&sim, &old).await, by_firebreak, "{}:\n{said}", stage.runbook);
        for cluster in sim.world_info().clusters {
            let healed = sim.error_share(&cluster.id) < 0.001 || stage.runbook == "diagnose-logins";
            assert!(healed, "{} still fails:\n{said}", cluster.id);
        }
    });
}

/// The world after a run.
async fn by_firebreak(stage: &Stage) -> Value {
    let sim = stage.sim().await;
    let terminal = Terminal::at(&sim).await;
    let old = terminal.hosts(&sim).await;
    let served = Served::on(&sim).await;
    let run = stage.begin(&sim, &served, &served.person().await).await;
    let row = ended(&served.db, run).await;
    assert_eq!(row.state, "succeeded", "{}: {:?}", stage.runbook, row.message);
    terminal.world(&sim, &old).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_of_a_run_is_done_by_hand_and_what_it_changed_is_taken_back() {
    let stage = all_stages().into_iter().find(|stage| stage.runbook == "shed-load").unwrap();
    let sim = stage.sim_at(30.0).await;
    let terminal = Terminal::at(&sim).await;
    let served = Served::on(&sim).await;
    let person = served.person().await;
    let mut shed = sim.hold("Shed", Phase::AfterEffect);
    let run = stage.begin(&sim, &served, &person).await;
    shed.reached().await.unwrap();
    // Nothing follows the change that is under way.
    let reason = json!({ "ask": "pause", "reason": "a person goes on" });
    person.post(&format!("/api/v1/runs/{run}/ask"), &reason).await;
    shed.release();
    // In either order: the answer comes in while the pause is being written, or after.
    let made = |state: &State| state.node(&"shed".into()).is_some_and(Node::was_made);
    until(&served, run, |state| state.word() == "paused" && made(state)).await;

    let rest = blocks_of(&person.text(&format!("/runs/{run}/by-hand")).await);
    assert!(!rest.contains("change bash -c"), "the change is not made again: {rest}");
    let said = terminal.paste(&rest).await;
    assert!(!said.contains("STOP"), "{said}");
    let made: Vec<String> = changes(&sim).into_iter().map(|c| c.operation).collect();
    assert_eq!(made, ["Shed", "StopShedding"], "{said}");
    assert!(sim.error_share("shard-b") < 0.001, "{said}");
}

/// Waits until a run is as wanted.
async fn until(served: &Served, run: Uuid, wanted: impl Fn(&State) -> bool) {
    let mut bell = store::listener::PgListener::connect_with(served.db.pool()).await.unwrap();
    bell.listen("firebreak").await.unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        let state = State::replay(&store::runs::journal(served.db.pool(), run).await.unwrap()).unwrap();
        if wanted(&state) {
            return;
        }
        assert!(Instant::now() < end, "it is {}", state.word());
        let _ = tokio::time::timeout(Duration::from_secs(1), bell.recv()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_that_says_no_holds_every_later_command_back() {
    let world = World { faults: Vec::new(), ..small_world() };
    let sim = Sim::start(world, slow()).await.unwrap();
    let terminal = Terminal::at(&sim).await;
    let inputs = json!({ "fleet": "proxysql-us", "cluster": "shard-b" });
    let said = terminal.paste(&terminal.blocks("replace-proxysql", &inputs)).await;
    assert!(said.contains("STOP: hosts_fail: Every login through every host works"), "{said}");
    assert!(said.contains("not done, because of: hosts_fail"), "{said}");
    assert!(changes(&sim).is_empty(), "{said}");
}

const PARENT: &str = r#"
runbook: parent
title: All forms that hold others
when: In a test.
risk: low
inputs:
  names: { type: list, of: string, description: Some names }
steps:
  - id: said
    each: inputs.names
    steps:
      - id: loud
        value: "${item}!"
  - id: all_said
    assert: steps.said.map(s, s.key + " " + s.loud).join(" ") == "it's it's! $b $b!"
    message: "It was said: ${steps.said}."
  - id: both
    together:
      left: [{ id: one, value: "${size(steps.said)}" }]
      right: [{ id: one, value: "${size(steps.said) + 1}" }]
  - id: two_and_three
    assert: steps.both.left.one == 2 && steps.both.right.one == 3
    message: "They are ${steps.both}."
  - id: pick
    value: '${steps.both.left.one == 2 ? "shard-b" : "shard-a"}'
  - id: no
    if: steps.both.left.one == 3
    value: never
  - id: pause
    wait: 5s
  - id: inner
    run: child
    with: { cluster: "${steps.pick}", word: "${steps.said[0].loud}" }
  - id: answered
    assert: steps.inner.answer == "shard-b of us-east-1 says it's! (quietly)" && steps.no == null
    message: "It says ${steps.inner} and ${steps.no}."
"#;

const CHILD: &str = r#"
runbook: child
title: A part
when: In a test.
risk: low
inputs:
  cluster: { type: cluster, description: Which }
  word: { type: string, description: A word }
  how: { type: string, default: quietly, description: How }
steps:
  - id: pick
    value: "(${inputs.how})"
  - id: answer
    value: "${inputs.cluster.id} of ${inputs.cluster.region} says ${inputs.word} ${steps.pick}"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_a_step_means_by_hand_what_it_means_in_a_run() {
    let sim = Sim::start(small_world(), slow()).await.unwrap();
    let terminal = Terminal::at(&sim).await;
    terminal.with_runbooks(&[("parent", PARENT), ("child", CHILD)]);
    let said = terminal.paste(&terminal.blocks("parent", &json!({ "names": "it's, $b" }))).await;
    assert!(
        !said.contains("STOP") && said.contains("answered: ok") && said.contains("all_said: ok"),
        "{said}"
    );
}

/// Something to look at with each action.
fn input_of(action: &str, hosts: &[Value], target_group: &str, endpoint: &str) -> Option<Value> {
    let group = json!({ "region": "us-east-1", "group": "proxysql-us" });
    let cluster = json!({ "region": "us-east-1", "cluster": "shard-e" });
    Some(match action {
        "autoscaling.describe_activities"
        | "autoscaling.describe_group"
        | "autoscaling.describe_launches"
        | "autoscaling.describe_hooks"
        | "autoscaling.describe_refreshes" => group,
        "autoscaling.describe_instance" => {
            json!({ "region": "us-east-1", "group": "proxysql-us", "instance": hosts[0]["id"] })
        }
        "cloudwatch.describe_alarms" => json!({ "region": "us-east-1", "prefix": "shard-" }),
        "cloudwatch.metric" => {
            json!({ "region": "us-east-1", "metric": "CPUUtilization", "dimensions": { "DBInstanceIdentifier": "shard-e-1" } })
        }
        "ec2.describe_instances" => {
            json!({ "region": "us-east-1", "instances": [hosts[0]["id"], hosts[1]["id"]] })
        }
        "elbv2.target_health" => json!({ "region": "us-east-1", "target_group": target_group }),
        "mysql.login_matrix" => json!({ "fleet": "proxysql-us", "hosts": hosts, "tries": 2 }),
        "proxysql.status" | "proxysql.statistics" => json!({ "fleet": "proxysql-us", "host": hosts[0] }),
        "rds.blue_green_deployments" | "rds.describe_cluster" | "rds.failover_events" => cluster,
        "rds.orderable_zones" => {
            json!({ "region": "us-east-1", "class": "db.r6i.12xlarge", "engine_version": "8.0.mysql_aurora.3.04.2" })
        }
        "mysql.replica_status" => {
            json!({ "cluster": "shard-e", "instance": "shard-e-2", "endpoint": endpoint })
        }
        _ => return None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_looked_at_by_hand_is_what_the_actions_see() {
    let mut world = World { faults: Vec::new(), ..small_world() };
    world.fleets[0].hooks = vec![Hook {
        name: "warm".into(),
        transition: "autoscaling:EC2_INSTANCE_LAUNCHING".into(),
        heartbeat_s: 60,
        default_result: "CONTINUE".into(),
    }];
    let sim = Sim::start(world, Options { speed: 0.0, ..Options::default() }).await.unwrap();
    sim.strike(FaultKind::InstanceRefresh { fleet: "proxysql-us".into(), duration_s: 3600 });
    sim.strike(FaultKind::BlueGreen { cluster: "shard-e".into() });
    let terminal = Terminal::at(&sim).await;
    let ids: Vec<String> = terminal.hosts(&sim).await.into_iter().collect();
    let lines = format!(
        "set -e
aws rds failover-db-cluster --region us-east-1 --db-cluster-identifier shard-e --target-db-instance-identifier shard-e-2
aws autoscaling suspend-processes --region us-east-1 --auto-scaling-group-name proxysql-us --scaling-processes AZRebalance
aws autoscaling set-instance-protection --region us-east-1 --auto-scaling-group-name proxysql-us --instance-ids {} --protected-from-scale-in
aws autoscaling set-desired-capacity --region us-east-1 --auto-scaling-group-name proxysql-us --desired-capacity 3",
        ids[0]
    );
    let said = terminal.paste(&lines).await;
    assert!(!said.contains("error"), "{said}");
    sim.step(Duration::from_secs(60)).await.unwrap();

    let group = json!({ "region": "us-east-1", "group": "proxysql-us" });
    let hosts =
        terminal.see("autoscaling.describe_group", &group).await["in_service"].as_array().unwrap().clone();
    let target_group = sim.world_info().fleets[0].target_group_arn.clone().unwrap();
    let shard_e =
        terminal.see("rds.describe_cluster", &json!({ "region": "us-east-1", "cluster": "shard-e" })).await;
    let endpoint = shard_e["members"][0]["endpoint"].as_str().unwrap();
    let manual = terminal.blocks("replace-proxysql", &json!({ "fleet": "proxysql-us" }));
    let (prepare, _) = manual.split_once("\nlook group").unwrap();
    for action in terminal.registry.iter() {
        let spec = action.spec();
        let Some(body) = spec.by_hand else { continue };
        let input = input_of(spec.name, &hosts, &target_group, endpoint)
            .unwrap_or_else(|| panic!("{} is not compared: add an input above", spec.name));
        let words = input.as_object().unwrap().iter().map(|(name, value)| {
            format!(" {name}='{}'", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        });
        let lines = format!(
            "{prepare}\nlooking() {{\n  local \"$@\"\n{body}\n}}\nlooking{}",
            words.collect::<String>()
        );
        let said = terminal.paste(&lines).await;
        let by_hand: Value =
            serde_json::from_str(said.trim()).unwrap_or_else(|e| panic!("{}: {e}: {said}", spec.name));
        let seen = terminal.see(spec.name, &input).await;
        assert_eq!(told(&by_hand), told(&seen), "{}", spec.name);
    }
}

/// What was right when the line was written down would cost hosts by the time it is run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_is_taken_back_by_hand_as_far_as_it_did_not_happen() {
    let world = World { faults: Vec::new(), ..small_world() };
    let sim = Sim::start(world, Options { speed: 0.0, ..Options::default() }).await.unwrap();
    sim.strike(FaultKind::NoCapacity { zone: None });
    let terminal = Terminal::at(&sim).await;
    let manual = terminal.blocks("replace-proxysql", &json!({ "fleet": "proxysql-us" }));
    let (prepare, _) = manual.split_once("\nlook group").unwrap();
    let group = json!({ "region": "us-east-1", "group": "proxysql-us" });
    let command = |desired: u32, spare_hosts: bool| {
        let mut input = group.clone();
        (input["desired"], input["spare_hosts"]) = (desired.into(), spare_hosts.into());
        terminal.registry.get("autoscaling.scale_to").unwrap().command(&input).unwrap()
    };
    let said = terminal
        .paste(&format!("{prepare}\nback launch true {}\n{}\nput_back", command(1, true), command(3, false)))
        .await;
    let seen = terminal.see("autoscaling.describe_group", &group).await;
    assert_eq!(seen["desired"], 2, "{said}");
    assert_eq!(changes(&sim).len(), 2, "{said}");
}

/// What runbooks may ask of it: without what only a program measures, and with moments in one form.
fn told(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !["ms", "error"].contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), told(value)))
            .collect(),
        Value::Array(items) => items.iter().map(told).collect(),
        Value::String(text) => match text.parse::<domain::Timestamp>() {
            Ok(moment) => json!(moment.timestamp()),
            Err(_) => value.clone(),
        },
        Value::Number(number) => json!(number.as_f64()),
        other => other.clone(),
    }
}
