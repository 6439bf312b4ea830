//! The flattened parameters of a query call: `Filters.Filter.1.Name=...`.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::physics::Refusal;

/// Parameters as they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(pub(crate) BTreeMap<String, String>);

/// One page of a listing, and the token of the next.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<String>,
}

impl Params {
    pub(crate) fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).filter(|v| !v.is_empty()).ok_or_else(|| {
            let camel = name.chars().next().map(|c| c.to_ascii_lowercase().to_string()).unwrap_or_default();
            let camel = camel + name.get(1..).unwrap_or_default();
            Refusal::validation(format!(
                "1 validation error detected: Value null at '{camel}' failed to satisfy constraint: Member \
                 must not be null"
            ))
        })
    }

    /// A number or a boolean, if present.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let malformed =
            || Refusal::new("MalformedInput", format!("'{text}' is not a valid value for {name}"));
        text.parse().map(Some).map_err(|_| malformed())
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        self.parsed(name)
    }

    /// The list `prefix.1`, `prefix.2`, ... in order of the numbers.
    pub(crate) fn list(&self, prefix: &str) -> Vec<String> {
        let mut numbered: Vec<(u32, &String)> = self
            .0
            .iter()
            .filter_map(|(k, v)| Some((k.strip_prefix(prefix)?.strip_prefix('.')?.parse().ok()?, v)))
            .collect();
        numbered.sort_unstable();
        numbered.into_iter().map(|(_, v)| v.clone()).collect()
    }

    /// Filters `prefix.N.Name` with `prefix.N.<values>.M`.
    pub(crate) fn filters(&self, prefix: &str, values: &str) -> Vec<(String, Vec<String>)> {
        let numbered =
            (1_u32..).map_while(|n| Some((n, self.get(&format!("{prefix}.{n}.Name"))?.to_owned())));
        numbered.map(|(n, name)| (name, self.list(&format!("{prefix}.{n}.{values}")))).collect()
    }

    /// Cuts a listing into pages of at most `size`; the caller's token says where to begin.
    pub(crate) fn page<T>(
        &self,
        all: Vec<T>,
        size: &str,
        token: &str,
        largest: usize,
    ) -> Result<Page<T>, Refusal> {
        let wanted: usize = self.parsed(size)?.unwrap_or(largest);
        if wanted == 0 || wanted > largest {
            return Err(Refusal::validation(format!("{size} must be between 1 and {largest}, not {wanted}")));
        }
        let begin = match self.get(token) {
            None => 0,
            Some(t) => t
                .strip_prefix("sim-page-")
                .and_then(|n| n.parse().ok())
                .ok_or_else(|| Refusal::new("InvalidNextToken", format!("The token '{t}' is invalid.")))?,
        };
        let next = begin + wanted;
        let more = all.len() > next;
        let items = all.into_iter().skip(begin).take(wanted).collect();
        Ok(Page { items, next: more.then(|| format!("sim-page-{next}")) })
    }
}
