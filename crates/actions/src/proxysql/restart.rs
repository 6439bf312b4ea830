//! `proxysql.restart`: the process of one paused host begins anew, in place.
//!
//! ProxySQL has no token for it, never answers it (it drops every connection, this one too, and begins anew), and may go on counting
//! its uptime meanwhile: in 2.0 to 3.0 the process goes back to a place in `main()` after the one where the clock is set, and only
//! one that was started by its angel or by systemd counts from nought. So the answer is always lost, and what was seen before the
//! call is kept. It took effect when the process is a later one by its uptime, or when the port, which was closed before, is
//! open: a restart opens it by itself. A host that is not paused is refused: its clients would be cut off in the middle of what
//! they do.
//!
//! Two other things open that port. Somebody sends a RESUME: then the host is taken for restarted and is as sick as it was, which
//! the logins through it that follow say; a runbook must have them follow. Or the process dies and is started again: that is a
//! restart, whoever made it.
//!
//! What was loaded and not saved to disk is lost by a restart, as ProxySQL reads its disk database anew. And it leaves the host
//! calling itself paused: see `proxysql.resume`.

use std::sync::Arc;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::action::{ActionError, Change, Ctx, Effect, ErrorClass, ObjectChange, UndoCall};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{HostInput, Hosts, Started, by_hand, code, said};
use crate::mysql::{Failure, Kind, knock};

/// `proxysql.restart`.
pub(super) struct Restart(pub(super) Arc<Hosts>);

/// The process before the call.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Process {
    /// It cannot have started before,
    not_before: Timestamp,
    /// nor after.
    not_after: Timestamp,
    paused: bool,
}

impl Process {
    /// Has it been restarted since? By its uptime, where that begins anew, or by the port that a restart opens.
    fn is_after(&self, before: &Self) -> bool {
        self.not_before > before.not_after || (before.paused && !self.paused)
    }
}

/// A process that is new.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Restarted {
    /// EC2 instance id.
    host: String,
}

/// Nothing runs for longer.
const AGES: TimeDelta = TimeDelta::days(36_500);
const COMMAND: &str = "PROXYSQL RESTART";
const UPTIME: &str = "SELECT variable_value FROM stats_mysql_global WHERE variable_name='ProxySQL_Uptime'";
/// A process tells its age in whole seconds, and clocks are not quite the same.
const BLUR: TimeDelta = TimeDelta::seconds(3);

impl Restart {
    async fn process(&self, ctx: &Ctx, input: &HostInput) -> Result<Process, ActionError> {
        let (host, fleet) = (&input.host, self.0.prober.fleet(&input.fleet)?);
        let failed =
            |failure: Failure| ActionError::new(ErrorClass::Transient, code(&failure), said(host, &failure));
        let asked = ctx.clock.now();
        let look = async {
            let mut admin = self.0.admin(ctx, fleet, host).await?;
            let rows = admin.query(UPTIME).await.map_err(failed)?;
            admin.quit().await;
            let paused = match knock(&host.ip, fleet.port, self.0.prober.limits.connect).await {
                Ok(()) => false,
                Err(failure) if failure.kind == Kind::Refused => true,
                Err(failure) => return Err(failed(failure)),
            };
            let answered = ctx.clock.now();
            let age = rows.first().and_then(|row| row.first()?.as_ref()?.parse().ok());
            let age = age.and_then(TimeDelta::try_seconds).filter(|age| *age < AGES).ok_or_else(|| {
                let message = format!("The host {} does not tell how old its process is.", host.id);
                ActionError::refused("no_uptime", message)
                    .remedy("check that the admin port of the fleet is ProxySQL's")
            })?;
            Ok(Process { not_before: asked - age - BLUR, not_after: answered - age + BLUR, paused })
        };
        let started = Started::now(ctx);
        let result = timeout(ctx.deadline, Box::pin(look)).await.unwrap_or_else(|_| {
            let message = format!("The admin port of host {} did not answer in time.", host.id);
            Err(ActionError::new(ErrorClass::Transient, "timeout", message))
        });
        started.record("uptime", host, &result, false);
        result
    }
}

impl Change for Restart {
    const NAME: &'static str = "proxysql.restart";
    const SUMMARY: &'static str = "Restart the process of a paused ProxySQL host, in place";
    const PERMISSIONS: &'static [&'static str] = super::PERMISSIONS;
    const EFFECT: Effect = Effect::Probe;
    const UNDOABLE: bool = false;
    type Input = HostInput;
    type Facts = Process;
    type Output = Restarted;

    async fn observe(&self, ctx: &Ctx, input: &HostInput) -> Result<Process, ActionError> {
        self.process(ctx, input).await
    }

    fn settled(&self, _input: &HostInput, _facts: &Process) -> Option<Restarted> {
        None
    }

    fn happened(&self, input: &HostInput, before: &Process, now: &Process) -> Option<Restarted> {
        now.is_after(before).then(|| restarted(input))
    }

    fn plan(&self, input: &HostInput, _facts: &Process) -> Result<Vec<ObjectChange>, ActionError> {
        Ok(vec![ObjectChange {
            object: format!("host {}", input.host.id),
            property: "ProxySQL process".into(),
            before: "as it is".into(),
            after: "new, with the settings of its disk".into(),
        }])
    }

    fn forbidden(&self, input: &HostInput, facts: &Process) -> Option<ActionError> {
        (!facts.paused).then(|| {
            ActionError::refused(
                "not_paused",
                format!(
                    "The host {} takes traffic; a restart would cut its clients off in the middle of what they do.",
                    input.host.id
                ),
            )
            .remedy("pause it first (proxysql.pause), and let its clients finish")
        })
    }

    fn predict(&self, input: &HostInput, _facts: &Process) -> Option<Restarted> {
        Some(restarted(input))
    }

    /// Never answered: the error says that it is not known, and a look tells.
    async fn apply(&self, ctx: &Ctx, input: &HostInput, _facts: &Process) -> Result<Restarted, ActionError> {
        self.0.command(ctx, input, COMMAND).await?;
        Ok(restarted(input))
    }

    fn undo(&self, _input: &HostInput, _facts: &Process) -> Option<UndoCall> {
        None
    }

    fn command(&self, input: &HostInput) -> String {
        by_hand(&self.0, input, COMMAND)
    }
}

fn restarted(input: &HostInput) -> Restarted {
    Restarted { host: input.host.id.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What would show that it took effect, for versions that count their uptime anew and for those that go on.
    #[test]
    fn a_later_process_or_an_open_port_says_that_it_happened() {
        let at = |second: i64| Timestamp::from_timestamp(second, 0).unwrap();
        let process =
            |began: i64, paused| Process { not_before: at(began - 3), not_after: at(began + 3), paused };
        for (before, now, happened) in [
            (process(100, true), process(100, true), false),
            (process(100, true), process(105, true), false),
            (process(100, true), process(100, false), true),
            (process(100, true), process(900, true), true),
            (process(100, false), process(100, false), false),
        ] {
            assert_eq!(now.is_after(&before), happened, "{before:?} {now:?}");
        }
    }
}
