//! Servers that speak nonsense: whatever comes over the wire, a probe ends with a failure and never with a panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actions::{ProbeLimits, Settings};
use domain::inventory::{Cluster, Credentials, Inventory, ProxyFleet};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::{Bench, secret};

/// What a server sends: its greeting, then one answer for each packet that it gets.
type Script = Vec<Vec<u8>>;

/// A packet of the MySQL protocol.
fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = u32::try_from(payload.len()).unwrap().to_le_bytes()[..3].to_vec();
    packet.push(sequence);
    packet.extend_from_slice(payload);
    packet
}

fn greeting(plugin: &str) -> Vec<u8> {
    let mut greeting = b"\x0a8.0.30\0\x01\0\0\0abcdefgh\0\xff\xff\x21\x02\0\xff\xdf\x15".to_vec();
    greeting.extend_from_slice(&[0; 10]);
    greeting.extend_from_slice(b"ijklmnopqrst\0");
    greeting.extend_from_slice(plugin.as_bytes());
    greeting.push(0);
    greeting
}

/// Plays one script after the other, one for each connection; answers the failure that the probe told for each.
async fn play(scripts: Vec<Script>) -> Vec<Value> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (count, scripts, next) = (scripts.len(), Arc::new(scripts), Arc::new(AtomicUsize::new(0)));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let script = scripts[next.fetch_add(1, Ordering::SeqCst)].clone();
            tokio::spawn(async move {
                let mut answers = script.into_iter();
                let mut buffer = [0; 4096];
                while let Some(answer) = answers.next() {
                    stream.write_all(&answer).await?;
                    if answers.len() > 0 && stream.read(&mut buffer).await? == 0 {
                        break;
                    }
                }
                std::io::Result::Ok(())
            });
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let account = || Credentials { user: "probe".into(), password: secret(&folder, "probe", "hunter2") };
    let inventory = Inventory {
        account: None,
        accounts: Vec::new(),
        clusters: vec![Cluster {
            id: "c".into(),
            region: "us-east-1".into(),
            account: None,
            identifier: None,
            endpoint: "127.0.0.1".into(),
            port,
            customers_percent: 0.0,
            max_connections: 0,
            probe: account(),
        }],
        fleets: vec![ProxyFleet {
            id: "f".into(),
            region: "us-east-1".into(),
            account: None,
            group: "f".into(),
            target_group: None,
            port,
            admin_port: port,
            admin: account(),
            clusters: vec!["c".into()],
            backend_connections: 1000,
        }],
    };
    let phase = Duration::from_secs(5);
    let probe = ProbeLimits { connect: phase, login: phase, query: phase, ..ProbeLimits::default() };
    let bench = Bench::new(inventory, Settings { probe, ..Settings::default() }, folder).await;
    let mut failures = Vec::new();
    for _ in 0..count {
        let input = json!({ "fleet": "f", "direct": false, "hosts": [{ "id": "h", "ip": "127.0.0.1" }] });
        let matrix = bench.look("mysql.login_matrix", input).await.unwrap();
        assert!(!matrix.to_string().contains("hunter2"));
        failures.push(matrix["via"][0]["error"].clone());
    }
    failures
}

#[tokio::test]
async fn a_greeting_cut_off_anywhere_fails_calmly() {
    let whole = greeting("mysql_native_password");
    let scripts = (0..whole.len()).map(|n| vec![packet(0, &whole[..n])]).collect();
    for failure in play(scripts).await {
        assert_eq!(failure["kind"], "other", "{failure}");
    }
}

#[tokio::test]
async fn other_protocols_and_noise_fail_calmly() {
    let native = || packet(0, &greeting("mysql_native_password"));
    let noise: Vec<u8> = (0..80u32).map(|n| (n * 97 % 251) as u8).collect();
    let failures = play(vec![
        vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()],
        vec![b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()],
        vec![packet(0, &noise)],
        vec![native(), packet(2, &noise)],
        vec![native(), packet(2, &[])],
        vec![native(), packet(2, &[0xfe])],
        vec![native(), packet(2, b"\xfecaching_sha2_password\0short\0")],
        vec![native(), packet(2, b"\x01\x04")],
        vec![packet(0, &greeting("caching_sha2_password")), packet(2, b"\x01\x04"), packet(4, b"\x01no key")],
        vec![native(), packet(2, &[0, 0, 0, 2, 0, 0, 0]), packet(1, &noise)],
        vec![
            native(),
            packet(2, &[0, 0, 0, 2, 0, 0, 0]),
            packet(1, &[0xfe, 255, 255, 255, 255, 255, 255, 255, 255]),
        ],
        vec![native(), packet(2, &[0xff])],
    ])
    .await;
    for failure in failures {
        assert_eq!(failure["kind"], "other", "{failure}");
    }
}

#[tokio::test]
async fn a_password_is_never_sent_in_clear_text() {
    let scripts = ["mysql_clear_password", "mysql_old_password", "sha256_password", "dialog"].map(|plugin| {
        let switch = format!("\u{0}{plugin}\0abcdefghijklmnopqrst\0").into_bytes();
        let switch = [&[0xfe], &switch[1..]].concat();
        vec![packet(0, &greeting("mysql_native_password")), packet(2, &switch)]
    });
    for failure in play(scripts.to_vec()).await {
        assert!(failure["message"].as_str().unwrap().contains("authentication plugin"), "{failure}");
    }
}

#[tokio::test]
async fn errors_before_the_handshake_and_with_odd_sequence_numbers_are_read() {
    let failures = play(vec![
        vec![packet(0, b"\xff\x10\x04Too many connections")],
        vec![
            packet(0, &greeting("mysql_native_password")),
            packet(2, b"\xff\x10\x04#08004Too many connections"),
        ],
        // ProxySQL sends the refusal of its limit for each user out of turn.
        vec![
            packet(0, &greeting("mysql_native_password")),
            packet(9, b"\xff\xca\x04#42000User has exceeded"),
        ],
    ])
    .await;
    let seen: Vec<_> =
        failures.iter().map(|f| (f["kind"].as_str().unwrap(), f["code"].as_u64().unwrap())).collect();
    assert_eq!(seen, [("too_many_connections", 1040), ("too_many_connections", 1040), ("other", 1226)]);
}
