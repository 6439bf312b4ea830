//! The login matrix: which pair of host and cluster works, and what is wrong where one does not.

use domain::action::ErrorClass;
use serde_json::{Value, json};
use sim::FaultKind;
use tokio::net::TcpListener;

use crate::harness::{Bench, Stage, inventory, quick, strings};

fn cell<'a>(matrix: &'a Value, list: &str, host: &str, cluster: &str) -> &'a Value {
    matrix[list]
        .as_array()
        .unwrap()
        .iter()
        .find(|cell| cell["host"] == host && cell["cluster"] == cluster)
        .unwrap_or_else(|| panic!("no cell {host} {cluster} in {matrix:#}"))
}

#[tokio::test]
async fn a_healthy_fleet_logs_in_everywhere() {
    let stage = Stage::calm().await;
    let group = stage.group().await;
    stage.calls();
    let input = json!({ "fleet": "us", "hosts": group["in_service"], "tries": 2 });
    let matrix = stage.look("mysql.login_matrix", input).await.unwrap();
    assert_eq!((&matrix["failures"], &matrix["direct_failures"]), (&json!(0), &json!(0)), "{matrix:#}");
    assert_eq!(matrix["direct"].as_array().unwrap().len(), 13);
    assert_eq!(matrix["via"].as_array().unwrap().len(), 6 * 13);
    assert_eq!(matrix["tried"], 2 * 7 * 13);
    assert_eq!(strings(&matrix["healthy_hosts"]), strings(&group["ids"]));
    let direct = cell(&matrix, "direct", "direct", "shard-b");
    assert_eq!((&direct["server_id"], &direct["read_only"]), (&json!("shard-b-1"), &json!(false)));
    let calls = stage.calls();
    assert_eq!(calls.len(), 1, "one record for all that worked: {calls:?}");
    assert_eq!(calls[0].status, "ok");
}

#[tokio::test]
async fn sick_hosts_fail_for_one_cluster_while_it_is_fine_directly() {
    let stage = Stage::calm().await;
    let group = stage.group().await;
    stage.sim.strike(FaultKind::SickHosts {
        fleet: "proxysql-us".into(),
        cluster: "shard-b".into(),
        from: 1.0,
        to: 1.0,
        ramp_s: 1,
        hosts: None,
        new_hosts_too: false,
    });
    stage.sim.clock().step(std::time::Duration::from_secs(30));
    let input = json!({ "fleet": "us", "hosts": group["in_service"], "clusters": ["shard-a", "shard-b"] });
    let matrix = stage.look("mysql.login_matrix", input).await.unwrap();
    assert_eq!(matrix["direct_failing_clusters"], json!([]));
    assert_eq!(matrix["failing_clusters"], json!(["shard-b"]));
    assert_eq!(strings(&matrix["failing_hosts"]), strings(&group["ids"]));
    assert_eq!(matrix["healthy_hosts"], json!([]));
    assert_eq!(matrix["failures"], 6);
}

#[tokio::test]
async fn wrong_credentials_fail_directly_too() {
    let stage = Stage::calm().await;
    let group = stage.group().await;
    stage.sim.strike(FaultKind::WrongCredentials { cluster: "shard-b".into() });
    let input = json!({ "fleet": "us", "hosts": group["in_service"], "clusters": ["shard-b"] });
    let matrix = stage.look("mysql.login_matrix", input).await.unwrap();
    assert_eq!(matrix["direct_failing_clusters"], json!(["shard-b"]));
    let error = &cell(&matrix, "direct", "direct", "shard-b")["error"];
    assert_eq!((&error["kind"], &error["code"]), (&json!("access_denied"), &json!(1045)), "{error}");
}

#[tokio::test]
async fn a_silent_host_times_out_on_the_greeting_and_a_closed_port_is_refused() {
    let stage = Stage::calm().await;
    let port = stage.sim.world_info().fleets[0].mysql_port;
    // Bound and never accepted from: the kernel takes the connection, nobody greets.
    let (silent, _listener) = free_address(port).await;
    let (closed, listener) = free_address(port).await;
    drop(listener);
    let input = json!({
        "fleet": "us", "clusters": ["shard-b"], "direct": false, "tries": 5,
        "hosts": [{ "id": "silent", "ip": silent }, { "id": "closed", "ip": closed }, { "id": "lost", "ip": "" }],
    });
    let matrix = stage.look("mysql.login_matrix", input).await.unwrap();
    let cell_of = |host| cell(&matrix, "via", host, "shard-b");
    assert_eq!(cell_of("silent")["error"]["kind"], "timeout_greeting");
    assert_eq!(cell_of("silent")["tries"], 2, "time-outs are not repeated for ever");
    assert_eq!(cell_of("closed")["error"]["kind"], "refused");
    assert_eq!(cell_of("closed")["tries"], 5);
    assert_eq!(cell_of("lost")["error"]["message"], "the host has no private address");
    assert_eq!(matrix["direct"], json!([]));
    let statuses: Vec<String> = stage.calls().into_iter().map(|call| call.status).collect();
    assert!(statuses.contains(&"2 of 2 failed: timeout_greeting".into()), "{statuses:?}");
}

#[tokio::test]
async fn a_pair_is_given_up_after_two_time_outs_also_when_it_fails_otherwise_between_them() {
    let stage = Stage::calm().await;
    let (address, listener) = free_address(stage.sim.world_info().fleets[0].mysql_port).await;
    // Every other connection hangs; the others are closed at once.
    tokio::spawn(async move {
        let mut held = Vec::new();
        for n in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            if n % 2 == 0 {
                held.push(stream);
            }
        }
    });
    let input = json!({
        "fleet": "us", "clusters": ["shard-b"], "direct": false, "tries": 10, "hosts": [{ "id": "h", "ip": address }],
    });
    let matrix = stage.look("mysql.login_matrix", input).await.unwrap();
    let cell = cell(&matrix, "via", "h", "shard-b");
    assert_eq!((&cell["tries"], &cell["failed"]), (&json!(3), &json!(3)), "{cell:#}");
}

#[tokio::test]
async fn a_host_that_keeps_the_old_writer_fails_as_read_only_and_only_beside_a_writable_endpoint() {
    let stage = Stage::calm().await;
    let group = stage.group().await;
    let ids = strings(&group["ids"]);
    stage.sim.strike(FaultKind::StuckWriter {
        fleet: "proxysql-us".into(),
        cluster: "shard-b".into(),
        hosts: Some(1),
    });
    let failover = json!({ "region": "us-east-1", "cluster": "shard-b", "target": "shard-b-2" });
    stage.change("rds.failover_cluster", failover).await.unwrap();
    stage.sim.clock().step(std::time::Duration::from_secs(60));
    let input = |direct: bool| json!({ "fleet": "us", "hosts": group["in_service"], "clusters": ["shard-b"], "tries": 3, "direct": direct });
    stage.calls();
    let matrix = stage.look("mysql.login_matrix", input(true)).await.unwrap();
    let stuck = cell(&matrix, "via", &ids[0], "shard-b");
    assert_eq!((&stuck["ok"], &stuck["failed"]), (&json!(false), &json!(3)), "{stuck:#}");
    assert_eq!((&stuck["error"]["kind"], &stuck["server_id"]), (&json!("read_only"), &json!("shard-b-1")));
    assert_eq!(
        (&matrix["failing_hosts"], &matrix["failures"], &matrix["direct_failures"]),
        (&json!([ids[0]]), &json!(3), &json!(0))
    );
    let statuses: Vec<String> = stage.calls().into_iter().map(|call| call.status).collect();
    assert!(statuses.contains(&"3 of 3 failed: read_only".into()), "{statuses:?}");
    // Without the direct login nobody can tell whether a read-only server is meant to be there.
    let matrix = stage.look("mysql.login_matrix", input(false)).await.unwrap();
    assert_eq!(matrix["failures"], 0, "{matrix:#}");
    assert_eq!(cell(&matrix, "via", &ids[0], "shard-b")["read_only"], json!(true));
}

#[tokio::test]
async fn the_deadline_of_the_whole_look_holds() {
    let mut stage = Stage::calm().await;
    stage.bench.ctx.deadline = std::time::Duration::from_millis(100);
    let (silent, _listener) = free_address(stage.sim.world_info().fleets[0].mysql_port).await;
    let input = json!({ "fleet": "us", "direct": false, "hosts": [{ "id": "silent", "ip": silent }] });
    let error = stage.look("mysql.login_matrix", input).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Transient, "timeout"));
}

#[tokio::test]
async fn at_the_deadline_a_partial_look_tells_what_was_tried_and_leaves_out_what_was_not() {
    let mut stage = Stage::calm().await;
    stage.bench.ctx.deadline = std::time::Duration::from_secs(2);
    let (silent, _listener) = free_address(stage.sim.world_info().fleets[0].mysql_port).await;
    // Four at once, each for almost a second, each twice: the turn of the last comes after the end.
    let hosts: Vec<_> = (0..40).map(|n| json!({ "id": format!("silent-{n}"), "ip": silent })).collect();
    let input =
        |partial: bool| json!({ "fleet": "us", "clusters": ["shard-b"], "hosts": hosts, "partial": partial });
    let matrix = stage.look("mysql.login_matrix", input(true)).await.unwrap();
    assert!(cell(&matrix, "direct", "direct", "shard-b")["ok"] == true, "{matrix:#}");
    assert_eq!(cell(&matrix, "via", "silent-0", "shard-b")["error"]["kind"], "timeout_greeting");
    let via = matrix["via"].as_array().unwrap();
    assert!(via.len() < 40 && via.iter().all(|cell| cell["tries"] != 0), "{matrix:#}");
    assert_eq!((&matrix["healthy_hosts"], &matrix["failing_clusters"]), (&json!([]), &json!(["shard-b"])));
    // A runbook that would act by it is told that it does not know.
    let error = stage.look("mysql.login_matrix", input(false)).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Transient, "timeout"));
}

/// A writer that hangs: neither its own endpoint answers, nor any host in front of it.
#[tokio::test]
async fn where_the_cluster_itself_hangs_one_time_out_is_enough_and_what_was_not_tried_counts_as_failed() {
    let stage = Stage::calm().await;
    let (mut inventory, secrets) = inventory(&stage.sim);
    let (silent, _hosts) = free_address(stage.sim.world_info().fleets[0].mysql_port).await;
    let writer = inventory.clusters.iter_mut().find(|cluster| cluster.id == "shard-b").unwrap();
    let (endpoint, _writer) = free_address(writer.port).await;
    writer.endpoint = endpoint;
    let settings = actions::Settings { probe: quick(), ..actions::Settings::default() };
    let mut bench = Bench::new(inventory, settings, secrets).await;
    bench.ctx.deadline = std::time::Duration::from_secs(4);
    let hosts: Vec<_> = (0..40).map(|n| json!({ "id": format!("silent-{n}"), "ip": silent })).collect();
    let input =
        |clusters: &[&str]| json!({ "fleet": "us", "clusters": clusters, "hosts": hosts, "tries": 5 });
    let matrix = bench.look("mysql.login_matrix", input(&["shard-b"])).await.unwrap();
    assert_eq!(matrix["direct_failing_clusters"], json!(["shard-b"]));
    let (failing, healthy) = (strings(&matrix["failing_hosts"]), strings(&matrix["healthy_hosts"]));
    assert_eq!((failing.len(), healthy.len()), (40, 0));
    let late = cell(&matrix, "via", "silent-10", "shard-b");
    assert_eq!((&late["tries"], &late["error"]["kind"]), (&json!(1), &json!("timeout_greeting")), "{late:#}");
    let last = cell(&matrix, "via", "silent-39", "shard-b");
    assert_eq!((&last["tries"], &last["error"]["kind"]), (&json!(0), &json!("not_tried")), "{last:#}");
    // Beside a cluster that answers directly, nobody knows of a host that was not tried for it.
    let error = bench.look("mysql.login_matrix", input(&["shard-a", "shard-b"])).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Transient, "timeout"));
}

#[tokio::test]
async fn without_hosts_the_clusters_are_tried_directly() {
    let stage = Stage::calm().await;
    let matrix = stage.look("mysql.login_matrix", json!({ "fleet": "us" })).await.unwrap();
    assert_eq!((matrix["direct"].as_array().unwrap().len(), &matrix["via"]), (13, &json!([])));
    for (input, code) in [
        (json!({ "fleet": "us", "direct": false }), "bad_input"),
        (json!({ "fleet": "us", "hosts": [] }), "bad_input"),
        (json!({ "fleet": "us", "hosts": null }), "bad_input"),
        (json!({ "fleet": "us", "hosts": [], "unknown_hosts": true }), "bad_input"),
    ] {
        assert_eq!(stage.look("mysql.login_matrix", input.clone()).await.unwrap_err().code, code, "{input}");
    }
    let unknown = json!({ "fleet": "us", "clusters": ["shard-b"], "hosts": null, "unknown_hosts": true });
    let matrix = stage.look("mysql.login_matrix", unknown).await.unwrap();
    assert_eq!((matrix["direct"].as_array().unwrap().len(), &matrix["via"]), (1, &json!([])));
}

#[tokio::test]
async fn unknown_names_are_refused_with_those_that_exist() {
    let stage = Stage::calm().await;
    let hosts = json!([{ "id": "i-1", "ip": "127.0.0.1" }]);
    let error = stage.look("mysql.login_matrix", json!({ "fleet": "eu", "hosts": hosts })).await.unwrap_err();
    assert_eq!((error.class, error.remedy.as_deref()), (ErrorClass::Refused, Some("name one of: us")));
    let input = json!({ "fleet": "us", "hosts": hosts, "clusters": ["shard-z"] });
    let error = stage.look("mysql.login_matrix", input).await.unwrap_err();
    assert!(error.remedy.unwrap().contains("shard-b"));
    let input = json!({ "fleet": "us", "hosts": hosts, "tries": 0 });
    assert_eq!(stage.look("mysql.login_matrix", input).await.unwrap_err().code, "bad_input");
}

/// A loopback address on which `port` is ours alone.
async fn free_address(port: u16) -> (String, TcpListener) {
    for n in 1..=250 {
        let address = format!("127.1.{}.{n}", std::process::id() % 250 + 1);
        if let Ok(listener) = TcpListener::bind((address.as_str(), port)).await {
            return (address, listener);
        }
    }
    panic!("no loopback address is free on port {port}");
}
