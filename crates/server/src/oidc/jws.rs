//! Signatures of the provider's tokens (JWS, RFC 7515), by keys that it publishes (JWK, RFC 7517).
//!
//! Verified with `ring`, which is here anyway (SNS, rustls). The crates that speak all of OpenID Connect were looked at and left: they
//! bring a second set of RSA, elliptic curves, hashes and randomness into the binary, for the four things that are needed here.
//!
//! What a token says of itself chooses among what is allowed, and nothing more: only algorithms with a public key are known at all, so
//! `none` is none, and a secret that is really a public key signs nothing. A key is used for its own kind alone.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A way to sign with a key of which half is public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as RFC 7518 and RFC 8037 name them")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// Those that are taken where the configuration does not say: what providers sign with.
    pub const USUAL: [Self; 4] = [Self::Rs256, Self::Ps256, Self::Es256, Self::EdDsa];

    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 | Self::Es384 | Self::EdDsa => None,
        }
    }

    /// Of a curve: its kind of key, its name, and how it verifies.
    fn curve(self) -> Option<(&'static str, &'static str, &'static dyn VerificationAlgorithm)> {
        match self {
            Self::Es256 => Some(("EC", "P-256", &signature::ECDSA_P256_SHA256_FIXED)),
            Self::Es384 => Some(("EC", "P-384", &signature::ECDSA_P384_SHA384_FIXED)),
            Self::EdDsa => Some(("OKP", "Ed25519", &signature::ED25519)),
            _ => None,
        }
    }

    /// The left half of a hash, as `at_hash` has it.
    pub(super) fn half_hash(self, text: &str) -> String {
        let hash = match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 => Sha256::digest(text).to_vec(),
            Self::Rs384 | Self::Ps384 | Self::Es384 => Sha384::digest(text).to_vec(),
            Self::Rs512 | Self::Ps512 | Self::EdDsa => Sha512::digest(text).to_vec(),
        };
        URL_SAFE_NO_PAD.encode(&hash[..hash.len() / 2])
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no algorithm, or one without a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no signature that is taken; there are {}", Algorithm::ALL.map(Algorithm::name).join(", "))]
pub struct NoSuchAlgorithm {
    name: String,
}

impl FromStr for Algorithm {
    type Err = NoSuchAlgorithm;

    fn from_str(name: &str) -> Result<Self, NoSuchAlgorithm> {
        Self::ALL
            .into_iter()
            .find(|known| known.name() == name)
            .ok_or_else(|| NoSuchAlgorithm { name: name.to_owned() })
    }
}

/// A published key. Members that a kind has not are absent; what cannot be read is of no use, and hurts no other key.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Key {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// What a key set holds.
pub(super) fn keys(set: &Value) -> Option<Vec<Key>> {
    let keys = set.get("keys")?.as_array()?;
    Some(keys.iter().filter_map(|key| serde_json::from_value(key.clone()).ok()).collect())
}

/// A token, taken apart. Nothing of it is believed yet.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    signed: &'a str,
    signature: Vec<u8>,
    claims: &'a str,
}

/// Why a token is not one of the provider's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadToken {
    #[error("what the provider sent is no signed token")]
    Form,
    #[error("the token is signed by `{0}`, which is not taken here")]
    Algorithm(String),
    #[error("the token demands `{0}`, which is not understood here")]
    Critical(String),
    #[error("the token is signed by a key that the provider does not publish")]
    UnknownKey,
    #[error("the signature of the token is wrong")]
    Signature,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl<'a> Token<'a> {
    pub(super) fn read(text: &'a str, allowed: &[Algorithm]) -> Result<Self, BadToken> {
        let (signed, signature) = text.rsplit_once('.').ok_or(BadToken::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(BadToken::Form)?;
        if claims.contains('.') {
            return Err(BadToken::Form);
        }
        let header = bytes(header).ok_or(BadToken::Form)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| BadToken::Form)?;
        if let Some(demands) = header.crit {
            return Err(BadToken::Critical(demands.to_string()));
        }
        let named = header.alg.parse().ok().filter(|named| allowed.contains(named));
        let algorithm = named.ok_or_else(|| BadToken::Algorithm(header.alg.chars().take(20).collect()))?;
        let signature = bytes(signature).ok_or(BadToken::Form)?;
        Ok(Self { algorithm, kid: header.kid, signed, signature, claims })
    }

    /// The one key that can have signed it: the one of its id; without an id, the only one of its kind.
    pub(super) fn key<'k>(&self, keys: &'k [Key]) -> Option<&'k Key> {
        let mut fitting =
            keys.iter().filter(|key| key.fits(self.algorithm) && (self.kid.is_none() || key.kid == self.kid));
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    }

    /// The claims, if this key has signed them.
    pub(super) fn claims(&self, key: &Key) -> Result<Map<String, Value>, BadToken> {
        key.verify(self.algorithm, self.signed.as_bytes(), &self.signature).ok_or(BadToken::Signature)?;
        let claims = bytes(self.claims).ok_or(BadToken::Form)?;
        serde_json::from_slice(&claims).map_err(|_| BadToken::Form)
    }
}

impl Key {
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm.curve() {
            None => self.kty == "RSA",
            Some((kty, crv, _)) => self.kty == kty && self.crv.as_deref() == Some(crv),
        };
        kind && self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.alg.as_deref().is_none_or(|alg| alg == algorithm.name())
    }

    fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> Option<()> {
        let member = |of: &Option<String>| bytes(of.as_deref()?);
        if let Some(parameters) = algorithm.rsa() {
            let (n, e) = (member(&self.n)?, member(&self.e)?);
            return RsaPublicKeyComponents { n: &n, e: &e }.verify(parameters, signed, signature).ok();
        }
        let (kty, _, verification) = algorithm.curve()?;
        let mut point = member(&self.x)?;
        if kty == "EC" {
            point.insert(0, 4); // not compressed
            point.extend(member(&self.y)?);
        }
        UnparsedPublicKey::new(verification, &point).verify(signed, signature).ok()
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
