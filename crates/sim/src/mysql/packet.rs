//! MySQL packets: framing, length-encoded values, and the few packets that a server sends.
//!
//! Protocol 4.1 without TLS, compression or `CLIENT_DEPRECATE_EOF`.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Larger packets than this are refused; nothing here needs them.
const LARGEST: usize = 1 << 20;
/// utf8mb4_general_ci.
const UTF8MB4: u16 = 45;
/// SERVER_STATUS_AUTOCOMMIT.
const AUTOCOMMIT: u16 = 2;

/// A connection with its packet counter.
pub(super) struct Wire {
    stream: TcpStream,
    sequence: u8,
}

/// An error packet's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SqlError {
    pub(super) code: u16,
    pub(super) state: &'static str,
    pub(super) message: String,
}

impl SqlError {
    pub(super) fn new(code: u16, state: &'static str, message: impl Into<String>) -> Self {
        Self { code, state, message: message.into() }
    }
}

/// A value of a result row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Int(i64),
}

/// A result set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Value>>,
}

/// How rows are encoded: as for a plain query, or as for an executed statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Text,
    Binary,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, sequence: 0 }
    }

    /// Reads one packet; `None` at the end of the stream.
    pub(super) async fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut header = [0_u8; 4];
        match self.stream.read_exact(&mut header).await {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(e) => return Err(e),
        }
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
        if length > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "packet too large for the simulator"));
        }
        self.sequence = header[3].wrapping_add(1);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await?;
        Ok(Some(payload))
    }

    /// A new command begins: numbering starts again with the next packet read.
    pub(super) async fn write(&mut self, payloads: &[Vec<u8>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for payload in payloads {
            bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes()[..3]);
            bytes.push(self.sequence);
            bytes.extend_from_slice(payload);
            self.sequence = self.sequence.wrapping_add(1);
        }
        self.stream.write_all(&bytes).await
    }

    pub(super) async fn ok(&mut self) -> io::Result<()> {
        let status = AUTOCOMMIT.to_le_bytes();
        self.write(&[vec![0, 0, 0, status[0], status[1], 0, 0]]).await
    }

    pub(super) async fn error(&mut self, error: &SqlError) -> io::Result<()> {
        let mut payload = vec![0xff];
        payload.extend_from_slice(&error.code.to_le_bytes());
        payload.push(b'#');
        payload.extend_from_slice(error.state.as_bytes());
        payload.extend_from_slice(error.message.as_bytes());
        self.write(&[payload]).await
    }

    /// Sends a whole result set.
    pub(super) async fn table(&mut self, table: &Table, encoding: Encoding) -> io::Result<()> {
        let mut packets = vec![vec![table.columns.len() as u8]];
        packets.extend(definitions(table));
        packets.push(eof());
        packets.extend(table.rows.iter().map(|row| match encoding {
            Encoding::Text => text_row(row),
            Encoding::Binary => binary_row(row),
        }));
        packets.push(eof());
        self.write(&packets).await
    }

    /// Answers COM_STMT_PREPARE for a statement without parameters.
    pub(super) async fn prepared(&mut self, id: u32, table: &Table) -> io::Result<()> {
        let mut first = vec![0];
        first.extend_from_slice(&id.to_le_bytes());
        first.extend_from_slice(&(table.columns.len() as u16).to_le_bytes());
        first.extend_from_slice(&[0, 0, 0, 0, 0]);
        let mut packets = vec![first];
        if !table.columns.is_empty() {
            packets.extend(definitions(table));
            packets.push(eof());
        }
        self.write(&packets).await
    }
}

fn eof() -> Vec<u8> {
    let status = AUTOCOMMIT.to_le_bytes();
    vec![0xfe, 0, 0, status[0], status[1]]
}

fn definitions(table: &Table) -> impl Iterator<Item = Vec<u8>> + '_ {
    table.columns.iter().enumerate().map(|(n, name)| {
        let number = matches!(table.rows.first().and_then(|r| r.get(n)), Some(Value::Int(_)));
        // LONGLONG in binary, or VAR_STRING in utf8mb4.
        let (kind, charset, length) = if number { (0x08_u8, 63, 21_u32) } else { (0xfd, UTF8MB4, 1024) };
        let mut p = Vec::new();
        for text in ["def", "", "", "", name, ""] {
            put_text(&mut p, text);
        }
        p.push(0x0c);
        p.extend_from_slice(&charset.to_le_bytes());
        p.extend_from_slice(&length.to_le_bytes());
        p.push(kind);
        p.extend_from_slice(&[0, 0, 0, 0, 0]);
        p
    })
}

fn text_row(row: &[Value]) -> Vec<u8> {
    let mut p = Vec::new();
    for value in row {
        match value {
            Value::Text(t) => put_text(&mut p, t),
            Value::Int(i) => put_text(&mut p, &i.to_string()),
        }
    }
    p
}

fn binary_row(row: &[Value]) -> Vec<u8> {
    let mut p = vec![0];
    p.resize(1 + (row.len() + 9) / 8, 0);
    for value in row {
        match value {
            Value::Text(t) => put_text(&mut p, t),
            Value::Int(i) => p.extend_from_slice(&i.to_le_bytes()),
        }
    }
    p
}

fn put_text(p: &mut Vec<u8>, text: &str) {
    match text.len() {
        short @ 0..=250 => p.push(short as u8),
        long => {
            p.push(0xfc);
            p.extend_from_slice(&(long as u16).to_le_bytes());
        }
    }
    p.extend_from_slice(text.as_bytes());
}

/// Reads a packet from front to back.
pub(super) struct Reader<'p>(pub(super) &'p [u8]);

impl<'p> Reader<'p> {
    pub(super) fn take(&mut self, n: usize) -> Option<&'p [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let b = self.take(4)?;
        Some(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// Bytes up to a NUL, or to the end.
    pub(super) fn until_nul(&mut self) -> &'p [u8] {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        let text = &self.0[..end];
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        text
    }
}
