//! Seeded chance without a stream: a draw depends only on the seed and on what is drawn.
//!
//! A stream would make every draw depend on the order of all earlier ones, and a run with nobody
//! acting would then differ from the live one for no reason.

/// A number for `what`, number `n`, in a world with this seed.
pub(crate) fn bits(seed: u64, what: &str, n: u64) -> u64 {
    let named =
        what.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    mix(mix(seed ^ named).wrapping_add(n))
}

/// An id in the form of AWS's.
pub(crate) fn uuid(seed: u64, what: &str, n: u64) -> String {
    let (a, b) = (bits(seed, what, n), bits(seed, &format!("{what} tail"), n));
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    )
}

/// As [`bits`], from 0 up to but not including 1.
pub(crate) fn unit(seed: u64, what: &str, n: u64) -> f64 {
    (bits(seed, what, n) >> 11) as f64 / (1_u64 << 53) as f64
}

/// As [`unit`], between `low` and `high`.
pub(crate) fn between(seed: u64, what: &str, n: u64, low: f64, high: f64) -> f64 {
    low + unit(seed, what, n) * (high - low)
}

/// SplitMix64's finaliser.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
