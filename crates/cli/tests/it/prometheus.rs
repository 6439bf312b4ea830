//! A real Prometheus sees a number rise, its Alertmanager tells us, and a rule of ours prepares a run; once the number falls
//! again, the alert is over and starts nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use sim::Sim;
use store::pages::RunFilter;

use crate::kills::small_world;
use crate::served::{Served, ended};
use crate::signals::until;

const RUNBOOK: &str = r#"
runbook: look-at-the-hosts
title: Look at the hosts
when: An alert says that logins fail
risk: medium
inputs:
  fleet: { type: proxy_fleet, description: Whose hosts }
locks: ["fleet:${inputs.fleet.id}"]
triggers:
  - name: logins-failing
    where: signal.source == "alertmanager" && signal.kind == "LoginsFailing" && signal.severity == "critical"
    inputs: { fleet: "${signal.labels.fleet}" }
    mode: ask
steps:
  - id: group
    use: autoscaling.describe_group
    with: { region: "${inputs.fleet.region}", group: "${inputs.fleet.group}" }
  - id: has_hosts
    assert: size(steps.group.in_service) > 0
    message: There is no host.
"#;

const TOKEN: &str = "a token that is long enough";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_of_a_real_prometheus_asks_and_is_over_when_it_is_over() {
    let mut world = small_world();
    world.faults.clear();
    let fleet = world.fleets[0].asg.clone();
    let sim = Sim::start(world, sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::create_dir(at.join("runbooks")).unwrap();
    std::fs::write(at.join("runbooks/look-at-the-hosts.yaml"), RUNBOOK).unwrap();
    std::fs::write(at.join("token"), TOKEN).unwrap();
    let more = json!({
        "runbooks": at.join("runbooks"),
        "hooks": { "alertmanager": { "token": { "file": at.join("token") } } },
    });
    let served = Served::on_with(&sim, &more).await;
    let number = Number::serve(&fleet);
    let alertmanager = Program::alertmanager(at, &served.url);
    let _prometheus = Program::prometheus(at, number.port, alertmanager.port);

    let asked =
        until(&served.db, "asked", |s| s.source == "alertmanager" && s.verdict.as_deref() == Some("asked"));
    let signal = asked.await;
    assert_eq!((signal.kind.as_str(), signal.state.as_str()), ("LoginsFailing", "firing"));
    assert_eq!(signal.labels["fleet"], fleet.as_str());
    assert_eq!(signal.summary, "Logins to shard-b fail.");
    assert!(signal.incident.is_some() && signal.started_at.is_some(), "{signal:#?}");
    assert_eq!(signal.rule.as_deref(), Some("look-at-the-hosts/logins-failing"));
    let runs = async || store::pages::runs(served.db.pool(), &RunFilter::default(), 100).await.unwrap();
    assert!(runs().await.is_empty(), "asked is not started");

    let person = served.person().await;
    let started = person.post(&format!("/api/v1/signals/{}/start", signal.id), &json!({})).await;
    let run = ended(&served.db, started["run_id"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!(run.state, "succeeded");

    number.high.store(false, Ordering::Relaxed);
    let over = until(&served.db, "over", |s| s.id == signal.id && s.state == "resolved").await;
    assert!(over.resolved_at.is_some());
    let page = person.get(&format!("/api/v1/signals/{}", signal.id)).await;
    assert_eq!(page["signal"]["state"], "resolved", "{page}");
    assert_eq!(runs().await.len(), 1, "what is over starts nothing");
}

/// A number for Prometheus to scrape.
struct Number {
    port: u16,
    high: Arc<AtomicBool>,
}

impl Number {
    fn serve(fleet: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let high = Arc::new(AtomicBool::new(true));
        let (seen, fleet) = (high.clone(), fleet.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let _ = stream.read(&mut [0; 4096]);
                let value = u8::from(seen.load(Ordering::Relaxed));
                let text = format!("login_failures{{cluster=\"shard-b\",fleet=\"{fleet}\"}} {value}\n");
                let head =
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\n";
                let _ = write!(stream, "{head}content-length: {}\r\n\r\n{text}", text.len());
            }
        });
        Self { port, high }
    }
}

/// A server of somebody else's, which ends with the test.
struct Program {
    process: Child,
    port: u16,
}

impl Program {
    fn start(variable: &str, folder: &Path, name: &str, config: &Value, flags: &[(&str, String)]) -> Self {
        let program = std::env::var(variable)
            .unwrap_or_else(|_| panic!("{variable} is not set; run the tests with `cargo xtask test`"));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = folder.join(format!("{name}.yaml"));
        // JSON is YAML.
        std::fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(&program);
        // An unpacked Alertmanager looks for its templates where it is started.
        let templates =
            Path::new(&program).ancestors().nth(2).map(|root| root.join("share/prometheus/alertmanager"));
        command
            .current_dir(templates.filter(|templates| templates.is_dir()).unwrap_or_else(|| folder.into()));
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.args(flags.iter().map(|(flag, value)| format!("{flag}={value}")));
        let log = std::fs::File::create(folder.join(format!("{name}.log"))).unwrap();
        let process = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { process, port }
    }

    fn alertmanager(folder: &Path, firebreak: &str) -> Self {
        let token = folder.join("token");
        let config = json!({
            "route": { "receiver": "firebreak", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s" },
            "receivers": [{ "name": "firebreak", "webhook_configs": [{
                "url": format!("{firebreak}/hooks/alertmanager"),
                "http_config": { "authorization": { "credentials_file": token } },
            }] }],
        });
        let data = folder.join("alertmanager").display().to_string();
        let flags = [("--storage.path", data), ("--cluster.listen-address", String::new())];
        Self::start("FIREBREAK_ALERTMANAGER", folder, "alertmanager", &config, &flags)
    }

    fn prometheus(folder: &Path, number: u16, alertmanager: u16) -> Self {
        let rules = json!({ "groups": [{ "name": "logins", "rules": [{
            "alert": "LoginsFailing",
            "expr": "login_failures > 0",
            "labels": { "severity": "critical" },
            "annotations": { "summary": "Logins to {{ $labels.cluster }} fail." },
        }] }] });
        std::fs::write(folder.join("rules.yaml"), rules.to_string()).unwrap();
        let one = |port: u16| json!([{ "targets": [format!("127.0.0.1:{port}")] }]);
        let config = json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{ "job_name": "numbers", "static_configs": one(number) }],
            "alerting": { "alertmanagers": [{ "static_configs": one(alertmanager) }] },
        });
        let data = folder.join("prometheus").display().to_string();
        Self::start("FIREBREAK_PROMETHEUS", folder, "prometheus", &config, &[("--storage.tsdb.path", data)])
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
