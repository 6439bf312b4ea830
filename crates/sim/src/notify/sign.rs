//! Signs as SNS does, version 2.
//!
//! The keys are in the source, so that they prove nothing to anybody but who says `simulated` in its configuration: a signer whose
//! certificate is the simulator's authority's, whose own key was thrown away.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use serde_json::{Value, json};

/// The certificate of whoever signs, in PEM.
pub(crate) const SIGNER: &str = include_str!("signer.pem");
/// The certificate of its authority.
pub(crate) const AUTHORITY: &str = include_str!("authority.pem");
const KEY: &str = include_str!("signer.key");

const NOTIFICATION: [&str; 6] = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"];
const CONFIRMATION: [&str; 7] =
    ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];

/// Adds the signature, and where its certificate lies.
pub(crate) fn signed(mut message: Value, base: &str) -> Value {
    let names: &[&str] = if message["Type"] == "Notification" { &NOTIFICATION } else { &CONFIRMATION };
    let line = |name: &&str| message[*name].as_str().map(|value| format!("{name}\n{value}\n"));
    let text: String = names.iter().filter_map(line).collect();
    message["SignatureVersion"] = json!("2");
    message["SigningCertURL"] = json!(format!("{base}/_sim/sns/signer.pem"));
    message["Signature"] = json!(signature(text.as_bytes()).map(|bytes| STANDARD.encode(bytes)));
    message
}

/// None if the key cannot be read, which a test would see.
fn signature(text: &[u8]) -> Option<Vec<u8>> {
    let inside: String = KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let key = KeyPair::from_pkcs8(&STANDARD.decode(inside).ok()?).ok()?;
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).ok()?;
    Some(signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_carries_a_signature_of_the_keys_length() {
        let message = signed(json!({ "Type": "Notification", "Message": "m" }), "http://here");
        let signature = STANDARD.decode(message["Signature"].as_str().expect("signed")).expect("base64");
        assert_eq!(signature.len(), 256);
    }
}
