//! Actions that look real to the checker: their schemas and effects, and nothing behind them.

use domain::action::{ActionError, Change, Ctx, Effect, ObjectChange, Observe, Registry, UndoCall};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Host {
    id: String,
    ip: Option<String>,
    az: String,
}

macro_rules! observing {
    ($type:ident, $name:literal, { $($input:ident: $input_type:ty),* }, { $($output:ident: $output_type:ty),* }) => {
        mod $type {
            use super::*;

            pub(crate) struct It;

            #[derive(Debug, Serialize, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub(crate) struct Input { $(pub(crate) $input: $input_type),* }

            #[derive(Debug, Serialize, Deserialize, JsonSchema)]
            pub(crate) struct Output { $(pub(crate) $output: $output_type),* }

            impl Observe for It {
                const NAME: &'static str = $name;
                const SUMMARY: &'static str = "Looks.";
                const PERMISSIONS: &'static [&'static str] = &[];
                type Input = Input;
                type Output = Output;

                async fn observe(&self, _: &Ctx, _: &Input) -> Result<Output, ActionError> {
                    Err(ActionError::refused("fake", "there is nothing behind it"))
                }

                fn command(&self, _: &Input) -> String {
                    String::new()
                }
            }
        }
    };
}

macro_rules! changing {
    ($type:ident, $name:literal, undoable: $undoable:literal, { $($input:ident: $input_type:ty),* }, { $($output:ident: $output_type:ty),* }) => {
        mod $type {
            use super::*;

            pub(crate) struct It;

            #[derive(Debug, Serialize, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub(crate) struct Input { $(pub(crate) $input: $input_type),* }

            #[derive(Debug, Serialize, Deserialize, JsonSchema)]
            pub(crate) struct Output { $(pub(crate) $output: $output_type),* }

            impl Change for It {
                const NAME: &'static str = $name;
                const SUMMARY: &'static str = "Changes.";
                const PERMISSIONS: &'static [&'static str] = &[];
                const EFFECT: Effect = Effect::Idempotent;
                const UNDOABLE: bool = $undoable;
                type Input = Input;
                type Facts = ();
                type Output = Output;

                async fn observe(&self, _: &Ctx, _: &Input) -> Result<(), ActionError> {
                    Err(ActionError::refused("fake", "there is nothing behind it"))
                }

                fn settled(&self, _: &Input, _: &()) -> Option<Output> {
                    None
                }

                fn plan(&self, _: &Input, _: &()) -> Result<Vec<ObjectChange>, ActionError> {
                    Ok(Vec::new())
                }

                fn predict(&self, _: &Input, _: &()) -> Option<Output> {
                    None
                }

                async fn apply(&self, _: &Ctx, _: &Input, _: &()) -> Result<Output, ActionError> {
                    Err(ActionError::refused("fake", "there is nothing behind it"))
                }

                fn undo(&self, _: &Input, _: &()) -> Option<UndoCall> {
                    None
                }

                fn command(&self, _: &Input) -> String {
                    String::new()
                }
            }
        }
    };
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Cell {
    host: String,
    error: Option<LoginFailure>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LoginFailure {
    kind: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Hook {
    name: String,
    timeout_s: u32,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Target {
    id: String,
    state: String,
}

observing!(describe_group, "autoscaling.describe_group", { region: String, group: String }, {
    ids: Vec<String>, in_service: Vec<Host>, pending: Vec<String>, leaving: Vec<String>, other: Vec<String>,
    desired: u32, max: u32, suspended: Vec<String>, target_groups: Vec<String>, zones: Vec<String>, health_check: String
});
observing!(describe_launches, "autoscaling.describe_launches", { region: String, group: String, within_s: Option<u32> }, {
    ids: Vec<String>, in_service: Vec<Host>, pending: Vec<String>, leaving: Vec<String>, other: Vec<String>,
    desired: u32, max: u32, suspended: Vec<String>, launch_failure: Option<String> });
observing!(describe_refreshes, "autoscaling.describe_refreshes", { region: String, group: String }, { active: Vec<String> });
observing!(describe_hooks, "autoscaling.describe_hooks", { region: String, group: String }, {
    launching: Vec<Hook>, terminating: Vec<Hook>
});
observing!(describe_instance, "autoscaling.describe_instance", { region: String, group: String, instance: String }, { in_service: bool });
observing!(target_health, "elbv2.target_health", { region: String, target_group: String }, {
    healthy: Vec<String>, targets: Vec<Target>, deregistration_delay_s: u32
});
observing!(login_matrix, "mysql.login_matrix", {
    fleet: String, hosts: Option<Vec<Host>>, clusters: Option<Vec<String>>, tries: Option<u32>, direct: Option<bool>
}, {
    failures: u32, direct_failures: u32, direct_failing_clusters: Vec<String>, failing_clusters: Vec<String>,
    failing_hosts: Vec<String>, via: Vec<Cell>
});
observing!(proxy_status, "proxysql.status", { fleet: String, host: Host }, { clients: u32 });
changing!(suspend, "autoscaling.suspend_processes", undoable: true, { region: String, group: String, processes: Vec<String> }, {
    suspended: Vec<String>
});
changing!(set_max, "autoscaling.set_max_size", undoable: true, { region: String, group: String, max: u32 }, { max: u32 });
changing!(scale_to, "autoscaling.scale_to", undoable: true, { region: String, group: String, desired: u32 }, { desired: u32 });
changing!(protect, "autoscaling.protect_instances", undoable: true, {
    region: String, group: String, instances: Vec<String>, protected: bool
}, { instances: Vec<String> });
changing!(pause, "proxysql.pause", undoable: true, { fleet: String, host: Host }, { paused: bool });
changing!(terminate, "autoscaling.terminate_instance", undoable: false, {
    region: String, group: String, instance: String, decrement: bool
}, { activity: String });

pub(crate) fn registry() -> Registry {
    Registry::default()
        .observing(describe_group::It)
        .observing(describe_launches::It)
        .observing(describe_refreshes::It)
        .observing(describe_hooks::It)
        .observing(describe_instance::It)
        .observing(target_health::It)
        .observing(login_matrix::It)
        .observing(proxy_status::It)
        .changing(suspend::It)
        .changing(set_max::It)
        .changing(scale_to::It)
        .changing(protect::It)
        .changing(pause::It)
        .changing(terminate::It)
}
