//! Which columns are read of what is proven, and what they are.

use domain::Timestamp;
use domain::audit::check::EntryRow;
use domain::audit::{AuditRow, Block, CallRow, Link};

use super::carried::Carried;
use super::copy::Row;
use crate::StoreError;

pub(super) const BLOCK: &str =
    "n, at, upto, audit_seq, audit_link, calls, calls_root, streams, streams_root, hash";

/// A block, and the hash that is stored with it.
pub(super) fn block(row: &Row<'_, 10>) -> Result<(Block, Link), StoreError> {
    let block = Block {
        n: row.int8(0)?,
        at: row.time(1)?,
        upto: row.int8(2)?,
        audit_seq: row.int8(3)?,
        audit_link: row.link(4)?,
        calls: row.int8(5)?,
        calls_root: row.link(6)?,
        streams: row.int8(7)?,
        streams_root: row.link(8)?,
    };
    Ok((block, row.link(9)?))
}

pub(super) const ENTRY: &str = "run_id, seq, epoch, at, kind, step, entry, hash, tx, carried, carried_at";

/// The row's own entry, and what it carries.
pub(super) fn entry<'a>(row: &'a Row<'_, 11>) -> Result<(EntryRow<'a>, Option<Carried<'a>>), StoreError> {
    let carried = whole(row.text_or_null(9)?, row.time_or_null(10)?);
    let entry = EntryRow {
        run_id: row.uuid(0)?,
        seq: row.int8(1)?,
        epoch: row.int8(2)?,
        at: row.time(3)?,
        kind: row.text(4)?,
        step: row.text_or_null(5)?,
        entry: row.text(6)?,
        link: row.get(7).and_then(Link::read),
        tx: row.int8_or_null(8)?,
    };
    Ok((entry, carried))
}

/// What a row carries. Half of it is completed with what never was, and so fits no link: whoever planted or took half is told.
pub(super) fn whole(entry: Option<&str>, at: Option<Timestamp>) -> Option<Carried<'_>> {
    (entry.is_some() || at.is_some())
        .then(|| (entry.unwrap_or_default(), at.unwrap_or(Timestamp::UNIX_EPOCH)))
}

pub(super) const CALL: &str = "id, tx, run_id, step, attempt, at, service, operation, target, request_id, status, duration_ms, mutating";

pub(super) fn call(row: &Row<'_, 13>) -> Result<CallRow, StoreError> {
    Ok(CallRow {
        id: row.int8(0)?,
        tx: row.int8_or_null(1)?,
        run_id: row.uuid(2)?,
        step: row.text(3)?.to_owned(),
        attempt: row.int4(4)?,
        at: row.time(5)?,
        service: row.text(6)?.to_owned(),
        operation: row.text(7)?.to_owned(),
        target: row.text(8)?.to_owned(),
        request_id: row.text_or_null(9)?.map(str::to_owned),
        status: row.text(10)?.to_owned(),
        duration_ms: row.int8(11)?,
        mutating: row.bool(12)?,
    })
}

pub(super) const AUDIT: &str = "seq, at, actor, action, target, details::text, hash";

pub(super) fn audit(row: &Row<'_, 7>) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        seq: row.int8(0)?,
        at: row.time(1)?,
        actor: row.text(2)?.to_owned(),
        action: row.text(3)?.to_owned(),
        target: row.text(4)?.to_owned(),
        details: row.text(5)?.to_owned(),
        link: row.link(6)?,
    })
}
