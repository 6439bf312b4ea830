//! Which server answers a login, and whether it is read-only.

use super::failure::UNKNOWN_VARIABLE;
use super::{Connection, Failure, Kind};

/// A server's name, and whether it is read-only.
pub(super) type Server = (Option<String>, Option<bool>);

pub(super) const AURORA: &str = "SELECT @@aurora_server_id, @@innodb_read_only";
const PLAIN: &str = "SELECT @@hostname, @@read_only";

/// Which server answers, and whether it is read-only. `ending` says to a proxy where the query belongs.
pub(super) async fn identify(connection: &mut Connection, ending: &str) -> Result<Server, Failure> {
    let rows = match connection.query(&format!("{AURORA}{ending}")).await {
        Err(failure) if failure.code == Some(UNKNOWN_VARIABLE) => {
            connection.query(&format!("{PLAIN}{ending}")).await?
        }
        answer => answer?,
    };
    let Some(row) = rows.into_iter().next() else {
        return Err(Failure::new(Kind::Other, "the query was answered without a row"));
    };
    let mut values = row.into_iter();
    let server = values.next().flatten();
    let read_only = values.next().flatten().map(|value| value == "1" || value.eq_ignore_ascii_case("on"));
    Ok((server, read_only))
}
