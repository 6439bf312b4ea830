//! Lists of the API, which come in pages: followed from cursor to cursor until there are as many as were asked for.

use serde_json::Value;

use super::plan::escaped;
use super::server::Server;

/// A list, and what is wanted of it.
pub(super) struct List<'a> {
    /// Where it is, such as `/api/v1/runs`.
    pub(super) path: &'a str,
    /// Under which name its members stand in an answer.
    pub(super) name: &'a str,
    /// Under which name a cursor is sent back.
    pub(super) cursor: &'a str,
    /// What they must be like: names and values.
    pub(super) query: Vec<(&'a str, String)>,
}

impl List<'_> {
    /// So many of them at most, and where the list goes on: nowhere when that was all.
    pub(super) async fn read(
        &self,
        server: &Server,
        from: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<(Vec<Value>, Option<String>)> {
        let (mut found, mut next) = (Vec::new(), from.map(str::to_owned));
        loop {
            let left = limit - found.len();
            let page = server.get(&self.address(next.as_deref(), left)).await?;
            let members = page[self.name].as_array();
            found.extend(members.into_iter().flatten().cloned());
            next = match &page["next"] {
                Value::String(cursor) => Some(cursor.clone()),
                Value::Number(cursor) => Some(cursor.to_string()),
                _ => None,
            };
            if next.is_none() || found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok((found, next))
    }

    fn address(&self, from: Option<&str>, limit: usize) -> String {
        let query = self.query.iter().map(|(name, value)| (*name, value.clone()));
        let paging = [("limit", Some(limit.to_string())), (self.cursor, from.map(str::to_owned))];
        let paging = paging.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let all: Vec<String> =
            query.chain(paging).map(|(name, value)| format!("{name}={}", escaped(&value))).collect();
        format!("{}?{}", self.path, all.join("&"))
    }
}
