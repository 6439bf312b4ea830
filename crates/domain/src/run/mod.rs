//! A run: one execution of one runbook text, told as an append-only journal.
//!
//! Everything that is known of a run is derived from its journal. Two pure functions hold all the rules:
//! [`State::apply`] says what an entry means and refuses every illegal one, and [`next`] says what follows. The worker in
//! `engine` only carries out what `next` says and writes down what happened, so any prefix of a journal can be taken up
//! by any process.
//!
//! ```text
//!            ┌────────────── forward ──────────────┐      closing                 verifying
//!  requested ─▶ running ◀─▶ waiting ─▶ … last step ─▶ taking back `finally` ─▶ symptom gone? ─▶ succeeded
//!                 │  ▲                                  ▲        │                     └──────▶ symptom persists
//!                 ▼  │ resume · retry · skip · done     │        ▼ an undo failed
//!               paused ──── abort (with or without undo)┘      stuck: needs a person
//! ```
//!
//! Before it runs, a run may have to pass a [`Gate`]: others must agree, its locks must become free, and its plan must still
//! be true.
//!
//! A changing step lives `intent ─▶ done`, or `intent ─▶ unclear ─▶ (found done | sent again | a person says)`. Which of
//! those is decided by [`recover`], and by nothing else.

mod abort;
mod ask;
mod ballot;
mod entry;
mod gate;
mod inside;
mod next;
mod path;
mod recover;
mod so_far;
mod state;
mod tail;

pub use abort::{AbortPreview, TakesBack, abort_preview};
pub use ask::{Ask, Refusal, acceptable, allowed, answer, answer_to, goes_around, is_past};
pub use ballot::{Ballot, Ruling, Voice};
pub use entry::{After, Entry, How, Item, Outcome, Record, Takeback, Undo};
pub use gate::{Despite, Doorstep, Drift, Gate, HeldBack, IN_LINE};
pub use next::{
    ANSWER_LOST, ENDING, FOREIGN_WORK, Finally, GAVE_UP, Moves, Perform, Program, Verdict, Watch, expand,
    is_unanswered, next,
};
pub use path::StepPath;
pub use recover::{Recovery, recover};
pub use so_far::SoFar;
pub use state::{Attempt, Illegal, Intent, Node, Pause, Phase, State, Status};
pub use tail::{EPOCH_JUMP, tail_lost};
