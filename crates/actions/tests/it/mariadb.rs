//! Logins to a real server: MariaDB, whose handshake and refusals are not our own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use actions::Settings;
use domain::inventory::{Cluster, Credentials, Inventory, ProxyFleet};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Bench, quick, secret};

/// A MariaDB that ends with the test.
struct MariaDb {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const SET_UP: &str = "CREATE USER 'probe'@'%' IDENTIFIED BY 'right';\n";

fn mariadbd() -> PathBuf {
    let given = std::env::var_os("FIREBREAK_MARIADBD").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    given.into_iter().chain(places.map(|folder| folder.join("mariadbd"))).find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("mariadbd is not installed, and FIREBREAK_MARIADBD names none: run the tests with `cargo xtask test`")
    })
}

async fn start(more: &[&str]) -> MariaDb {
    let server = mariadbd();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // A server that starts removes what lies in the shared folder for temporary files, also what
    // another one that sets itself up just then still needs.
    let own = folder.path().join("tmp");
    std::fs::create_dir(&own).unwrap();
    // As root it runs only when told to; `--no-defaults` must come first.
    let general: &[&str] = if is_root() { &["--no-defaults", "--user=root"] } else { &["--no-defaults"] };
    // An unpacked MariaDB (set up without root) does not find its own files by itself.
    let base = std::env::var_os("FIREBREAK_MARIADBD").map(std::path::PathBuf::from);
    let base = base.and_then(|p| Some(format!("--basedir={}", p.parent()?.parent()?.display())));
    let installed = Command::new("mariadb-install-db")
        .args(general)
        .args(&base)
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
        .arg(format!("--datadir={}", data.display()))
        .env("TMPDIR", &own)
        .output()
        .expect("mariadb-install-db starts");
    assert!(
        installed.status.success(),
        "mariadb-install-db: {}\n{}{}",
        installed.status,
        String::from_utf8_lossy(&installed.stdout),
        String::from_utf8_lossy(&installed.stderr),
    );
    let init = folder.path().join("init.sql");
    std::fs::write(&init, SET_UP).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut process = Command::new(server)
        .args(general)
        .args(&base)
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin"])
        .args(["--innodb-buffer-pool-size=16M", "--max-connections=10", "--innodb-flush-log-at-trx-commit=0"])
        .args(more)
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", folder.path().join("s").display()))
        .arg(format!("--init-file={}", init.display()))
        .arg(format!("--port={port}"))
        .env("TMPDIR", &own)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mariadbd starts");
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(process.try_wait().unwrap().is_none(), "mariadbd ended at once");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    MariaDb { process, port, _folder: folder }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}

/// One cluster for each account, all of them the same server.
async fn bench(port: u16) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let cluster = |id: &str, user: &str, password: &str| Cluster {
        id: id.into(),
        region: "us-east-1".into(),
        account: None,
        identifier: None,
        endpoint: "127.0.0.1".into(),
        port,
        customers_percent: 0.0,
        max_connections: 0,
        probe: Credentials { user: user.into(), password: secret(&folder, id, password) },
    };
    let clusters = vec![
        cluster("good", "probe", "right"),
        cluster("wrong-password", "probe", "wrong"),
        cluster("unknown-user", "nobody", "right"),
    ];
    let fleet = ProxyFleet {
        id: "f".into(),
        region: "us-east-1".into(),
        account: None,
        group: "f".into(),
        target_group: None,
        port,
        admin_port: port,
        admin: Credentials { user: "admin".into(), password: secret(&folder, "admin", "right") },
        clusters: clusters.iter().map(|cluster| cluster.id.clone()).collect(),
        backend_connections: 1000,
    };
    let settings = Settings { probe: quick(), ..Settings::default() };
    Bench::new(
        Inventory { account: None, accounts: Vec::new(), clusters, fleets: vec![fleet] },
        settings,
        folder,
    )
    .await
}

async fn direct(bench: &Bench, cluster: &str, tries: u32) -> Value {
    matrix(bench, cluster, tries).await["direct"][0].clone()
}

async fn matrix(bench: &Bench, cluster: &str, tries: u32) -> Value {
    let input = json!({
        "fleet": "f", "clusters": [cluster], "tries": tries, "hosts": [{ "id": "h", "ip": "127.0.0.1", "az": "a" }],
    });
    bench.look("mysql.login_matrix", input).await.unwrap()
}

#[tokio::test]
async fn a_real_server_takes_the_query_that_goes_to_writers_also_when_it_is_read_only() {
    for (options, read_only) in [(&[][..], false), (&["--read-only=1"][..], true)] {
        let server = start(options).await;
        let bench = bench(server.port).await;
        let matrix = matrix(&bench, "good", 3).await;
        for list in ["direct", "via"] {
            let cell = &matrix[list][0];
            assert_eq!((&cell["ok"], &cell["read_only"]), (&json!(true), &json!(read_only)), "{matrix:#}");
        }
    }
}

#[tokio::test]
async fn a_real_server_s_refusals_are_told_apart() {
    let mut server = start(&[]).await;
    let bench = bench(server.port).await;
    let cell = direct(&bench, "good", 20).await;
    assert_eq!(
        (&cell["ok"], &cell["tries"], &cell["read_only"]),
        (&json!(true), &json!(20), &json!(false)),
        "{cell:#}"
    );
    assert!(cell["server_id"].is_string(), "a plain MariaDB tells its host name: {cell:#}");

    let cell = direct(&bench, "wrong-password", 1).await;
    assert_eq!(
        (&cell["error"]["kind"], &cell["error"]["code"]),
        (&json!("access_denied"), &json!(1045)),
        "{cell:#}"
    );
    assert!(!cell.to_string().contains("right"), "{cell}");
    let cell = direct(&bench, "unknown-user", 1).await;
    assert_eq!(cell["error"]["kind"], "access_denied", "{cell:#}");

    // Connections that only hold their place: the server greets each, and waits for a login.
    let mut held = Vec::new();
    let full = loop {
        let cell = direct(&bench, "good", 1).await;
        if cell["ok"] == json!(false) {
            break cell;
        }
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut [0; 4]).await.unwrap();
        held.push(stream);
        assert!(held.len() < 40, "max_connections never bites");
    };
    assert_eq!(
        (&full["error"]["kind"], &full["error"]["code"]),
        (&json!("too_many_connections"), &json!(1040)),
        "{full:#}"
    );
    drop(held);

    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let cell = direct(&bench, "good", 1).await;
    assert_eq!(cell["error"]["kind"], "refused", "{cell:#}");
}
