//! The same engine, actions and server against moto, a third party's stand-in for AWS, for what moto implements: look,
//! scale out, terminate by id. Our simulator and our client cannot be wrong together.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::served::{PATIENCE, Served, ended, http};

const RUNBOOK: &str = r#"
runbook: replace-hosts-of-a-group
title: Replace the hosts of a group
when: Against an emulator that has no ProxySQL
risk: medium
inputs:
  fleet: { type: proxy_fleet, description: Which fleet }
locks: ["fleet:${inputs.fleet.id}"]
steps:
  - id: group
    use: autoscaling.describe_group
    with: { region: "${inputs.fleet.region}", group: "${inputs.fleet.group}" }
  - id: has_hosts
    assert: size(steps.group.in_service) == 2
    message: two hosts are expected
  - id: launch
    use: autoscaling.scale_to
    with: { region: "${inputs.fleet.region}", group: "${inputs.fleet.group}", desired: "${steps.group.desired + 2}" }
  - id: ready
    use: autoscaling.describe_group
    with: { region: "${inputs.fleet.region}", group: "${inputs.fleet.group}" }
    until: size(out.in_service.filter(h, !(h.id in steps.group.ids))) >= 2
    every: 1s
    timeout: 1m
  - id: remove
    each: steps.group.in_service
    at_once: 50%
    steps:
      - id: terminate
        use: autoscaling.terminate_instance
        with: { region: "${inputs.fleet.region}", group: "${inputs.fleet.group}", instance: "${item.id}", decrement: true }
        one_way: true
  - id: gone
    use: autoscaling.describe_group
    with: { region: "${inputs.fleet.region}", group: "${inputs.fleet.group}" }
    until: steps.group.ids.all(id, !(id in out.ids)) && out.desired == 2
    every: 1s
    timeout: 1m
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hosts_of_a_group_are_replaced_on_moto() {
    let moto = Moto::start().await;
    moto.create_group("proxysql-moto", 2).await;
    let folder = tempfile::tempdir().unwrap();
    let runbooks = folder.path().join("runbooks");
    std::fs::create_dir(&runbooks).unwrap();
    std::fs::write(runbooks.join("replace-hosts-of-a-group.yaml"), RUNBOOK).unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "none").unwrap();
    let account = json!({ "user": "nobody", "password": { "file": secret } });
    let config = json!({
        "aws": { "endpoint": moto.endpoint },
        "runbooks": runbooks,
        "inventory": {
            "clusters": [{ "id": "none", "region": "us-east-1", "endpoint": "127.0.0.1", "port": 1, "probe": account }],
            "fleets": [{
                "id": "proxysql", "region": "us-east-1", "group": "proxysql-moto", "admin": account, "clusters": ["none"],
            }],
        },
    });
    let served = Served::with(config, folder).await;
    let person = served.person().await;
    let run = person.start("replace-hosts-of-a-group", json!({ "fleet": "proxysql" }), None).await;
    let row = ended(&served.db, run).await;
    assert_eq!(row.state, "succeeded", "{:?}", row.message);
    let calls = store::calls::of_run(served.db.pool(), run, 0).await.unwrap();
    let made: Vec<_> =
        calls.iter().filter(|c| c.mutating).map(|c| (c.operation.as_str(), c.status.as_str())).collect();
    let terminated = ("TerminateInstanceInAutoScalingGroup", "ok");
    assert_eq!(made, [("SetDesiredCapacity", "ok"), terminated, terminated]);
    assert!(calls.iter().all(|c| c.request_id.is_some()), "{calls:#?}");
}

/// moto's server, which `cargo xtask test` installs and names in FIREBREAK_MOTO.
struct Moto {
    process: Child,
    endpoint: String,
    client: reqwest::Client,
}

impl Moto {
    async fn start() -> Self {
        let folder = std::env::var("FIREBREAK_MOTO")
            .expect("FIREBREAK_MOTO does not say where moto is; run the tests with `cargo xtask test`");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("python3")
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .env("PYTHONPATH", folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let client = http();
        let moto = Self { process, endpoint: format!("http://127.0.0.1:{port}"), client };
        let end = Instant::now() + PATIENCE;
        while moto.client.get(format!("{}/moto-api/", moto.endpoint)).send().await.is_err() {
            assert!(Instant::now() < end, "moto never listened");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        moto
    }

    async fn create_group(&self, group: &str, hosts: u32) {
        let image = ("ImageId", "ami-12c6146b".to_owned());
        let kind = ("InstanceType", "t3.small".to_owned());
        self.call("CreateLaunchConfiguration", &[("LaunchConfigurationName", group.to_owned()), image, kind])
            .await;
        let number = hosts.to_string();
        self.call(
            "CreateAutoScalingGroup",
            &[
                ("AutoScalingGroupName", group.to_owned()),
                ("LaunchConfigurationName", group.to_owned()),
                ("MinSize", number.clone()),
                ("MaxSize", "10".to_owned()),
                ("DesiredCapacity", number),
                ("AvailabilityZones.member.1", "us-east-1a".to_owned()),
                ("AvailabilityZones.member.2", "us-east-1b".to_owned()),
            ],
        )
        .await;
    }

    async fn call(&self, action: &str, parameters: &[(&str, String)]) {
        let mut form = vec![("Action", action.to_owned()), ("Version", "2011-01-01".to_owned())];
        form.extend(parameters.iter().cloned());
        let credential = "Credential=test/20240507/us-east-1/autoscaling/aws4_request";
        let answer = self
            .client
            .post(&self.endpoint)
            .header(
                "authorization",
                format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0"),
            )
            .form(&form)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{action}: {}", answer.text().await.unwrap());
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
