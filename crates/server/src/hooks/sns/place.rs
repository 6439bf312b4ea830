//! Where SNS may be: no address is asked for a certificate or a confirmation but one of these.
//!
//! An address is read by the same library that asks it, and asked as it was read, so that there are no two opinions of what its host
//! is.

use url::{Host, Url};

use super::certificate::Authority;

/// Whose SNS it is.
#[derive(Debug)]
pub(super) enum Ground {
    /// AWS's: by HTTPS, at `sns.<region>.amazonaws.com`. That the host is AWS's is what makes its certificates good.
    Amazon,
    /// A simulator's, which has no HTTPS: below its endpoint. Its authority is what makes them good.
    Simulated(Box<Simulated>),
}

/// See [`Ground::Simulated`].
#[derive(Debug)]
pub(super) struct Simulated {
    endpoint: Url,
    pub(super) authority: Authority,
}

impl Ground {
    pub(super) fn simulated(endpoint: &str, authority: Authority) -> Result<Self, String> {
        let endpoint = Url::parse(endpoint).map_err(|e| format!("`{endpoint}` is no address: {e}"))?;
        Ok(Self::Simulated(Box::new(Simulated { endpoint, authority })))
    }

    /// The address of a certificate, if it may be asked.
    pub(super) fn certificate(&self, address: &str) -> Result<String, &'static str> {
        let url = self.there(address).ok_or("its certificate does not lie at SNS")?;
        if !url.path().ends_with(".pem") || url.query().is_some() {
            return Err("its certificate does not lie at SNS");
        }
        Ok(url.into())
    }

    /// The address that confirms a subscription, if it may be asked.
    pub(super) fn confirmation(&self, address: &str) -> Result<String, &'static str> {
        let url = self.there(address).ok_or("its SubscribeURL is not SNS's")?;
        let confirms =
            url.query_pairs().any(|(name, value)| name == "Action" && value == "ConfirmSubscription");
        if confirms { Ok(url.into()) } else { Err("its SubscribeURL does not confirm a subscription") }
    }

    fn there(&self, address: &str) -> Option<Url> {
        let url = Url::parse(address).ok()?;
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        let there = match self {
            Self::Amazon => url.scheme() == "https" && url.port().is_none() && is_amazons(&url),
            Self::Simulated(simulated) => url.origin() == simulated.endpoint.origin(),
        };
        (plain && there).then_some(url)
    }
}

/// `sns.<region>.amazonaws.com`, or China's.
fn is_amazons(url: &Url) -> bool {
    let Some(Host::Domain(host)) = url.host() else { return false };
    let region = host.strip_prefix("sns.").and_then(|rest| {
        rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn"))
    });
    region.is_some_and(|region| {
        region.len() >= 3 && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_lies_at_sns_and_nowhere_else() {
        for good in [
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-f3ecfb72.pem",
            "https://sns.cn-north-1.amazonaws.com.cn/a.pem",
            "https://sns.us-gov-west-1.amazonaws.com:443/a.pem",
        ] {
            assert!(Ground::Amazon.certificate(good).is_ok(), "{good}");
        }
        for bad in [
            "http://sns.us-east-1.amazonaws.com/a.pem",
            "https://sns.us-east-1.amazonaws.com/a.pem?x=.pem",
            "https://sns.us-east-1.amazonaws.com/a.pem#.pem",
            "https://sns.us-east-1.amazonaws.com/a.der",
            "https://sns.us-east-1.amazonaws.com:8443/a.pem",
            "https://sns.us-east-1.amazonaws.com@evil.example/a.pem",
            "https://evil.example\\@sns.us-east-1.amazonaws.com/a.pem",
            "https://user@sns.us-east-1.amazonaws.com/a.pem",
            "https://sns.us-east-1.amazonaws.com.evil.example/a.pem",
            "https://sns.us-east-1.amazonaws.com./a.pem",
            "https://sns.evil.us-east-1.amazonaws.com/a.pem",
            "https://bucket.s3.amazonaws.com/sns.us-east-1.amazonaws.com/a.pem",
            "https://sns..amazonaws.com/a.pem",
            "https://sns.us-east-1.amazonaws.com.cn.evil.example/a.pem",
            "https://xsns.us-east-1.amazonaws.com/a.pem",
            "https://127.0.0.1/a.pem",
            "https://[::1]/a.pem",
            "file:///etc/a.pem",
            "//sns.us-east-1.amazonaws.com/a.pem",
            "",
        ] {
            assert!(Ground::Amazon.certificate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_confirmation_is_asked_of_sns_alone() {
        let good = "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn=a&Token=b";
        assert_eq!(Ground::Amazon.confirmation(good), Ok(good.to_owned()));
        for bad in [
            "https://169.254.169.254/?Action=ConfirmSubscription",
            "https://sns.us-west-2.amazonaws.com/?Action=DeleteTopic",
            "https://sqs.us-west-2.amazonaws.com/?Action=ConfirmSubscription",
        ] {
            assert!(Ground::Amazon.confirmation(bad).is_err(), "{bad}");
        }
    }
}
