//! A proxy in front that knows who people are: it signs them in by a header.
//!
//! ```text
//!  from a trusted address, with the header ─▶ the session of that person, made when there is none ─▶ every request, with its cookie
//!  from elsewhere, with the header ─────────▶ as if it were not there
//! ```
//!
//! The header says who it is and nothing else; what they may do, the configuration says. It opens pages alone: programs show tokens.
//! A cookie of somebody else does not count while the proxy says who it is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName};
use domain::Role;
use ipnet::IpNet;

/// Which proxy is believed, and what people may do whom it names.
#[derive(Debug, Clone)]
pub struct TrustedProxy {
    /// The header that names a person.
    pub header: HeaderName,
    /// Where it may come from.
    pub from: Vec<IpNet>,
    /// What everybody may do whom it names.
    pub role: Role,
    /// What some may do instead.
    pub people: BTreeMap<String, Role>,
}

impl TrustedProxy {
    /// Whom the proxy names, and what they may do; nobody, when it is not the proxy that says so, or says it twice.
    pub(crate) fn person(&self, headers: &HeaderMap, from: IpAddr) -> Option<(String, Role)> {
        let from = from.to_canonical();
        if !self.from.iter().any(|net| net.contains(&from)) {
            return None;
        }
        let mut said = headers.get_all(&self.header).iter();
        let name = said.next()?.to_str().ok()?.trim();
        let sound = (1..=100).contains(&name.len()) && !name.contains(',') && said.next().is_none();
        sound.then(|| (name.to_owned(), self.role_of(name)))
    }

    /// What somebody may do whom it names.
    pub(crate) fn role_of(&self, name: &str) -> Role {
        self.people.get(name).copied().unwrap_or(self.role)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_proxy_is_believed_and_only_when_it_names_one_person() {
        let proxy = TrustedProxy {
            header: HeaderName::from_static("x-forwarded-user"),
            from: vec!["10.0.0.0/8".parse().unwrap()],
            role: Role::Responder,
            people: BTreeMap::from([("ada".to_owned(), Role::Admin)]),
        };
        let said = |names: &[&'static str], from: &str| {
            let mut headers = HeaderMap::new();
            for name in names {
                headers.append(&proxy.header, HeaderValue::from_static(name));
            }
            proxy.person(&headers, from.parse().unwrap())
        };
        assert_eq!(said(&["ada"], "10.1.2.3"), Some(("ada".into(), Role::Admin)));
        assert_eq!(said(&["bob"], "::ffff:10.1.2.3"), Some(("bob".into(), Role::Responder)));
        assert_eq!(said(&["ada"], "192.168.1.1"), None, "from elsewhere");
        for wrong in [&[][..], &[""], &["ada", "bob"], &["ada, bob"]] {
            assert_eq!(said(wrong, "10.1.2.3"), None, "{wrong:?}");
        }
    }
}
