//! A provider that signs whatever a test wants signed.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::*;
use crate::base::UnixTime;

pub(super) const ISSUER: &str = "https://login.acme.example/realm";
pub(super) const CLIENT: &str = "zonegate";
pub(super) const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

/// One key of each kind, and a second of the commonest. Made once: an RSA key takes a while.
pub(super) struct Keys {
    rsa: RsaKeyPair,
    other_rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    other_rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
    ed25519: Ed25519KeyPair::generate().unwrap(),
});

/// Which key, and how.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signer {
    Rs256,
    /// Somebody else's key.
    OtherRs256,
    /// The same key as `Rs256`, other padding.
    Ps256,
    Es256,
    Es384,
    Ed25519,
    /// HMAC with a secret of the test's choice: what an attacker who knows a public key would do.
    Hmac(&'static [u8]),
    /// No signature at all.
    Nobody,
}

pub(super) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The modulus of a 2048-bit RSAPublicKey in DER: behind two heads and a zero.
fn modulus(pair: &RsaKeyPair) -> &[u8] {
    &pair.public_key().as_ref()[9..265]
}

fn point(pair: &EcdsaKeyPair, curve: &str) -> Value {
    let (x, y) = pair.public_key().as_ref()[1..].split_at(if curve == "P-256" { 32 } else { 48 });
    json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
}

impl Signer {
    /// The public key, without a name.
    pub(super) fn jwk(self) -> Value {
        let rsa = |pair| json!({"kty": "RSA", "n": base64url(modulus(pair)), "e": "AQAB"});
        match self {
            Self::Rs256 | Self::Ps256 => rsa(&KEYS.rsa),
            Self::OtherRs256 => rsa(&KEYS.other_rsa),
            Self::Es256 => point(&KEYS.p256, "P-256"),
            Self::Es384 => point(&KEYS.p384, "P-384"),
            Self::Ed25519 => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(KEYS.ed25519.public_key().as_ref())})
            }
            Self::Hmac(secret) => json!({"kty": "oct", "k": base64url(secret)}),
            Self::Nobody => json!({}),
        }
    }

    fn sign(self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |pair: &RsaKeyPair, padding| {
            let mut signature = vec![0; 256];
            pair.sign(padding, &random, message, &mut signature).unwrap();
            signature
        };
        match self {
            Self::Rs256 => rsa(&KEYS.rsa, &RSA_PKCS1_SHA256),
            Self::OtherRs256 => rsa(&KEYS.other_rsa, &RSA_PKCS1_SHA256),
            Self::Ps256 => rsa(&KEYS.rsa, &RSA_PSS_SHA256),
            Self::Es256 => KEYS.p256.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Es384 => KEYS.p384.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519 => KEYS.ed25519.sign(message).as_ref().to_vec(),
            Self::Hmac(secret) => {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
                aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
            }
            Self::Nobody => Vec::new(),
        }
    }
}

/// The public key under a name.
pub(super) fn named(signer: Signer, id: &str) -> Value {
    let mut jwk = signer.jwk();
    jwk["kid"] = id.into();
    jwk
}

pub(super) fn settings() -> ProviderSettings {
    ProviderSettings {
        issuer: Issuer::parse(ISSUER).unwrap(),
        client_id: CLIENT.into(),
        client_authentication: ClientAuthentication::default(),
        signing_algorithm: SigningAlgorithm::RS256,
        scopes: vec!["email".into()],
        username_claim: "preferred_username".into(),
        hosts: vec!["keys.acme.example".parse().unwrap()],
        acr: vec![],
        amr: vec![],
        max_age: None,
        provisioning: false,
        logout: false,
    }
}

/// A token about to be sent, and what it will be held against. Right as it is; a test alters one thing.
pub(super) struct Sent {
    pub(super) header: Value,
    pub(super) claims: Value,
    /// In place of `header` and `claims` as JSON.
    pub(super) header_text: Option<String>,
    pub(super) claims_text: Option<String>,
    pub(super) signer: Signer,
    /// What happens to the token on its way.
    pub(super) on_the_way: fn(String) -> String,
    pub(super) keys: Vec<Value>,
    pub(super) settings: ProviderSettings,
    pub(super) nonce: Option<&'static str>,
    pub(super) access_token: Option<&'static str>,
    pub(super) now: UnixTime,
}

impl Sent {
    pub(super) fn id_token() -> Self {
        let claims = json!({
            "iss": ISSUER, "sub": "248289761001", "aud": CLIENT, "nonce": "n-0S6_WzA2Mj",
            "iat": NOW.seconds() - 2, "exp": NOW.seconds() + 300,
        });
        Self {
            header: json!({"alg": "RS256", "kid": "one", "typ": "JWT"}),
            claims,
            header_text: None,
            claims_text: None,
            signer: Signer::Rs256,
            on_the_way: |text| text,
            keys: vec![named(Signer::Rs256, "one")],
            settings: settings(),
            nonce: Some("n-0S6_WzA2Mj"),
            access_token: Some("access"),
            now: NOW,
        }
    }

    pub(super) fn logout_token() -> Self {
        let claims = json!({
            "iss": ISSUER, "sub": "248289761001", "aud": CLIENT, "jti": "bWJq", "sid": "08a5019c",
            "iat": NOW.seconds() - 2, "exp": NOW.seconds() + 118,
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        });
        let header = json!({"alg": "RS256", "kid": "one", "typ": "logout+jwt"});
        Self { header, claims, ..Self::id_token() }
    }

    /// The same, signed another way by a provider that is configured for it.
    pub(super) fn signed_by(mut self, signer: Signer, algorithm: SigningAlgorithm) -> Self {
        self.signer = signer;
        self.header["alg"] = algorithm.name().into();
        self.keys = vec![named(signer, "one")];
        self.settings.signing_algorithm = algorithm;
        self
    }

    pub(super) fn text(&self) -> String {
        let header = self.header_text.clone().unwrap_or_else(|| self.header.to_string());
        let claims = self.claims_text.clone().unwrap_or_else(|| self.claims.to_string());
        let message = format!("{}.{}", base64url(header), base64url(claims));
        let signature = base64url(self.signer.sign(message.as_bytes()));
        (self.on_the_way)(format!("{message}.{signature}"))
    }

    pub(super) fn key_set(&self) -> KeySet {
        let text = json!({"keys": self.keys}).to_string();
        KeySet::read(text.as_bytes(), self.settings.signing_algorithm).unwrap()
    }

    pub(super) fn verify(&self) -> Result<IdToken, TokenProblem> {
        let Self { settings, nonce, access_token, now, .. } = self;
        let expected = Expected { settings, nonce: *nonce, access_token: *access_token, now: *now };
        IdToken::verify(&self.text(), &self.key_set(), &expected)
    }

    pub(super) fn verify_logout(&self) -> Result<LogoutToken, TokenProblem> {
        LogoutToken::verify(&self.text(), &self.key_set(), &self.settings, self.now)
    }
}

/// Removes a member.
pub(super) fn without(object: &mut Value, name: &str) {
    assert!(object.as_object_mut().unwrap().remove(name).is_some(), "{name} was not there");
}
