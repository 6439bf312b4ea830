//! AWS on the wire, from outside: HTTP in, XML out, ledger and traps.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fault::{ApiFault, ApiTrouble, FaultKind};
use crate::{LedgerEntry, Options, Phase, Sim, World, counterfactual};

const ASG: (&str, &str) = ("AutoScalingGroupName", "proxysql-us");

/// A simulator that stands still until stepped.
async fn still(world: World) -> Sim {
    Sim::start(world, Options { speed: 0.0, ..Options::default() }).await.expect("start")
}

async fn calm() -> Sim {
    still(World { faults: vec![], ..World::incident_2024_05_07() }).await
}

struct Answer {
    status: u16,
    request_id: String,
    body: String,
}

impl Answer {
    /// The text of the first element of that name.
    fn text(&self, element: &str) -> &str {
        self.all(element).first().copied().unwrap_or_else(|| panic!("no {element} in {}", self.body))
    }

    fn all(&self, element: &str) -> Vec<&str> {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let parts = self.body.split(open.as_str()).skip(1);
        parts.filter_map(|p| p.split_once(close.as_str()).map(|(text, _)| text)).collect()
    }
}

fn http() -> reqwest::Client {
    // In a workspace build reqwest carries TLS without a provider of its own, and insists on one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(Duration::from_secs(20)).build().expect("client")
}

/// A call as an SDK makes it, with a signature of straw.
async fn call(endpoint: &str, service: &str, action: &str, params: &[(&str, &str)]) -> Answer {
    let form = {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", action).append_pair("Version", "x").extend_pairs(params).finish()
    };
    let scope = format!(
        "AWS4-HMAC-SHA256 Credential=AKIATEST/20240507/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    );
    let request = http().post(endpoint).header("authorization", scope).body(form);
    let answer = request.send().await.expect("an answer");
    Answer {
        status: answer.status().as_u16(),
        request_id: answer.headers()["x-amzn-requestid"].to_str().expect("ascii").to_owned(),
        body: answer.text().await.expect("a body"),
    }
}

async fn autoscaling(sim: &Sim, action: &str, params: &[(&str, &str)]) -> Answer {
    call(sim.endpoint(), "autoscaling", action, params).await
}

#[tokio::test]
async fn one_port_serves_every_service_and_names_its_requests() {
    let sim = calm().await;
    for (service, action, element) in [
        ("autoscaling", "DescribeAutoScalingGroups", "AutoScalingGroupName"),
        ("ec2", "DescribeInstances", "privateIpAddress"),
        ("elasticloadbalancing", "DescribeTargetGroups", "TargetGroupArn"),
        ("rds", "DescribeDBClusters", "DBClusterIdentifier"),
        ("sts", "GetCallerIdentity", "Account"),
    ] {
        let answer = call(sim.endpoint(), service, action, &[]).await;
        assert_eq!(answer.status, 200, "{service}: {}", answer.body);
        assert!(!answer.text(element).is_empty());
        let id = if service == "ec2" { "requestId" } else { "RequestId" };
        assert_eq!(answer.text(id), answer.request_id);
    }
    let calls: Vec<(u64, String)> = sim.ledger().into_iter().map(|e| (e.n, e.request_id)).collect();
    assert_eq!(calls.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    sim.stop().await;
}

#[tokio::test]
async fn refusals_have_awss_codes_statuses_and_envelopes() {
    let sim = calm().await;
    let e = sim.endpoint();
    for (service, action, params, status, code) in [
        ("autoscaling", "Frobnicate", &[][..], 400, "InvalidAction"),
        ("ec2", "Frobnicate", &[], 400, "InvalidAction"),
        ("s3", "ListBuckets", &[], 400, "InvalidAction"),
        ("autoscaling", "SetDesiredCapacity", &[ASG, ("DesiredCapacity", "9")], 400, "ValidationError"),
        ("autoscaling", "SetDesiredCapacity", &[ASG], 400, "ValidationError"),
        ("autoscaling", "SetDesiredCapacity", &[ASG, ("DesiredCapacity", "six")], 400, "MalformedInput"),
        ("autoscaling", "DescribeAutoScalingGroups", &[("NextToken", "bogus")], 400, "InvalidNextToken"),
        ("ec2", "DescribeInstances", &[("InstanceId.1", "i-0")], 400, "InvalidInstanceID.Malformed"),
        (
            "elasticloadbalancing",
            "DescribeTargetHealth",
            &[("TargetGroupArn", "arn:x")],
            400,
            "TargetGroupNotFound",
        ),
        ("rds", "DescribeDBClusters", &[("DBClusterIdentifier", "nope")], 404, "DBClusterNotFoundFault"),
        ("rds", "DescribeDBInstances", &[("DBInstanceIdentifier", "nope")], 404, "DBInstanceNotFound"),
    ] {
        let answer = call(e, service, action, params).await;
        assert_eq!((answer.status, answer.text("Code")), (status, code), "{service} {action}");
        let envelope = if service == "ec2" { "<Response><Errors>" } else { "<ErrorResponse xmlns=" };
        assert!(answer.body.contains(envelope), "{}", answer.body);
    }
    let unsigned = http().post(e).body("Action=GetCallerIdentity").send().await.expect("an answer");
    assert_eq!(unsigned.status(), 403);
    assert!(sim.ledger().iter().all(|entry| entry.effect.is_none()));
}

#[tokio::test]
async fn the_ledger_tells_what_was_asked_from_what_was_changed() {
    let sim = calm().await;
    autoscaling(&sim, "SetDesiredCapacity", &[ASG, ("DesiredCapacity", "8")]).await;
    autoscaling(&sim, "SetDesiredCapacity", &[ASG, ("DesiredCapacity", "8")]).await;
    autoscaling(&sim, "DescribeScalingActivities", &[ASG]).await;
    let ledger = sim.ledger();
    let first = &ledger[0];
    assert_eq!((first.service.as_str(), first.operation.as_str()), ("autoscaling", "SetDesiredCapacity"));
    assert_eq!((first.caller.as_str(), first.status, first.mutating), ("AKIATEST", 200, true));
    assert_eq!(first.params["DesiredCapacity"], "8");
    assert!(!first.params.contains_key("Action"));
    assert_eq!(first.effect.as_deref(), Some("proxysql-us: desired capacity 6 -> 8"));
    assert_eq!((ledger[1].effect.as_deref(), ledger[1].mutating), (None, true));
    assert!(!ledger[2].mutating);
}

#[tokio::test]
async fn listings_come_in_pages() {
    let sim = calm().await;
    let first = autoscaling(&sim, "DescribeAutoScalingInstances", &[("MaxRecords", "4")]).await;
    assert_eq!(first.all("InstanceId").len(), 4);
    let token = first.text("NextToken").to_owned();
    let params = [("MaxRecords", "4"), ("NextToken", token.as_str())];
    let second = autoscaling(&sim, "DescribeAutoScalingInstances", &params).await;
    assert_eq!((second.all("InstanceId").len(), second.all("NextToken").len()), (2, 0));
}

#[tokio::test]
async fn a_call_whose_caller_dies_before_the_effect_still_takes_effect() {
    let sim = calm().await;
    let mut before = sim.hold("SetDesiredCapacity", Phase::BeforeEffect);
    let mut after = sim.hold("SetDesiredCapacity", Phase::AfterEffect);
    let endpoint = sim.endpoint().to_owned();
    let caller = tokio::spawn(async move {
        call(&endpoint, "autoscaling", "SetDesiredCapacity", &[ASG, ("DesiredCapacity", "7")]).await;
    });
    let held = before.reached().await.expect("the call");
    assert_eq!((held.n, held.params["DesiredCapacity"].as_str()), (0, "7"));
    assert!(sim.ledger().is_empty(), "nothing has happened yet");
    caller.abort();
    assert!(caller.await.expect_err("killed").is_cancelled());
    before.release();
    let done = after.reached().await.expect("the call goes on");
    assert_eq!(done.effect.as_deref(), Some("proxysql-us: desired capacity 6 -> 7"));
    assert_eq!(sim.ledger(), [done]);
    sim.stop().await;
}

#[tokio::test]
async fn a_dropped_hold_holds_nobody() {
    let sim = calm().await;
    drop(sim.hold("SetDesiredCapacity", Phase::BeforeEffect));
    let answer = autoscaling(&sim, "SetDesiredCapacity", &[ASG, ("DesiredCapacity", "7")]).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn the_api_can_throttle_fail_and_swallow_answers() {
    let sim = calm().await;
    let dial = |service: &str, trouble, next| {
        sim.strike(FaultKind::Api(ApiFault {
            service: Some(service.into()),
            operation: None,
            trouble,
            probability: 1.0,
            next: Some(next),
        }));
    };
    dial("autoscaling", ApiTrouble::Throttle, 2);
    dial("ec2", ApiTrouble::Throttle, 1);
    dial("rds", ApiTrouble::InternalError, 1);
    let desired = [ASG, ("DesiredCapacity", "7")];
    for _ in 0..2 {
        let throttled = autoscaling(&sim, "SetDesiredCapacity", &desired).await;
        assert_eq!((throttled.status, throttled.text("Code")), (400, "Throttling"));
    }
    let throttled = call(sim.endpoint(), "ec2", "DescribeInstances", &[]).await;
    assert_eq!((throttled.status, throttled.text("Code")), (503, "RequestLimitExceeded"));
    let failed = call(sim.endpoint(), "rds", "DescribeDBClusters", &[]).await;
    assert_eq!((failed.status, failed.text("Type")), (500, "Receiver"));
    assert!(sim.ledger().iter().all(|e| e.effect.is_none()));

    dial("autoscaling", ApiTrouble::TimeoutAfter, 1);
    let mut done = sim.hold("SetDesiredCapacity", Phase::AfterEffect);
    let endpoint = sim.endpoint().to_owned();
    let caller =
        tokio::spawn(async move { call(&endpoint, "autoscaling", "SetDesiredCapacity", &desired).await });
    let entry = done.reached().await.expect("the call");
    assert_eq!((entry.status, entry.effect.is_some()), (0, true), "done, and nobody will hear of it");
    done.release();
    caller.abort();
    sim.stop().await;
}

#[tokio::test]
async fn replacing_the_hosts_over_the_api_ends_the_incident() {
    let sim = still(World::incident_2024_05_07()).await;
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let groups =
        autoscaling(&sim, "DescribeAutoScalingGroups", &[("AutoScalingGroupNames.member.1", ASG.1)]).await;
    let old: Vec<String> = groups.all("InstanceId").into_iter().map(str::to_owned).collect();
    assert_eq!(old.len(), 6);
    sim.step(minutes(20)).await.expect("step");
    assert!(sim.error_share("shard-b") > 0.05);

    autoscaling(&sim, "UpdateAutoScalingGroup", &[ASG, ("MaxSize", "12")]).await;
    autoscaling(&sim, "SetDesiredCapacity", &[ASG, ("DesiredCapacity", "12")]).await;
    sim.step(minutes(5)).await.expect("step");
    let arn = sim.world_info().fleets[0].target_group_arn.clone().expect("behind an NLB");
    let health = async || {
        call(sim.endpoint(), "elasticloadbalancing", "DescribeTargetHealth", &[("TargetGroupArn", &arn)])
            .await
    };
    assert_eq!(health().await.all("State"), ["healthy"; 12]);
    assert!(sim.error_share("shard-b") > 0.05, "adding alone does not heal");

    for id in &old {
        let params = [("InstanceId", id.as_str()), ("ShouldDecrementDesiredCapacity", "true")];
        let answer = autoscaling(&sim, "TerminateInstanceInAutoScalingGroup", &params).await;
        assert_eq!(answer.text("StatusCode"), "WaitingForELBConnectionDraining");
    }
    sim.step(Duration::from_secs(30)).await.expect("step");
    assert_eq!(health().await.all("State").iter().filter(|s| **s == "draining").count(), 6);
    sim.step(minutes(7)).await.expect("step");
    assert!(sim.error_share("shard-b") < 1e-6);
    let groups = autoscaling(&sim, "DescribeAutoScalingGroups", &[]).await;
    assert_eq!(groups.text("DesiredCapacity"), "6");
    assert!(groups.all("InstanceId").iter().all(|id| !old.iter().any(|o| o == id)));
    let shown = call(sim.endpoint(), "ec2", "DescribeInstances", &[("InstanceId.1", &old[0])]).await;
    assert_eq!((shown.text("name"), shown.all("privateIpAddress").len()), ("terminated", 0));
    sim.stop().await;
}

async fn control(sim: &Sim, path: &str) -> Value {
    let answer = http().get(format!("{}{path}", sim.endpoint())).send().await.expect("an answer");
    answer.json().await.expect("json")
}

#[tokio::test]
async fn the_control_api_shows_and_moves_the_world() {
    let sim = still(World::incident_2024_05_07()).await;
    sim.step(Duration::from_secs(13 * 60)).await.expect("step");
    let clock = control(&sim, "/_sim/clock").await;
    assert_eq!((&clock["speed"], &clock["started_at"]), (&json!(0.0), &json!("2024-05-07T14:30:00Z")));
    let query = "/api/v1/query?query=cluster:request_error_share%7Bcluster%3D%22shard-e%22%7D";
    let answer = control(&sim, query).await;
    let result = &answer["data"]["result"];
    assert_eq!((&answer["status"], &result[0]["value"][1]), (&json!("success"), &json!("1")));
    assert_eq!(result[0]["value"][0], json!(1_715_092_980.0), "simulated seconds since the epoch");
    assert_eq!(control(&sim, "/api/v1/query?query=up").await["data"]["result"], json!([]));
    assert_eq!(control(&sim, "/api/v1/query?query=sum(up)").await["errorType"], json!("bad_data"));
    assert_eq!(control(&sim, "/_sim/world").await["clusters"].as_array().map(Vec::len), Some(13));
    let samples = async |query: &str| {
        let answer = control(&sim, &format!("/_sim/customers{query}")).await;
        answer.as_array().map(Vec::len).expect("an array")
    };
    assert_eq!(samples("").await, 13 * 13 * 12, "13 clusters, 13 minutes, every 5 s");
    assert_eq!(samples("?since=2024-05-07T14:42:50Z").await, 2 * 13);
    assert!(control(&sim, "/_sim/nope").await["error"].is_string());

    let state = control(&sim, "/_sim/state").await;
    assert_eq!(state["clusters"][4]["id"], json!("shard-e"));
    assert_eq!(state["fleets"][0]["hosts"][0]["sick_for"], json!(["shard-b"]), "which no AWS API shows");
    let page = http().get(format!("{}/_sim", sim.endpoint())).send().await.expect("a page");
    let page = page.text().await.expect("text");
    assert!(page.contains("shard-e-1 (writer, db.r6i.8xlarge, us-east-1b, failed)"), "{page}");
    let faults = || format!("{}/_sim/faults", sim.endpoint());
    let page = http().get(faults()).send().await.expect("a page").text().await.expect("text");
    assert!(page.contains("<option>shard-b-2</option>"), "{page}");
    let form = |body: &'static str| http().post(faults()).body(body).send();
    let struck = form("kind=writer_exhausted&cluster=billing&share=0.5").await.expect("an answer");
    assert_eq!((struck.status().as_u16(), struck.url().path()), (200, "/_sim"), "sent on to the world");
    let unknown = form("kind=writer_exhausted&cluster=x&share=0.5").await.expect("an answer");
    assert_eq!(unknown.status(), 400);
    assert!(unknown.text().await.expect("text").contains("there is no cluster `x` in this world"));

    let post = |path: &str, body: Value| http().post(format!("{}{path}", sim.endpoint())).json(&body).send();
    let struck = post("/_sim/fault", json!({ "kind": "wrong_credentials", "cluster": "content" })).await;
    assert_eq!(struck.expect("an answer").status(), 204);
    let unknown = post("/_sim/fault", json!({ "kind": "wrong_credentials", "cluster": "x" })).await;
    assert_eq!(unknown.expect("an answer").status(), 400);
    assert_eq!(post("/_sim/clock", json!({ "speed": -1 })).await.expect("an answer").status(), 400);
    sim.step(Duration::from_secs(5)).await.expect("step");
    assert_eq!(sim.error_share("content"), 1.0);
    sim.stop().await;
}

#[tokio::test]
async fn nothing_is_left_behind_and_simulators_do_not_meet() {
    let (a, b) = (calm().await, calm().await);
    let (host_a, host_b) =
        (a.world_info().clusters[0].endpoint.clone(), b.world_info().clusters[0].endpoint.clone());
    assert_ne!(host_a, host_b);
    let endpoint = a.endpoint().to_owned();
    a.stop().await;
    assert!(http().get(&endpoint).send().await.is_err());
    assert!(tokio::net::TcpStream::connect((host_a.as_str(), 3306)).await.is_err());
    assert!(tokio::net::TcpStream::connect((host_b.as_str(), 3306)).await.is_ok());
}

#[tokio::test]
async fn a_simulator_that_is_merely_dropped_closes_its_sockets_as_well() {
    let sim = calm().await;
    let address = (sim.world_info().clusters[0].endpoint.clone(), 3306);
    drop(sim);
    while tokio::net::TcpStream::connect((address.0.as_str(), address.1)).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_live_world_and_the_counterfactual_are_the_same_world() {
    let sim = still(World::incident_2024_05_07()).await;
    for _ in 0..40 {
        sim.step(Duration::from_secs(45)).await.expect("step");
    }
    let alone = counterfactual(&World::incident_2024_05_07(), &Options::default(), Duration::from_secs(1800));
    assert_eq!(sim.customers(), alone.expect("a sound world"));
}

#[tokio::test]
async fn a_caller_with_a_policy_may_do_what_it_allows_and_hears_awss_sentence_otherwise() {
    let sim = calm().await;
    let statement =
        |action: &str, resource: &str| json!({ "Effect": "Allow", "Action": action, "Resource": resource });
    let policy = |statements: &[Value]| json!({ "Version": "2012-10-17", "Statement": statements });
    let group =
        "arn:aws:autoscaling:us-east-1:111122223333:autoScalingGroup:*:autoScalingGroupName/proxysql-us";
    let (look, resize) =
        (statement("autoscaling:Describe*", "*"), statement("autoscaling:SetDesiredCapacity", group));
    let denied = json!({ "Effect": "Deny", "Action": "rds:*", "Resource": "*" });
    sim.allow_only("AKIATEST", &policy(&[look.clone(), resize, denied])).unwrap();

    assert_eq!(autoscaling(&sim, "DescribeAutoScalingGroups", &[]).await.status, 200);
    let six = [ASG, ("DesiredCapacity", "6")];
    assert_eq!(autoscaling(&sim, "SetDesiredCapacity", &six).await.status, 200);
    assert_eq!(call(sim.endpoint(), "sts", "GetCallerIdentity", &[]).await.status, 200);

    let other = autoscaling(&sim, "SuspendProcesses", &[ASG]).await;
    assert_eq!((other.status, other.text("Code")), (403, "AccessDenied"));
    let said = other.text("Message");
    assert!(said.starts_with("User: arn:aws:iam::111122223333:user/AKIATEST is not authorized to perform: autoscaling:SuspendProcesses on resource: arn:aws:autoscaling:us-east-1:111122223333:autoScalingGroup:"), "{said}");
    assert!(
        said.ends_with("because no identity-based policy allows the autoscaling:SuspendProcesses action"),
        "{said}"
    );
    let ec2 = call(sim.endpoint(), "ec2", "DescribeInstances", &[]).await;
    assert_eq!((ec2.status, ec2.text("Code")), (403, "UnauthorizedOperation"));
    let said = ec2.text("Message");
    assert!(said.contains("perform: ec2:DescribeInstances because no identity"), "{said}");
    let rds = call(sim.endpoint(), "rds", "FailoverDBCluster", &[("DBClusterIdentifier", "shard-b")]).await;
    let said = rds.text("Message");
    assert!(
        said.contains(
            "on resource: arn:aws:rds:us-east-1:111122223333:cluster:shard-b with an explicit deny"
        ),
        "{said}"
    );

    // Another group's, and another region's, are not meant.
    let other = statement("autoscaling:SetDesiredCapacity", &group.replace("proxysql-us", "proxysql-eu"));
    sim.allow_only("AKIATEST", &policy(&[look.clone(), other])).unwrap();
    assert_eq!(autoscaling(&sim, "SetDesiredCapacity", &six).await.status, 403);
    let mut elsewhere = look;
    elsewhere["Condition"] = json!({ "StringEquals": { "aws:RequestedRegion": ["eu-west-1"] } });
    sim.allow_only("AKIATEST", &policy(&[elsewhere])).unwrap();
    assert_eq!(autoscaling(&sim, "DescribeAutoScalingGroups", &[]).await.status, 403);

    let refused: Vec<LedgerEntry> = sim.ledger().into_iter().filter(|e| e.status == 403).collect();
    assert_eq!(refused.len(), 5);
    assert!(refused.iter().all(|e| e.effect.is_none()));
    sim.stop().await;
}
