//! MySQL on the wire, with a client small enough to trust.

use std::net::IpAddr;
use std::time::Duration;

use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{ApiFault, ApiTrouble, FaultKind, Options, Phase, Sim, World};

const QUERY: u8 = 0x03;
const PING: u8 = 0x0e;
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;
const PROBE: &str = "SELECT @@aurora_server_id, @@innodb_read_only";

/// A connected and authenticated client.
struct Client(TcpStream, u8);

/// An error packet: code and text.
type Denied = (u16, String);

impl Client {
    async fn connect(host: &str, port: u16, user: &str, password: &str) -> Result<Self, Denied> {
        let ip: IpAddr = host.parse().expect("an address");
        let stream = TcpStream::connect((ip, port)).await.map_err(|e| (0, e.kind().to_string()))?;
        let mut client = Self(stream, 0);
        let greeting = client.read().await.expect("a greeting");
        let version_end = greeting.iter().position(|b| *b == 0).expect("a version");
        let salt = [&greeting[version_end + 5..][..8], &greeting[version_end + 32..][..12]].concat();
        let once = Sha1::digest(password);
        let mask = Sha1::digest([&salt[..], &Sha1::digest(once)[..]].concat());
        let token: Vec<u8> = once.iter().zip(mask.iter()).map(|(a, b)| a ^ b).collect();
        // PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH
        let mut login = 0x0008_8200_u32.to_le_bytes().to_vec();
        login.extend([0, 0, 0, 1, 45]);
        login.extend([0; 23]);
        login.extend(user.bytes());
        login.extend([0, 20]);
        login.extend(token);
        login.extend(b"mysql_native_password\0");
        client.write(&login).await;
        fault(&client.read().await.expect("an answer"))?;
        Ok(client)
    }

    /// One command; its first packet, or the error.
    async fn command(&mut self, code: u8, body: &[u8]) -> Result<Vec<u8>, Denied> {
        self.1 = 0;
        self.write(&[&[code], body].concat()).await;
        let first = self.read().await.ok_or((0, "closed".to_owned()))?;
        fault(&first)?;
        Ok(first)
    }

    /// A text query: rows of texts.
    async fn query(&mut self, sql: &str) -> Result<Vec<Vec<String>>, Denied> {
        let first = self.command(QUERY, sql.as_bytes()).await?;
        let mut rows = Vec::new();
        if first[0] == 0 {
            return Ok(rows);
        }
        for _ in 0..=first[0] {
            self.read().await.expect("a column or EOF");
        }
        loop {
            let row = self.read().await.expect("a row or EOF");
            if row[0] == 0xfe {
                return Ok(rows);
            }
            let (mut rest, mut texts) = (&row[..], Vec::new());
            while let Some((length, tail)) = rest.split_first() {
                let (text, tail) = tail.split_at(usize::from(*length));
                texts.push(String::from_utf8(text.to_vec()).expect("utf8"));
                rest = tail;
            }
            rows.push(texts);
        }
    }

    async fn read(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; 4];
        self.0.read_exact(&mut header).await.ok()?;
        let mut payload = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        self.1 = header[3] + 1;
        Some(payload)
    }

    async fn write(&mut self, payload: &[u8]) {
        let length = (payload.len() as u32).to_le_bytes();
        let bytes = [&[length[0], length[1], length[2], self.1], payload].concat();
        // Writing to a dead host may fail; the read that follows tells.
        let _ = self.0.write_all(&bytes).await;
    }
}

fn fault(packet: &[u8]) -> Result<(), Denied> {
    if packet[0] != 0xff {
        return Ok(());
    }
    let code = u16::from_le_bytes([packet[1], packet[2]]);
    Err((code, String::from_utf8_lossy(&packet[9..]).into_owned()))
}

/// A calm world that stands still, and where to find what.
struct Place {
    sim: Sim,
    writer: String,
    reader: String,
    user: String,
    password: String,
    /// Address of the first proxy host.
    host: String,
    admin: (String, String),
}

async fn place() -> Place {
    let world = World { faults: vec![], ..World::incident_2024_05_07() };
    let sim = Sim::start(world, Options { speed: 0.0, ..Options::default() }).await.expect("start");
    let info = sim.world_info();
    let shard_b = info.clusters[1].clone();
    let host = sim.edit(|w| w.hosts[0].address.clone());
    let admin = (info.fleets[0].admin_user.clone(), info.fleets[0].admin_password.clone());
    Place {
        sim,
        writer: shard_b.endpoint,
        reader: shard_b.reader_endpoint,
        user: shard_b.probe_user,
        password: shard_b.probe_password,
        host,
        admin,
    }
}

impl Place {
    async fn login(&self, host: &str, port: u16) -> Result<Client, Denied> {
        Client::connect(host, port, &self.user, &self.password).await
    }

    async fn admin(&self) -> Client {
        Client::connect(&self.host, 6032, &self.admin.0, &self.admin.1).await.expect("admin")
    }
}

fn refused<T>(result: Result<T, Denied>) -> bool {
    matches!(result, Err((0, why)) if why == "connection refused")
}

#[tokio::test]
async fn aurora_says_who_it_is_and_whether_it_writes() {
    let p = place().await;
    let mut writer = p.login(&p.writer, 3306).await.expect("login");
    assert_eq!(writer.query(PROBE).await, Ok(vec![vec!["shard-b-1".into(), "0".into()]]));
    let mut reader = p.login(&p.reader, 3306).await.expect("login");
    assert_eq!(reader.query(PROBE).await, Ok(vec![vec!["shard-b-2".into(), "1".into()]]));
    let wrong = Client::connect(&p.writer, 3306, &p.user, "guess").await.err();
    let words = "Access denied for user 'probe_shard_b'@'127.0.0.1' (using password: YES)";
    assert_eq!(wrong, Some((1045, words.to_owned())));
    let elsewhere = p.sim.world_info().clusters[0].endpoint.clone();
    assert_eq!(p.login(&elsewhere, 3306).await.err().map(|e| e.0), Some(1045), "no user of that cluster");
}

#[tokio::test]
async fn statements_can_be_prepared_except_on_the_admin_port() {
    let p = place().await;
    let mut writer = p.login(&p.writer, 3306).await.expect("login");
    let prepared = writer.command(PREPARE, b"SELECT @@innodb_read_only").await.expect("prepared");
    assert_eq!(prepared[..9], [0, 1, 0, 0, 0, 1, 0, 0, 0], "statement 1, one column, no parameters");
    for _ in 0..2 {
        writer.read().await.expect("column, EOF");
    }
    let columns = writer.command(EXECUTE, &[1, 0, 0, 0, 0, 1, 0, 0, 0]).await.expect("executed");
    assert_eq!(columns, [1]);
    for _ in 0..2 {
        writer.read().await.expect("column, EOF");
    }
    assert_eq!(writer.read().await, Some([&[0, 0][..], &0_i64.to_le_bytes()].concat()));
    let refused = p.admin().await.command(PREPARE, b"SELECT 1").await;
    assert_eq!(refused, Err((1045, "Command not supported".into())));
}

#[tokio::test]
async fn through_a_proxy_the_login_succeeds_and_only_the_query_tells() {
    let p = place().await;
    let mut through = p.login(&p.host, 6033).await.expect("login");
    assert_eq!(through.query(PROBE).await, Ok(vec![vec!["shard-b-1".into(), "0".into()]]));
    p.sim.strike(FaultKind::WrongCredentials { cluster: "shard-b".into() });
    let mut fresh = p.login(&p.host, 6033).await.expect("ProxySQL authenticates by itself");
    let words = "Access denied for user 'probe_shard_b'@'127.0.0.1' (using password: YES)";
    for client in [&mut through, &mut fresh] {
        assert_eq!(client.query(PROBE).await, Err((1045, words.to_owned())));
        client.command(PING, &[]).await.expect("the connection stays up");
        client.query("SET NAMES utf8mb4").await.expect("answered without a backend");
    }
    assert_eq!(p.login(&p.writer, 3306).await.err().map(|e| e.0), Some(1045), "and directly the login fails");
    p.sim.strike(FaultKind::CredentialsRestored { cluster: "shard-b".into() });
    through.query(PROBE).await.expect("well again");
    let wrong = Client::connect(&p.host, 6033, &p.user, "guess").await.err();
    assert_eq!(wrong, Some((1045, format!("ProxySQL Error: {words}"))));
}

#[tokio::test]
async fn pausing_closes_the_door_and_keeps_the_guests() {
    let p = place().await;
    let mut guest = p.login(&p.host, 6033).await.expect("login");
    let mut admin = p.admin().await;
    assert_eq!(admin.query("PROXYSQL PAUSE").await, Ok(vec![]));
    assert!(refused(p.login(&p.host, 6033).await));
    guest.query(PROBE).await.expect("those inside go on");
    let connected = "SELECT * FROM stats_mysql_global WHERE variable_name='Client_Connections_connected'";
    assert_eq!(admin.query(connected).await.expect("rows")[0][1], "2000");
    p.sim.step(Duration::from_secs(45)).await.expect("step");
    assert_eq!(admin.query(connected).await.expect("rows")[0][1], "1000", "half leave in 45 s");
    admin.query("proxysql resume;").await.expect("resumed");
    p.login(&p.host, 6033).await.expect("open again");
    let ledger = p.sim.ledger();
    let operations: Vec<&str> = ledger.iter().map(|e| e.operation.as_str()).collect();
    assert_eq!(operations, ["PROXYSQL PAUSE", "PROXYSQL RESUME"]);
    assert!(ledger.iter().all(|e| e.service == "proxysql" && e.mutating && e.effect.is_some()));
}

#[tokio::test]
async fn a_pause_can_be_held_like_any_call() {
    let p = place().await;
    let mut hold = p.sim.hold("PROXYSQL PAUSE", Phase::BeforeEffect);
    let mut admin = p.admin().await;
    let pausing = tokio::spawn(async move { admin.query("PROXYSQL PAUSE").await });
    let held = hold.reached().await.expect("the statement");
    assert_eq!((held.service.as_str(), held.params["host"].as_str()), ("proxysql", p.host.as_str()));
    p.login(&p.host, 6033).await.expect("still open");
    hold.release();
    pausing.await.expect("no panic").expect("paused");
    assert!(refused(p.login(&p.host, 6033).await));
}

#[tokio::test]
async fn the_fault_dials_are_there_for_the_commands_and_looks_of_proxysql() {
    let p = place().await;
    let strike = |operation: &str, trouble: ApiTrouble| {
        let (service, operation) = (Some("proxysql".to_owned()), Some(operation.to_owned()));
        p.sim.strike(FaultKind::Api(ApiFault {
            service,
            operation,
            trouble,
            probability: 1.0,
            next: Some(1),
        }));
    };
    let open = || async { p.login(&p.host, 6033).await.is_ok() };
    let told = |status: u16| p.sim.ledger().last().is_some_and(|e| e.status == status);

    for (trouble, code, status) in [
        (ApiTrouble::Throttle, 1040, 429),
        (ApiTrouble::Refused, 1045, 403),
        (ApiTrouble::InternalError, 1045, 500),
    ] {
        strike("PROXYSQL PAUSE", trouble.clone());
        let denied = p.admin().await.query("PROXYSQL PAUSE").await.expect_err("refused");
        assert!(denied.0 == code && told(status) && open().await, "{trouble:?}: {denied:?}");
    }
    strike("PROXYSQL PAUSE", ApiTrouble::Unavailable);
    let closed = p.admin().await.query("PROXYSQL PAUSE").await;
    assert!(closed == Err((0, "closed".into())) && told(503) && open().await);

    // Never answered: before, nothing has happened; after, it has.
    let known = p.sim.ledger().len();
    strike("PROXYSQL PAUSE", ApiTrouble::TimeoutBefore);
    let mut admin = p.admin().await;
    let unheard = tokio::spawn(async move { admin.query("PROXYSQL PAUSE").await });
    while p.sim.ledger().len() == known {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(told(0) && open().await);
    strike("PROXYSQL PAUSE", ApiTrouble::TimeoutAfter);
    let mut done = p.sim.hold("PROXYSQL PAUSE", Phase::AfterEffect);
    let mut admin = p.admin().await;
    let unanswered = tokio::spawn(async move { admin.query("PROXYSQL PAUSE").await });
    let entry = done.reached().await.expect("it is done");
    assert!(entry.status == 0 && entry.effect.is_some() && refused(p.login(&p.host, 6033).await));
    done.release();
    assert!(!unheard.is_finished() && !unanswered.is_finished());

    strike("SELECT", ApiTrouble::InternalError);
    let mut admin = p.admin().await;
    assert!(admin.query("SELECT * FROM runtime_mysql_servers").await.is_err());
    admin.query("SELECT * FROM runtime_mysql_servers").await.expect("once");
    // What is said of all services is said of APIs.
    let all = ApiFault {
        service: None,
        operation: None,
        trouble: ApiTrouble::Refused,
        probability: 1.0,
        next: None,
    };
    p.sim.strike(FaultKind::Api(all));
    admin.query("PROXYSQL RESUME").await.expect("it has no API");
    assert!(open().await);
}

#[tokio::test]
async fn the_admin_interface_knows_its_tables_and_nothing_else() {
    let p = place().await;
    p.sim.strike(FaultKind::SickHosts {
        fleet: "proxysql-us".into(),
        cluster: "shard-b".into(),
        from: 0.5,
        to: 0.5,
        ramp_s: 0,
        hosts: None,
        new_hosts_too: false,
    });
    p.sim.step(Duration::from_secs(10)).await.expect("step");
    let mut admin = p.admin().await;
    let sql = "SELECT hostgroup, status, ConnERR FROM stats_mysql_connection_pool";
    let pool = admin.query(sql).await.expect("rows");
    assert_eq!(pool.len(), 13);
    assert!(pool.iter().all(|row| row[1] == "ONLINE"), "failing logins never shun a server");
    let rising: Vec<&str> = pool.iter().filter(|row| row[2] != "0").map(|row| row[0].as_str()).collect();
    assert_eq!(rising, ["20"], "only ConnERR tells");
    let servers = admin.query("SELECT hostname FROM runtime_mysql_servers WHERE hostgroup_id=20").await;
    assert_eq!(servers, Ok(vec![vec![p.writer.clone()]]));
    for (sql, words) in [
        ("SELECT @@max_allowed_packet,@@wait_timeout", "ProxySQL Admin Error: near \",\": syntax error"),
        ("FOO", "ProxySQL Admin Error: near \"FOO\": syntax error"),
        ("SELECT * FROM nope", "ProxySQL Admin Error: no such table: nope"),
        ("SELECT x FROM stats_mysql_global", "ProxySQL Admin Error: no such column: x"),
    ] {
        assert_eq!(admin.query(sql).await, Err((1045, words.to_owned())));
    }
    assert_eq!(admin.query("SELECT @@socket").await, Ok(vec![]), "drivers ask, ProxySQL has none");
    assert!(Client::connect(&p.host, 6032, &p.admin.0, "guess").await.is_err());
}

#[tokio::test]
async fn sockets_follow_the_life_of_a_host() {
    let p = place().await;
    let mut guest = p.login(&p.host, 6033).await.expect("login");
    p.sim.edit(|w| {
        let id = w.hosts[0].instance_id.clone();
        w.terminate_in_group(&id, false).expect("terminate");
    });
    p.sim.step(Duration::from_secs(40)).await.expect("step");
    let newcomer = p.sim.edit(|w| w.hosts[6].address.clone());
    assert!(refused(p.login(&newcomer, 6033).await), "booting");
    guest.query(PROBE).await.expect("draining");
    p.sim.step(Duration::from_secs(400)).await.expect("step");
    p.login(&newcomer, 6033).await.expect("login").query(PROBE).await.expect("up");
    assert!(guest.query(PROBE).await.is_err(), "its connections died with it");
    assert!(refused(p.login(&p.host, 6033).await) && refused(p.login(&p.host, 6032).await));
}

#[tokio::test]
async fn without_a_writer_aurora_is_silent_and_proxysql_gives_up_after_ten_seconds() {
    let p = place().await;
    p.sim.strike(FaultKind::ClusterFailover { cluster: "shard-b".into(), duration_s: 86_400 });
    p.sim.step(Duration::from_secs(1)).await.expect("step");
    assert!(refused(p.login(&p.writer, 3306).await));
    let mut through = p.login(&p.host, 6033).await.expect("login");
    p.sim.clock().set_speed(2_000.0);
    let words = "Max connect timeout reached while reaching hostgroup 20 after 10000ms";
    assert_eq!(through.query(PROBE).await, Err((9001, words.to_owned())));
    p.sim.clock().set_speed(0.0);
    p.sim.step(Duration::from_secs(86_400)).await.expect("step");
    let mut writer = p.login(&p.writer, 3306).await.expect("login");
    assert_eq!(writer.query(PROBE).await, Ok(vec![vec!["shard-b-2".into(), "0".into()]]), "the new writer");
}
