//! Events of AWS bring looks forward: whoever waits for what one is about looks soon, and believes the look.
//!
//! An event is delivered to one process, and only those that wait there hear of it: it spares them some seconds. A process that it was
//! not delivered to looks when it would have looked.

use domain::signal::{AUTO_SCALING_EVENT, RDS_EVENT, Signal};

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Happened {
    /// As actions begin with it.
    pub(super) service: &'static str,
    pub(super) region: String,
    /// As steps name it; empty where it may be any of the service's.
    pub(super) resource: String,
}

/// What an event says has happened: to a resource by all of its names, AWS's and the inventory's.
pub(super) fn happened(signal: &Signal) -> Vec<Happened> {
    let (service, names): (_, &[&str]) = match signal.kind.as_str() {
        RDS_EVENT => ("rds", &["cluster", "identifier", "instance"]),
        AUTO_SCALING_EVENT => ("autoscaling", &["group", "fleet", "instance"]),
        _ => return Vec::new(),
    };
    let label = |name: &str| signal.labels.get(name).filter(|value| !value.is_empty()).cloned();
    let about = |resource| Happened { service, region: label("region").unwrap_or_default(), resource };
    // Of an instance nobody says here whose it is, and its cluster is what is waited for.
    if service == "rds" && label("cluster").is_none() {
        return vec![about(String::new())];
    }
    names.iter().filter_map(|name| label(name)).map(about).collect()
}

#[cfg(test)]
mod tests {
    use domain::signal::SignalState;

    use super::*;

    fn names(kind: &str, labels: &[(&str, &str)]) -> Vec<(&'static str, String, String)> {
        let signal = Signal {
            source: "eventbridge".into(),
            kind: kind.into(),
            fingerprint: "f".into(),
            state: SignalState::Firing,
            severity: None,
            summary: String::new(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            started_at: None,
        };
        happened(&signal).into_iter().map(|h| (h.service, h.region, h.resource)).collect()
    }

    #[test]
    fn an_event_is_about_a_resource_by_all_of_its_names() {
        let here = |service, resource: &str| (service, "us-east-1".to_owned(), resource.to_owned());
        let region = ("region", "us-east-1");
        let cluster = names(RDS_EVENT, &[region, ("cluster", "shard-b"), ("identifier", "prod-b")]);
        assert_eq!(cluster, [here("rds", "shard-b"), here("rds", "prod-b")]);
        let group =
            names(AUTO_SCALING_EVENT, &[region, ("group", "proxysql-us"), ("fleet", "us"), ("instance", "")]);
        assert_eq!(group, [here("autoscaling", "proxysql-us"), here("autoscaling", "us")]);
        assert_eq!(names(RDS_EVENT, &[region, ("instance", "shard-b-1")]), [here("rds", "")]);
        assert_eq!(names("HighCPU", &[region, ("cluster", "shard-b")]), []);
    }
}
