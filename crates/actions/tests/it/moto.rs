//! A second opinion on the wire formats: moto, which knows nothing of our simulator.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use actions::Settings;
use aws_sdk_autoscaling::config::{BehaviorVersion, Credentials, Region};
use domain::inventory::{Credentials as Account, Inventory, ProxyFleet};
use serde_json::json;

use crate::harness::{Bench, Done, secret, strings};

const REGION: &str = "us-east-1";
const GROUP: &str = "proxysql-moto";

/// A moto server that ends with the test.
struct Moto {
    process: Child,
    endpoint: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn moto() -> Moto {
    let folder = std::env::var("FIREBREAK_MOTO").unwrap_or_else(|_| {
        panic!("FIREBREAK_MOTO (the folder that moto is installed in) is not set: run the tests with `cargo xtask test`")
    });
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut process = Command::new("python3")
        .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
        .env("PYTHONPATH", folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3 starts");
    // moto says nothing when it is ready: knock until it opens.
    loop {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Moto { process, endpoint: format!("http://127.0.0.1:{port}") };
        }
        assert!(
            process.try_wait().unwrap().is_none(),
            "moto ended; is it installed? `cargo xtask test` does that"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn hosts_are_launched_and_terminated_by_id() {
    let moto = moto().await;
    let keys = || Credentials::new("test", "test", None, None, "test");
    let autoscaling = aws_sdk_autoscaling::Client::from_conf(
        aws_sdk_autoscaling::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(keys())
            .endpoint_url(&moto.endpoint)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build(),
    );
    autoscaling
        .create_launch_configuration()
        .launch_configuration_name("proxysql")
        .image_id("ami-12c6146b")
        .instance_type("t3.micro")
        .send()
        .await
        .unwrap();
    autoscaling
        .create_auto_scaling_group()
        .auto_scaling_group_name(GROUP)
        .launch_configuration_name("proxysql")
        .availability_zones("us-east-1a")
        .min_size(2)
        .max_size(6)
        .desired_capacity(2)
        .send()
        .await
        .unwrap();

    let folder = tempfile::tempdir().unwrap();
    let fleet = ProxyFleet {
        id: "moto".into(),
        region: REGION.into(),
        account: None,
        group: GROUP.into(),
        target_group: None,
        port: 6033,
        admin_port: 6032,
        admin: Account { user: "admin".into(), password: secret(&folder, "admin", "secret") },
        clusters: Vec::new(),
        backend_connections: 1000,
    };
    let inventory = Inventory { fleets: vec![fleet], ..Inventory::default() };
    let settings = Settings { aws_endpoint: Some(moto.endpoint.clone()), ..Settings::default() };
    let bench = Bench::new(inventory, settings, folder).await;
    let group = json!({ "region": REGION, "group": GROUP });

    let before = bench.look("autoscaling.describe_group", group.clone()).await.unwrap();
    assert_eq!((&before["desired"], &before["min"], &before["max"]), (&json!(2), &json!(2), &json!(6)));
    let old = strings(&before["ids"]);
    assert_eq!(old.len(), 2);
    assert!(before["in_service"][0]["ip"].as_str().unwrap().starts_with("10."), "{before:#}");

    let with = |more: serde_json::Value| {
        let mut input = group.clone();
        for (key, value) in more.as_object().unwrap() {
            input[key] = value.clone();
        }
        input
    };
    let suspended = bench
        .change("autoscaling.suspend_processes", with(json!({ "processes": ["AZRebalance"] })))
        .await
        .unwrap();
    assert_eq!(suspended.output()["changed"], json!(["AZRebalance"]));
    bench.change("autoscaling.scale_to", with(json!({ "desired": 4 }))).await.unwrap();
    let launched = bench.look("autoscaling.describe_group", group.clone()).await.unwrap();
    let fresh: Vec<String> = strings(&launched["ids"]).into_iter().filter(|id| !old.contains(id)).collect();
    assert_eq!(fresh.len(), 2, "{launched:#}");
    bench
        .change("autoscaling.protect_instances", with(json!({ "instances": fresh, "protected": true })))
        .await
        .unwrap();
    for id in &old {
        let input = with(json!({ "instance": id, "decrement": true }));
        bench.change("autoscaling.terminate_instance", input.clone()).await.unwrap();
        let again = bench.change("autoscaling.terminate_instance", input).await.unwrap();
        assert!(matches!(again, Done::AlreadySo(_)), "{again:?}");
    }
    bench.take_back(suspended.undo()).await.unwrap();
    let after = bench.look("autoscaling.describe_group", group.clone()).await.unwrap();
    let mut left = strings(&after["ids"]);
    let mut wanted = fresh.clone();
    left.sort();
    wanted.sort();
    assert_eq!(left, wanted, "exactly the old ones went");
    assert_eq!((&after["desired"], &after["suspended"]), (&json!(2), &json!([])));
    assert!(after["in_service"].as_array().unwrap().iter().all(|host| host["protected"] == json!(true)));
    let hooks = bench.look("autoscaling.describe_hooks", group).await.unwrap();
    assert_eq!(hooks, json!({ "launching": [], "terminating": [] }));
    let calls = bench.calls();
    assert!(calls.iter().all(|call| call.status == "ok" && call.request_id.is_some()), "{calls:#?}");
}
