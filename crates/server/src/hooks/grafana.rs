//! Grafana's alerting: Alertmanager's group with more in it, and `version` "1".
//!
//! A contact point of type *webhook*, to `/hooks/grafana`, with an authorisation header (`Bearer …`), or signed (since Grafana 12;
//! leave the header's name as it is, and set no timestamp header).

use serde_json::Value;

use super::alertmanager::Group;
use super::{Delivered, json};

pub(super) fn read(body: &[u8]) -> Result<Vec<Delivered>, String> {
    let version: Value = json::<Value>(body)?["version"].take();
    if version != "1" {
        return Err(format!("its version is {version}, and \"1\" is understood"));
    }
    json::<Group>(body)?.signals("grafana", body)
}
