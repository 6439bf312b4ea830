//! What Postgres cannot hold, made so that it can: a sender's oddity must not become an error of ours, which the sender would
//! repeat for ever.
//!
//! - A NUL character becomes the replacement character: text has none there.
//! - A fingerprint or delivery id that no index takes keeps its beginning, and what distinguishes it: its hash.
//! - A time before the year 1 or after 9999 is no time.

use chrono::Datelike as _;
use domain::signal::Signal;
use sha2::{Digest as _, Sha256};

use super::Delivered;

/// Bytes that an index takes without trouble.
const LONGEST_KEY: usize = 500;

/// The same, as it can be stored.
pub(super) fn fit(Delivered { signal, delivery }: Delivered) -> Delivered {
    let Signal { source, kind, fingerprint, state, severity, summary, labels, started_at } = signal;
    let signal = Signal {
        source,
        kind: text(kind),
        fingerprint: key(fingerprint),
        state,
        severity: severity.map(text),
        summary: text(summary),
        labels: labels.into_iter().map(|(name, value)| (text(name), text(value))).collect(),
        started_at: started_at.filter(|at| (1..=9999).contains(&at.year())),
    };
    Delivered { signal, delivery: delivery.map(key) }
}

/// Text without NUL.
pub(super) fn text(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

fn key(key: String) -> String {
    if key.len() <= LONGEST_KEY {
        return text(key);
    }
    let hash = hex::encode(Sha256::digest(&key));
    text(format!("{}…{hash}", &key[..key.floor_char_boundary(LONGEST_KEY - hash.len() - '…'.len_utf8())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_too_long_stays_different_from_others() {
        let (one, two) = ("é".repeat(400), format!("{}x", "é".repeat(400)));
        assert!(key(one.clone()) != key(two.clone()));
        assert!([one, two].map(key).iter().all(|key| key.len() <= LONGEST_KEY && key.starts_with("éé")));
        assert_eq!(key("a\0b".into()), "a\u{fffd}b");
    }
}
