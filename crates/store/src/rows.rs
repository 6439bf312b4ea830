//! What the write path sends: arrays of rows.
//!
//! Postgres reads each array of `unnest(a, b, …)` by a scan of its own, with a store of its own for what it finds; an array of
//! rows is one scan, however many columns they have. The types are those of migrations 0017 and 0019. What is sent must fit them
//! exactly, so that a type never changes once a version uses it: another column is another type.

use domain::Timestamp;
use serde_json::Value;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};
use uuid::Uuid;

/// What an append says about its run (`append_run`).
pub(crate) struct AppendRun<'a> {
    pub(crate) n: i32,
    pub(crate) run_id: Uuid,
    pub(crate) epoch: i64,
    pub(crate) before: i64,
    pub(crate) seq: i64,
    pub(crate) state: &'a str,
    pub(crate) outcome: Option<&'a str>,
    pub(crate) message: Option<&'a str>,
    pub(crate) at: Timestamp,
    pub(crate) inbox: i64,
    pub(crate) scopes: &'a str,
}

/// A row of a journal (`append_row`): an entry, and perhaps the one before it.
pub(crate) struct AppendRow<'a> {
    pub(crate) n: i32,
    pub(crate) run_id: Uuid,
    pub(crate) seq: i64,
    pub(crate) epoch: i64,
    pub(crate) at: Timestamp,
    pub(crate) kind: &'a str,
    pub(crate) step: Option<&'a str>,
    pub(crate) entry: ExactJson<'a>,
    pub(crate) write_id: Uuid,
    pub(crate) hash: &'a [u8],
    pub(crate) carried: Option<ExactJson<'a>>,
    pub(crate) carried_at: Option<Timestamp>,
}

/// A run that is about to be (`birth_run`).
#[derive(Encode)]
pub(crate) struct BirthRun<'a> {
    pub(crate) n: i32,
    pub(crate) id: Uuid,
    pub(crate) runbook: &'a str,
    pub(crate) hash: &'a str,
    pub(crate) title: &'a str,
    pub(crate) inputs: Value,
    pub(crate) plan: Option<&'a Value>,
    pub(crate) requested_by: &'a str,
    pub(crate) idem_key: &'a str,
    pub(crate) state: &'a str,
    pub(crate) owner: i64,
    pub(crate) at: Timestamp,
    pub(crate) seq: i64,
    pub(crate) person: Option<&'a str>,
    pub(crate) targets: &'a [String],
    pub(crate) limits: Value,
    pub(crate) overrides: Value,
    pub(crate) reason: Option<&'a str>,
}

macro_rules! row_type {
    ($row:ident, $name:literal) => {
        impl Type<Postgres> for $row<'_> {
            fn type_info() -> PgTypeInfo {
                PgTypeInfo::with_name($name)
            }
        }

        impl PgHasArrayType for $row<'_> {
            fn array_type_info() -> PgTypeInfo {
                PgTypeInfo::array_of($name)
            }
        }
    };
}
row_type!(AppendRun, "append_run");
row_type!(AppendRow, "append_row");
row_type!(BirthRun, "birth_run");

/// A value whose type has the same number in every Postgres.
trait Known<'q>: Type<Postgres> + Encode<'q, Postgres> {
    const OID: u32;
}

macro_rules! known {
    ($($value:ty: $oid:literal),+) => { $(impl<'q> Known<'q> for $value { const OID: u32 = $oid; })+ };
}
known!(&[u8]: 17, i64: 20, i32: 23, &str: 25, ExactJson<'_>: 114, Timestamp: 1184, Uuid: 2950);

impl<'q, T: Known<'q> + 'q> Known<'q> for Option<T> {
    const OID: u32 = T::OID;
}

/// The rows that every step writes, column by column. What sqlx derives asks each value for its type, each time: half as many
/// instructions again.
macro_rules! columns {
    ($row:ident { $($column:ident),+ }) => {
        impl<'q> Encode<'q, Postgres> for $row<'_> {
            fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                let columns: i32 = const { 0 $(+ { let _ = stringify!($column); 1 })+ };
                buf.extend_from_slice(&columns.to_be_bytes());
                $(write_column(buf, &self.$column)?;)+
                Ok(IsNull::No)
            }
        }
    };
}
columns!(AppendRun { n, run_id, epoch, before, seq, state, outcome, message, at, inbox, scopes });
columns!(AppendRow { n, run_id, seq, epoch, at, kind, step, entry, write_id, hash, carried, carried_at });

/// Its type's number, its length, and itself, as Postgres reads the columns of a row.
fn write_column<'q, T: Known<'q>>(buf: &mut PgArgumentBuffer, value: &T) -> Result<(), BoxDynError> {
    buf.extend_from_slice(&T::OID.to_be_bytes());
    let at = buf.len();
    buf.extend_from_slice(&[0; 4]);
    let length = match value.encode_by_ref(buf)? {
        IsNull::No => i32::try_from(buf.len() - at - 4)?,
        IsNull::Yes => -1,
    };
    buf[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// A text that is JSON, and is stored to the letter: the chain covers it.
#[derive(Clone, Copy)]
pub(crate) struct ExactJson<'a>(pub(crate) &'a str);

impl Type<Postgres> for ExactJson<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(114)) // json, in every Postgres; sqlx's own type puts a blank before the text
    }
}

impl<'q> Encode<'q, Postgres> for ExactJson<'_> {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buf.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}
