//! What the sample provider signs, and how a client proves itself to it.

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::KeyPair;
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use super::state::{Granted, Login};
use crate::assertion::KeyAlgorithm;
use crate::base::UnixTime;
use crate::cli::demo::people::Credentials;
use crate::machine::random;
use crate::table::{KeyFault, Signer};

/// How long an ID token and a log-out token are good for, in seconds.
const TOKEN_SECONDS: u64 = 120;

/// The provider's key, made at each start: whoever kept the last one asks again.
pub(super) struct Key(Signer);

impl Key {
    pub(super) fn new() -> Result<Self, KeyFault> {
        // ECDSA with P-256, as is rcgen's default.
        let pair = KeyPair::generate().map_err(|_| KeyFault::Unreadable)?;
        Signer::from_pkcs8(KeyAlgorithm::Es256, pair.serialized_der()).map(Self)
    }

    pub(super) fn jwk(&self) -> Result<Value, KeyFault> {
        self.0.jwk()
    }

    /// Who somebody is, for the client that redeemed a code (OpenID Connect Core 1.0 section 2). Claims about the person
    /// are the user info's.
    pub(super) fn id_token(
        &self,
        issuer: &str,
        granted: &Granted,
        access_token: &str,
        now: UnixTime,
    ) -> Result<String, KeyFault> {
        let hash = digest(&SHA256, access_token.as_bytes());
        let (half, _) = hash.as_ref().split_at(16);
        self.sign(&json!({
            "iss": issuer,
            "sub": granted.known.subject,
            "aud": granted.client_id,
            "iat": now,
            "exp": now.plus_seconds(TOKEN_SECONDS),
            "auth_time": granted.logged_in_at,
            "nonce": granted.nonce,
            "at_hash": URL_SAFE_NO_PAD.encode(half),
            "sid": granted.sid,
        }))
    }

    /// That a log-in is over (OpenID Connect Back-Channel Logout 1.0 section 2.4).
    pub(super) fn logout_token(
        &self,
        issuer: &str,
        client_id: &str,
        login: &Login,
        now: UnixTime,
    ) -> Result<String, KeyFault> {
        self.sign(&json!({
            "iss": issuer,
            "sub": login.known.subject,
            "aud": client_id,
            "iat": now,
            "exp": now.plus_seconds(TOKEN_SECONDS),
            "jti": URL_SAFE_NO_PAD.encode(random::<16>()?),
            "sid": login.sid,
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        }))
    }

    fn sign(&self, claims: &Value) -> Result<String, KeyFault> {
        self.0.sign(claims.to_string().as_bytes())
    }
}

/// What PKCE compares with (RFC 7636 section 4.6).
pub(super) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// Whether a request carries the client's secret (`client_secret_basic`).
pub(super) fn is_proved_by(client: &Credentials, headers: &HeaderMap) -> bool {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(client.client_id), encode(client.client_secret));
    let want = format!("Basic {}", STANDARD.encode(pair));
    headers.get(header::AUTHORIZATION).is_some_and(|given| given.as_bytes() == want.as_bytes())
}
