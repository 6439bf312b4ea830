//! The handshake: greeting, `mysql_native_password` with its real scramble, and who is let in.

use std::io;

use sha1::{Digest, Sha1};

use super::packet::{Reader, Wire};

const PLUGIN: &str = "mysql_native_password";

const CONNECT_WITH_DB: u32 = 1 << 3;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
const PLUGIN_AUTH_LENENC: u32 = 1 << 21;

/// LONG_PASSWORD, FOUND_ROWS, LONG_FLAG, CONNECT_WITH_DB, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION,
/// MULTI_STATEMENTS, MULTI_RESULTS, PS_MULTI_RESULTS, PLUGIN_AUTH, CONNECT_ATTRS, PLUGIN_AUTH_LENENC.
const CAPABILITIES: u32 =
    0x1 | 0x2 | 0x4 | 0x8 | 0x200 | 0x2000 | 0x8000 | (0x7 << 16) | (1 << 19) | (1 << 20) | (1 << 21);

/// What a client claims.
pub(super) struct Claim {
    pub(super) user: String,
    salt: [u8; 20],
    token: Vec<u8>,
}

impl Claim {
    /// Whether the client knows this password.
    pub(super) fn knows(&self, password: &str) -> bool {
        if password.is_empty() {
            return self.token.is_empty();
        }
        let once = Sha1::digest(password.as_bytes());
        let twice = Sha1::digest(once);
        let mut salted = Sha1::new();
        salted.update(self.salt);
        salted.update(twice);
        let mask = salted.finalize();
        let expected: Vec<u8> = once.iter().zip(mask.iter()).map(|(a, b)| a ^ b).collect();
        self.token == expected
    }

    /// Whether it sent a password at all; part of MySQL's error message.
    pub(super) fn with_password(&self) -> &'static str {
        if self.token.is_empty() { "NO" } else { "YES" }
    }
}

/// Greets, and reads what the client claims; `None` if it hangs up or makes no sense.
pub(super) async fn handshake(
    wire: &mut Wire,
    version: &str,
    id: u32,
    chance: u64,
) -> io::Result<Option<Claim>> {
    // Any 20 bytes without NUL do: the scramble must differ from connection to connection.
    let mut salt = [0_u8; 20];
    for (n, byte) in salt.iter_mut().enumerate() {
        *byte = 33 + ((chance.rotate_left(n as u32 * 7) ^ u64::from(id)) % 90) as u8;
    }
    wire.write(&[greeting(version, id, &salt)]).await?;
    let Some(response) = wire.read().await? else { return Ok(None) };
    let Some((user, token, plugin)) = parse(&response) else { return Ok(None) };
    let mut claim = Claim { user, salt, token };
    if plugin.is_some_and(|p| p != PLUGIN) {
        let mut switch = vec![0xfe];
        switch.extend_from_slice(PLUGIN.as_bytes());
        switch.push(0);
        switch.extend_from_slice(&salt);
        switch.push(0);
        wire.write(&[switch]).await?;
        let Some(token) = wire.read().await? else { return Ok(None) };
        claim.token = token;
    }
    Ok(Some(claim))
}

fn greeting(version: &str, id: u32, salt: &[u8; 20]) -> Vec<u8> {
    let (low, high) = (CAPABILITIES as u16, (CAPABILITIES >> 16) as u16);
    let mut p = vec![10];
    p.extend_from_slice(version.as_bytes());
    p.push(0);
    p.extend_from_slice(&id.to_le_bytes());
    p.extend_from_slice(&salt[..8]);
    p.push(0);
    p.extend_from_slice(&low.to_le_bytes());
    p.push(45);
    p.extend_from_slice(&2_u16.to_le_bytes());
    p.extend_from_slice(&high.to_le_bytes());
    p.push(21);
    p.extend_from_slice(&[0; 10]);
    p.extend_from_slice(&salt[8..]);
    p.push(0);
    p.extend_from_slice(PLUGIN.as_bytes());
    p.push(0);
    p
}

/// User, token and plugin of a HandshakeResponse41.
fn parse(packet: &[u8]) -> Option<(String, Vec<u8>, Option<String>)> {
    let mut r = Reader(packet);
    let capabilities = r.u32()?;
    r.take(4 + 1 + 23)?;
    let user = String::from_utf8_lossy(r.until_nul()).into_owned();
    let token = if capabilities & (PLUGIN_AUTH_LENENC | SECURE_CONNECTION) != 0 {
        // A token is far shorter than 251 bytes, so both encodings are one length byte.
        let length = usize::from(r.u8()?);
        r.take(length)?
    } else {
        r.until_nul()
    };
    if capabilities & CONNECT_WITH_DB != 0 {
        r.until_nul();
    }
    let plugin = (capabilities & PLUGIN_AUTH != 0)
        .then(|| String::from_utf8_lossy(r.until_nul()).into_owned())
        .filter(|p| !p.is_empty());
    Some((user, token.to_vec(), plugin))
}
