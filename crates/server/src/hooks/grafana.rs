//! Grafana's alerting: Alertmanager's group with more in it, and `version` "1".
//!
//! A contact point of type *webhook*, to `/hooks/grafana`, with an authorisation header (`Bearer …`), or signed (since Grafana 12;
//! leave the header's name as it is, and set no timestamp header).

use serde_json::Value;

use super::alertmanager::Group;
use super::{Delivered, json};

pub(super) fn read(body: &[u8]) -> Result<Vec<Delivered>, String> {
    let whole: Value = json(body)?;
    match whole.get("version") {
        Some(version) if version == "1" => {}
        Some(other) => return Err(format!("its version is {other}, and \"1\" is understood")),
        None => return Err("it has no version".into()),
    }
    Ok(json::<Group>(body)?.signals("grafana", body))
}
