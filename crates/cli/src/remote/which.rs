//! Which run or signal somebody means: by its id, or by the beginning or the end of it that no other has, as in Slack.

use clap_complete::engine::ArgValueCompleter;
use uuid::Uuid;

use super::Remote;
use super::complete::runs;
use super::exit::{Exit, Failure};
use super::lists::List;
use super::server::Server;
use super::words::{table, word};
use crate::terminal::remark;

/// Fewer characters mean nobody in particular.
const LEAST: usize = 4;
/// So many are told of those that might be meant.
const TOLD: usize = 8;

/// A run, and where it is.
#[derive(clap::Args)]
pub(crate) struct Of {
    /// The run's id, or the beginning or the end of it
    #[arg(add = ArgValueCompleter::new(runs))]
    run: String,
    #[command(flatten)]
    pub(super) remote: Remote,
}

impl Of {
    /// The server, and the run there.
    pub(super) async fn find(&self) -> anyhow::Result<(Server, Uuid)> {
        let server = Server::of(&self.remote)?;
        let run = RUN.find(&server, &self.run).await?;
        Ok((server, run))
    }

    /// The server, and the run there that something is asked of. By a part of its id only one that is open is meant, and which one
    /// that is, is said.
    pub(super) async fn open(&self) -> anyhow::Result<(Server, Uuid)> {
        let server = Server::of(&self.remote)?;
        if let Ok(id) = self.run.parse() {
            return Ok((server, id));
        }
        let run = OPEN_RUN.find(&server, &self.run).await?;
        let title = server.get(&format!("/api/v1/runs/{run}")).await?;
        remark(format!("{run}  {}", word(&title["run"], "title")));
        Ok((server, run))
    }
}

/// What has ids.
pub(super) struct Kind {
    one: &'static str,
    /// Where the API lists them, and under which name.
    path: &'static str,
    name: &'static str,
    /// What tells one from another.
    told: &'static str,
    /// What lists them here.
    verb: &'static str,
    /// Only those that have not ended.
    open: bool,
}

/// Runs.
pub(super) const RUN: Kind = Kind {
    one: "run",
    path: "/api/v1/runs",
    name: "runs",
    told: "title",
    verb: "firebreak runs",
    open: false,
};
/// Runs that have not ended.
const OPEN_RUN: Kind = Kind { one: "open run", verb: "firebreak runs --open", open: true, ..RUN };
/// Signals.
pub(super) const SIGNAL: Kind = Kind {
    one: "signal",
    path: "/api/v1/signals",
    name: "signals",
    told: "summary",
    verb: "firebreak signals --all",
    open: false,
};

impl Kind {
    /// The id of the one that is meant.
    pub(super) async fn find(&self, server: &Server, typed: &str) -> anyhow::Result<Uuid> {
        if let Ok(id) = typed.parse() {
            return Ok(id);
        }
        let part = typed.trim().to_lowercase();
        if part.len() < LEAST {
            let says = format!("write at least {LEAST} characters of an id; `{}` lists them", self.verb);
            return Err(Failure::new(Exit::Usage, says).into());
        }
        let mut query = vec![("id", part.clone())];
        query.extend(self.open.then(|| ("open", "1".to_owned())));
        let list = List { path: self.path, name: self.name, cursor: "before", query };
        let (found, _) = list.read(server, None, TOLD + 1).await?;
        let found: Vec<_> = found
            .iter()
            .map(|one| (word(one, "id"), word(one, self.told)))
            // An older server lists them all.
            .filter(|(id, _)| id.starts_with(&part) || id.ends_with(&part))
            .collect();
        Ok(self.only(typed, &found)?)
    }

    /// The id of the only one of those that were found.
    fn only(&self, typed: &str, found: &[(&str, &str)]) -> Result<Uuid, Failure> {
        let Self { one, verb, .. } = self;
        let says = match found {
            [(id, _)] => match id.parse() {
                Ok(id) => return Ok(id),
                Err(_) => format!("`{id}` is no id; is the server newer?"),
            },
            [] => format!("no {one} of the newest begins or ends with `{typed}`; `{verb}` lists them"),
            several => {
                let rows: Vec<_> = several
                    .iter()
                    .take(TOLD)
                    .map(|(id, told)| vec![format!("  {id}"), (*told).to_owned()])
                    .collect();
                let more = if several.len() > TOLD { "\n  …" } else { "" };
                format!("several begin or end with `{typed}`:\n{}{more}", table(&rows))
            }
        };
        Err(Failure::new(Exit::Refused, says))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_of_several_is_meant_by_a_part_of_an_id() {
        let ids = ["018f0000-0000-7000-8000-00000000aaaa", "018f0000-0000-7000-8000-00000000bbbb"];
        let found = ids.map(|id| (id, "Switch a lamp"));
        assert_eq!(RUN.only("aaaa", &found[..1]).unwrap().to_string(), ids[0]);
        let says = |typed: &str, found: &[(&str, &str)]| RUN.only(typed, found).unwrap_err().says;
        assert_eq!(
            says("cccc", &[]),
            "no run of the newest begins or ends with `cccc`; `firebreak runs` lists them"
        );
        let several = says("018f", &found);
        assert!(several.starts_with("several begin or end with `018f`:") && several.contains(ids[1]));
    }
}
