//! One POST over plain HTTP, by hand: the simulator has no client of its own.

use std::io;
use std::time::Duration;

use axum::http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// SNS waits for so long (real time).
const PATIENCE: Duration = Duration::from_secs(15);

/// Posts, and answers the status.
pub(super) async fn post(address: &str, headers: &[(&str, String)], body: &str) -> io::Result<u16> {
    timeout(PATIENCE, exchange(address, headers, body)).await?
}

async fn exchange(address: &str, headers: &[(&str, String)], body: &str) -> io::Result<u16> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{address}: {what}"));
    let uri: Uri = address.parse().map_err(|_| wrong("is no address"))?;
    if uri.scheme_str() != Some("http") {
        return Err(wrong("only http:// is posted to"));
    }
    let host = uri.host().ok_or_else(|| wrong("has no host"))?;
    let mut stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await?;
    // HTTP/1.1 202 Accepted
    let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    status.and_then(|digits| digits.parse().ok()).ok_or_else(|| wrong("answers no HTTP"))
}
