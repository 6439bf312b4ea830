//! Rows out of `COPY … TO STDOUT (FORMAT binary)`: no parsing of text, no allocation per value.
//!
//! The format: a header of 19 bytes (and an extension), then for each row the number of its fields (2 bytes), and each
//! field as its length (4 bytes, -1 for null) and its bytes; 0xffff ends it.

use domain::Timestamp;
use domain::audit::Link;
use futures::TryStreamExt as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;

const HEADER: usize = 19;
/// Microseconds from 1970 to 2000, where Postgres counts from.
const EPOCH: i64 = 946_684_800_000_000;

/// A row of `N` fields.
pub(super) struct Row<'a, const N: usize>([Option<&'a [u8]>; N]);

impl<const N: usize> Row<'_, N> {
    pub(super) fn get(&self, field: usize) -> Option<&[u8]> {
        self.0.get(field).copied().flatten()
    }

    fn sized<const S: usize>(&self, field: usize) -> Result<Option<[u8; S]>, StoreError> {
        self.get(field)
            .map(|bytes| bytes.try_into().map_err(|_| malformed("a field has another type")))
            .transpose()
    }

    fn must<T>(&self, field: usize, value: Option<T>) -> Result<T, StoreError> {
        value.ok_or_else(|| malformed(&format!("field {field} is null")))
    }

    pub(super) fn int8_or_null(&self, field: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.sized(field)?.map(i64::from_be_bytes))
    }

    pub(super) fn int8(&self, field: usize) -> Result<i64, StoreError> {
        self.must(field, self.int8_or_null(field)?)
    }

    pub(super) fn int4(&self, field: usize) -> Result<i32, StoreError> {
        self.must(field, self.sized(field)?.map(i32::from_be_bytes))
    }

    pub(super) fn bool(&self, field: usize) -> Result<bool, StoreError> {
        self.must(field, self.sized(field)?.map(|[byte]| byte != 0))
    }

    pub(super) fn uuid(&self, field: usize) -> Result<Uuid, StoreError> {
        self.must(field, self.sized(field)?.map(Uuid::from_bytes))
    }

    pub(super) fn time_or_null(&self, field: usize) -> Result<Option<Timestamp>, StoreError> {
        let time = |micros: i64| {
            Timestamp::from_timestamp_micros(micros.saturating_add(EPOCH))
                .ok_or_else(|| malformed("a time is out of range"))
        };
        self.int8_or_null(field)?.map(time).transpose()
    }

    pub(super) fn time(&self, field: usize) -> Result<Timestamp, StoreError> {
        self.must(field, self.time_or_null(field)?)
    }

    pub(super) fn text_or_null(&self, field: usize) -> Result<Option<&str>, StoreError> {
        self.get(field)
            .map(|bytes| std::str::from_utf8(bytes).map_err(|_| malformed("a text is not UTF-8")))
            .transpose()
    }

    pub(super) fn text(&self, field: usize) -> Result<&str, StoreError> {
        self.must(field, self.text_or_null(field)?)
    }

    /// A hash; what is none becomes one that fits nothing, so that it shows as a break and not as a failure to read.
    pub(super) fn link(&self, field: usize) -> Result<Link, StoreError> {
        Ok(self.get(field).and_then(Link::read).unwrap_or(Link::from([0; 32])))
    }
}

/// Hands over each row of a query.
pub(super) async fn rows<const N: usize>(
    connection: &mut PgConnection,
    query: &str,
    mut each: impl FnMut(&Row<'_, N>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut messages = connection.copy_out_raw(&format!("COPY ({query}) TO STDOUT (FORMAT binary)")).await?;
    let mut kept: Vec<u8> = Vec::new();
    let mut begun = false;
    while let Some(message) = messages.try_next().await? {
        // A message is a row, nearly always: then nothing is copied.
        let mut rest: &[u8] = &message;
        if !kept.is_empty() || !begun {
            kept.extend_from_slice(rest);
            rest = &kept;
        }
        if !begun {
            let Some(extension) = rest.get(HEADER - 4..HEADER) else { continue };
            let length = extension.try_into().map(u32::from_be_bytes).unwrap_or_default();
            let Some(after) = rest.get(HEADER + length as usize..) else { continue };
            rest = after;
            begun = true;
        }
        while let Some((row, after)) = row(rest)? {
            each(&row)?;
            rest = after;
        }
        kept = rest.to_vec();
    }
    if begun && kept == [0xff, 0xff] { Ok(()) } else { Err(malformed("it broke off")) }
}

/// The next row and what follows it; `None` when it has not come whole, or there is none any more.
type Next<'a, const N: usize> = Option<(Row<'a, N>, &'a [u8])>;

fn row<const N: usize>(bytes: &[u8]) -> Result<Next<'_, N>, StoreError> {
    let Some((count, mut rest)) = bytes.split_first_chunk() else { return Ok(None) };
    match u16::from_be_bytes(*count) {
        u16::MAX => return Ok(None),
        count if usize::from(count) != N => return Err(malformed("another number of fields")),
        _ => {}
    }
    let mut fields = [None; N];
    for field in &mut fields {
        let Some((length, after)) = rest.split_first_chunk() else { return Ok(None) };
        rest = after;
        if let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) {
            let Some((value, after)) = rest.split_at_checked(length) else { return Ok(None) };
            *field = Some(value);
            rest = after;
        }
    }
    Ok(Some((Row(fields), rest)))
}

fn malformed(why: &str) -> StoreError {
    StoreError::corrupt("COPY", "stream", why)
}
