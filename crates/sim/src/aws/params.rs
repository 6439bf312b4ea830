//! The flattened parameters of a query call: `Filters.Filter.1.Name=...`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::physics::Refusal;

/// Parameters as they came, and how their service refuses bad ones.
#[derive(Debug, Clone)]
pub(crate) struct Params {
    pub(crate) all: BTreeMap<String, String>,
    manner: Manner,
    /// The token of the session that the call is signed with, if any.
    pub(crate) session: Option<String>,
}

/// How a service says that a parameter is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// `ValidationError`, as most query services.
    Validation,
    /// `InvalidParameterValue`: RDS.
    ParameterValue,
    /// `MissingParameter` and `InvalidParameterValue`: EC2 and CloudWatch.
    Parameter,
}

/// One page of a listing, and the token of the next.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<String>,
}

/// How a listing is asked for in pages.
pub(crate) struct Paging {
    /// The parameter with the page's size.
    pub(crate) size: &'static str,
    /// The parameter with the token.
    pub(crate) token: &'static str,
    pub(crate) sizes: RangeInclusive<usize>,
    /// The page's size when nobody asks for one: often less than the most, so that a caller who takes one page for all is found out.
    pub(crate) usual: usize,
    /// What a token is called that was never given out.
    pub(crate) bad_token: &'static str,
}

impl Params {
    pub(crate) fn parse(body: &[u8], manner: Manner) -> Self {
        Self::new(form_urlencoded::parse(body).into_owned().collect(), manner)
    }

    pub(crate) fn new(all: BTreeMap<String, String>, manner: Manner) -> Self {
        Self { all, manner, session: None }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all.get(name).map(String::as_str)
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).filter(|v| !v.is_empty()).ok_or_else(|| self.missing(name))
    }

    pub(crate) fn missing(&self, name: &str) -> Refusal {
        match self.manner {
            Manner::Validation => {
                let mut letters = name.chars();
                let first = letters.next().map(|c| c.to_ascii_lowercase());
                let camel: String = first.into_iter().chain(letters).collect();
                Refusal::validation(format!(
                    "1 validation error detected: Value null at '{camel}' failed to satisfy constraint: \
                     Member must not be null"
                ))
            }
            Manner::ParameterValue => {
                let message = format!("The parameter {name} must be provided and must not be blank.");
                Refusal::new("InvalidParameterValue", message)
            }
            Manner::Parameter => {
                let message = format!("The request must contain the parameter {name}");
                Refusal::new("MissingParameter", message)
            }
        }
    }

    /// A value that can be read and cannot be meant.
    pub(crate) fn invalid(&self, message: impl Into<String>) -> Refusal {
        match self.manner {
            Manner::Validation => Refusal::validation(message),
            Manner::ParameterValue | Manner::Parameter => Refusal::new("InvalidParameterValue", message),
        }
    }

    /// A number or the like, if present.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let refused = || {
            let message = format!("'{text}' is not a valid value for {name}");
            let a_number = text.parse::<i64>().is_ok(); // and out of bounds
            if a_number || self.manner != Manner::Validation {
                self.invalid(message)
            } else {
                Refusal::new("MalformedInput", message)
            }
        };
        text.parse().map(Some).map_err(|_| refused())
    }

    /// A time, if present: as text, or as JSON 1.0 has it, in seconds since the epoch.
    pub(crate) fn time(&self, name: &str) -> Result<Option<DateTime<Utc>>, Refusal> {
        let number = self.get(name).and_then(|text| text.parse::<f64>().ok());
        match number.and_then(|s| DateTime::from_timestamp_millis((s * 1000.0).round() as i64)) {
            Some(at) => Ok(Some(at)),
            None => self.parsed(name),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        self.parsed(name)
    }

    /// The list `prefix.1`, `prefix.2`, ... in order of the numbers.
    pub(crate) fn list(&self, prefix: &str) -> Vec<String> {
        let mut numbered: Vec<(u32, &String)> = self
            .all
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

    /// Cuts a listing into pages; the caller's token says where to begin.
    pub(crate) fn page<T>(&self, all: Vec<T>, paging: &Paging) -> Result<Page<T>, Refusal> {
        let (least, most) = (*paging.sizes.start(), *paging.sizes.end());
        let wanted: usize = self.parsed(paging.size)?.unwrap_or(paging.usual);
        if !paging.sizes.contains(&wanted) {
            let size = paging.size;
            let message = format!("Invalid value {wanted} for {size}. Must be between {least} and {most}");
            return Err(self.invalid(message));
        }
        let begin = self.token(paging.token, paging.bad_token)?;
        let next = begin.saturating_add(wanted);
        let more = all.len() > next;
        let items = all.into_iter().skip(begin).take(wanted).collect();
        Ok(Page { items, next: more.then(|| Self::token_at(next)) })
    }

    /// Where the caller's token says to begin; `code` is the refusal of one that was never given out.
    pub(crate) fn token(&self, name: &str, code: &'static str) -> Result<usize, Refusal> {
        let Some(token) = self.get(name) else { return Ok(0) };
        let begin = token.strip_prefix("sim-page-").and_then(|n| n.parse().ok());
        begin.ok_or_else(|| Refusal::new(code, format!("The token '{token}' is invalid.")))
    }

    /// The token of a page that begins there.
    pub(crate) fn token_at(begin: usize) -> String {
        format!("sim-page-{begin}")
    }
}
