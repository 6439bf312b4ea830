//! The certificates that SNS signs with: fetched once, kept, and never more than a few.
//!
//! Of AWS's, the host that it came from is the proof, as AWS says; it is asked by HTTPS, and signs in no other way that could be
//! checked: what lies there is the certificate alone, without its chain. A simulator's must be signed by its authority. Both
//! must be within their time, on our clock, each time that they prove something.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RsaParameters,
    UnparsedPublicKey,
};
use x509_cert::der::{DecodePem as _, Encode as _};

use super::place::Ground;
use super::{Get, unreachable};
use crate::error::Problem;
use crate::hooks::refused;

/// AWS has one for each region, and changes it once a year or so.
const KEPT: usize = 16;

/// How a message is signed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Version {
    One,
    Two,
}

impl Version {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "1" => Some(Self::One),
            "2" => Some(Self::Two),
            _ => None,
        }
    }

    fn algorithm(self) -> &'static RsaParameters {
        match self {
            Self::One => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Two => &RSA_PKCS1_2048_8192_SHA256,
        }
    }
}

/// Those that were fetched, the newest last.
#[derive(Default)]
pub(super) struct Certificates {
    kept: Mutex<VecDeque<(String, Arc<Certificate>)>>,
    /// One is fetched at a time: many messages that need the same one ask once, and strange ones cannot make us ask a lot.
    fetch: tokio::sync::Mutex<()>,
}

impl Certificates {
    /// The one at this address.
    pub(super) async fn at(
        &self,
        address: &str,
        ground: &Ground,
        get: &Get,
    ) -> Result<Arc<Certificate>, Problem> {
        if let Some(known) = self.known(address) {
            return Ok(known);
        }
        let _alone = self.fetch.lock().await;
        if let Some(known) = self.known(address) {
            return Ok(known);
        }
        let pem = get(address.to_owned()).await.map_err(|why| {
            tracing::warn!("the certificate of SNS at {address} could not be fetched: {why}");
            unreachable("The certificate of SNS could not be fetched; SNS delivers again.")
        })?;
        // Something between us and AWS has answered: a proxy, perhaps. That passes.
        let certificate = Certificate::read(&pem).map_err(|why| {
            tracing::warn!("what lies at {address} {why}");
            unreachable("What was fetched as the certificate of SNS is none; SNS delivers again.")
        })?;
        if let Ground::Simulated(simulated) = ground {
            simulated.authority.0.issued(&certificate).map_err(refused)?;
        }
        let certificate = Arc::new(certificate);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((address.to_owned(), certificate.clone()));
        Ok(certificate)
    }

    fn known(&self, address: &str) -> Option<Arc<Certificate>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(at, _)| at == address).map(|(_, certificate)| certificate.clone())
    }
}

/// What a certificate says.
#[derive(Debug)]
pub(super) struct Certificate {
    from: i64,
    to: i64,
    /// As RSA writes it (PKCS #1).
    key: Vec<u8>,
    whole: x509_cert::Certificate,
}

/// Whose word makes a simulator's certificates good.
#[derive(Debug)]
pub struct Authority(Certificate);

impl Authority {
    /// From a certificate in PEM.
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(pem: &[u8]) -> Result<Self, String> {
        Certificate::read(pem).map(Self).map_err(str::to_owned)
    }
}

impl Certificate {
    fn read(pem: &[u8]) -> Result<Self, &'static str> {
        let whole = x509_cert::Certificate::from_pem(pem).map_err(|_| "is no certificate in PEM")?;
        let told = &whole.tbs_certificate;
        let seconds = |time: x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
        };
        let key = told.subject_public_key_info.subject_public_key.raw_bytes().to_vec();
        let (from, to) = (seconds(told.validity.not_before), seconds(told.validity.not_after));
        Ok(Self { from, to, key, whole })
    }

    /// Is the text signed with its key, now?
    pub(super) fn proves(
        &self,
        now: Timestamp,
        version: Version,
        text: &str,
        signature: &str,
    ) -> Result<(), &'static str> {
        if !(self.from..=self.to).contains(&now.timestamp()) {
            return Err("its certificate is not within its time");
        }
        let signature = STANDARD.decode(signature).map_err(|_| "its Signature is no base64")?;
        UnparsedPublicKey::new(version.algorithm(), &self.key)
            .verify(text.as_bytes(), &signature)
            .map_err(|_| "its Signature is not of this message")
    }

    /// Has this one signed the other?
    fn issued(&self, other: &Self) -> Result<(), &'static str> {
        let strange = "its certificate is not of the authority that is configured";
        let text = other.whole.tbs_certificate.to_der().map_err(|_| strange)?;
        UnparsedPublicKey::new(Version::Two.algorithm(), &self.key)
            .verify(&text, other.whole.signature.raw_bytes())
            .map_err(|_| strange)
    }
}
