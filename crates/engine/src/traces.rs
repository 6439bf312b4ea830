//! Draws the trace of a run that has ended, for the channels that take traces.
//!
//! The outbox does the rest, as for any message: one for each run and channel, tried again until it is taken. An answer that was
//! lost is no doubt: the same trace, sent again, has the same ids.
//!
//! Calls are written down beside the journal (`engine::calls`), and may come a moment later than the end of their run. They are waited
//! for, but not for ever: those of a process that died may never come.

use domain::Timestamp;
use domain::action::CallRecord;
use domain::notice::Undelivered;
use domain::run::{How, State, StepPath};
use domain::trace::{StepCall, Trace};
use store::StoreError;
use store::calls::Call;
use uuid::Uuid;

use crate::Core;

/// So many of the looks that a run acted on are told, the newest; of changes, all.
const LOOKS: i64 = 1000;

/// So often a trace is put off for a call that is not on record yet: half a minute, as the outbox waits.
const PATIENT: i32 = 5;

/// What a run did, from what is on record of it; `tries` is how often that was asked before.
pub(crate) async fn draw(
    core: &Core,
    run: Option<Uuid>,
    tries: i32,
) -> Result<Result<Trace, Undelivered>, StoreError> {
    let gone = || Ok(Err(Undelivered::Never("the run is not on record any more".into())));
    let Some(id) = run else { return gone() };
    let runs = [id];
    let runs = store::outbox::runs(&core.pool, Some(&runs), Timestamp::UNIX_EPOCH);
    let Some(run) = core.soon(runs).await?.pop() else { return gone() };
    // Written by a newer version, which draws it.
    let unread = |error: String| Ok(Err(Undelivered::Later { error, after: None }));
    let journal = match core.soon(store::runs::journal(&core.pool, id)).await {
        Err(e) if e.is_final() => return unread(e.to_string()),
        journal => journal?,
    };
    let state = match State::replay(&journal) {
        Ok(state) => state,
        Err(e) => return unread(e.to_string()),
    };
    let calls = core.soon(store::calls::of_run(&core.pool, id, LOOKS)).await?;
    let calls: Vec<StepCall> = calls.into_iter().map(step_call).collect();
    if tries < PATIENT && is_to_come(&state, &calls) {
        let error = "not all of its calls are on record yet".into();
        return Ok(Err(Undelivered::Later { error, after: None }));
    }
    Ok(Ok(Trace::of(id, &run.title, &state, &calls)))
}

/// Is there a step whose call was answered, by the journal, and which call of its last attempt that was is not known?
fn is_to_come(state: &State, calls: &[StepCall]) -> bool {
    let kept = |step: &StepPath, attempt: u32| {
        calls.iter().any(|kept| {
            kept.call.mutating && kept.step == *step && u32::try_from(kept.attempt) == Ok(attempt)
        })
    };
    state
        .nodes()
        .any(|(step, node)| matches!(node.how, Some(How::Called { .. })) && !kept(step, node.attempt()))
}

fn step_call(call: Call) -> StepCall {
    let Call { step, attempt, at, service, operation, target, request_id, status, duration_ms, mutating } =
        call;
    let duration_ms = u64::try_from(duration_ms).unwrap_or(0);
    let call = CallRecord { at, service, operation, target, request_id, status, duration_ms, mutating };
    StepCall { step: StepPath::from(step.as_str()), attempt, call }
}
