//! Where the next page of a list begins: behind the last row of this one, by its time and its key.

use std::str::FromStr;

use axum::http::StatusCode;
use domain::Timestamp;

use crate::error::Problem;

/// As pages and the API hand it out.
pub(crate) fn cursor(at: Timestamp, key: impl std::fmt::Display) -> String {
    format!("{}_{key}", at.timestamp_micros())
}

/// As it comes back; a refusal leads to the first page of the list, by its name and address.
pub(super) fn read_cursor<K: FromStr>(
    text: &str,
    (name, address): (&'static str, &'static str),
) -> Result<(Timestamp, K), Problem> {
    let read = |text: &str| {
        let (at, key) = text.split_once('_')?;
        Some((Timestamp::from_timestamp_micros(at.parse().ok()?)?, key.parse().ok()?))
    };
    read(text).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "bad_cursor", "The cursor is not one of this list.")
            .remedy("Begin at the first page.")
            .link(name, address)
    })
}
