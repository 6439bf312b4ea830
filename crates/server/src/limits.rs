//! How often: requests of the API by one session or token, and wrong secrets from one address.
//!
//! Counted by this process alone, in windows of a minute: what it keeps off is a program that has run wild. A secret has 256
//! bits and is not guessed; that wrong ones are limited keeps guessing cheap for us, and visible. A right one always passes,
//! whatever its neighbours behind the same address do: nobody may be locked out during an incident.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use crate::app::App;
use crate::error::Problem;
use crate::words;

/// All is counted in windows of this length (wall time).
const WINDOW: Duration = Duration::from_secs(60);
/// So many wrong secrets from one address are answered.
const WRONG: u32 = 20;
/// So many keys are remembered; beyond, windows that are over are forgotten, and then all.
const KEPT: usize = 10_000;

/// The counters.
#[derive(Debug)]
pub(crate) struct Limits {
    callers: Counter<Vec<u8>>,
    strangers: Counter<IpAddr>,
}

impl Limits {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { callers: Counter::new(per_minute), strangers: Counter::new(WRONG) }
    }

    /// One more request of somebody who is known.
    pub(crate) fn ask(&self, caller: &[u8]) -> Allowance {
        self.callers.count(caller.to_vec(), Instant::now())
    }

    /// One more wrong secret. Of IPv6 the network counts: one machine has as many addresses as it likes.
    pub(crate) fn failed(&self, address: IpAddr) -> Allowance {
        let network = match address {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 @ IpAddr::V4(_) => v4,
        };
        self.strangers.count(network, Instant::now())
    }
}

#[derive(Debug)]
struct Counter<K> {
    most: u32,
    windows: Mutex<HashMap<K, (Instant, u32)>>,
}

impl<K: Eq + Hash> Counter<K> {
    fn new(most: u32) -> Self {
        Self { most, windows: Mutex::default() }
    }

    fn count(&self, key: K, now: Instant) -> Allowance {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= KEPT {
            windows.retain(|_, (began, _)| now.duration_since(*began) < WINDOW);
            if windows.len() >= KEPT {
                windows.clear();
            }
        }
        let (began, count) = windows.entry(key).or_insert((now, 0));
        if now.duration_since(*began) >= WINDOW {
            (*began, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        let reset = WINDOW.saturating_sub(now.duration_since(*began));
        Allowance { most: self.most, left: self.most.saturating_sub(*count), over: *count > self.most, reset }
    }
}

/// What is left of a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    most: u32,
    left: u32,
    /// This one was too much.
    pub(crate) over: bool,
    reset: Duration,
}

impl Allowance {
    /// In whole seconds, never 0.
    fn seconds(&self) -> u64 {
        self.reset.as_millis().div_ceil(1000).try_into().unwrap_or(1).max(1)
    }

    /// Says it in the standard fields (draft-ietf-httpapi-ratelimit-headers).
    pub(crate) fn told(self, mut answer: Response) -> Response {
        let fields = [
            ("ratelimit-policy", format!("\"minute\";q={};w={}", self.most, WINDOW.as_secs())),
            ("ratelimit", format!("\"minute\";r={};t={}", self.left, self.seconds())),
        ];
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::from_str(&value) {
                answer.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        answer
    }
}

/// Refuses, and says when to come back.
pub(crate) fn refused(allowance: &Allowance) -> Problem {
    let seconds = allowance.seconds();
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "That is too often. Nothing was done.")
        .remedy(format!("Wait {}.", words::many(seconds, "second")))
        .retry_after(seconds)
}

/// Where a request comes from, as the socket says.
pub(crate) fn address(extensions: &Extensions) -> IpAddr {
    let known = extensions.get::<ConnectInfo<SocketAddr>>();
    known.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip())
}

/// The same, for a handler.
pub(crate) struct Address(pub(crate) IpAddr);

impl FromRequestParts<App> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        Ok(Self(address(&parts.extensions)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_fills_ends_and_begins_anew() {
        let (counter, begin) = (Counter::new(2), Instant::now());
        let at = |s| begin + Duration::from_secs(s);
        let over: Vec<_> = [0, 1, 2].map(|s| counter.count("a", at(s)).over).into();
        assert_eq!(over, [false, false, true]);
        assert!(!counter.count("b", at(2)).over, "somebody else");
        let told = counter.count("a", at(50));
        assert_eq!((told.left, told.seconds()), (0, 10));
        assert!(!counter.count("a", at(60)).over, "another minute");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (counter, now) = (Counter::new(1), Instant::now());
        for key in 0..3 * KEPT {
            counter.count(key, now);
        }
        assert!(counter.windows.lock().unwrap().len() <= KEPT);
    }

    #[test]
    fn one_network_of_ipv6_is_one_stranger() {
        let limits = Limits::new(1);
        let all = (0..=WRONG)
            .map(|n| limits.failed(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, n as u16))).over);
        assert_eq!(all.last(), Some(true));
    }
}
