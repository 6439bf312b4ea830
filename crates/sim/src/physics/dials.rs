//! The fault dials of the AWS API, the load shedder and ProxySQL's admin ports: which call meets which trouble.
//!
//! Seeded by spreading: with probability 0.25 every fourth matching call is hit, never by chance.

use crate::fault::{ApiFault, ApiTrouble};

/// What has no API: only a dial that names it is for it.
pub(crate) const PROXYSQL: &str = "proxysql";

/// All dials that are turned up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dials(Vec<Dial>);

#[derive(Debug, Clone)]
struct Dial {
    fault: ApiFault,
    /// Hits when it fills up.
    debt: f64,
}

impl Dials {
    pub(crate) fn turn_up(&mut self, fault: ApiFault) {
        // A full debt: the first matching call is hit, whatever the probability.
        self.0.push(Dial { debt: 1.0 - fault.probability, fault });
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The trouble that this call meets; the first matching dial that hits wins.
    pub(crate) fn meet(&mut self, service: &str, operation: &str) -> Option<ApiTrouble> {
        let matches = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
        let mut met = None;
        for dial in &mut self.0 {
            let named = dial.fault.service.is_some() || service != PROXYSQL;
            if !named || !matches(&dial.fault.service, service) || !matches(&dial.fault.operation, operation)
            {
                continue;
            }
            dial.debt += dial.fault.probability;
            if dial.debt >= 1.0 - 1e-9 {
                dial.debt -= 1.0;
                dial.fault.next = dial.fault.next.map(|n| n.saturating_sub(1));
                met = Some(dial.fault.trouble.clone());
                break;
            }
        }
        self.0.retain(|d| d.fault.next != Some(0));
        met
    }
}
