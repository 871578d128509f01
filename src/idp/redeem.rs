//! Tokens for a code (OpenID Connect Core 1.0 section 3.1.3): what is sent, with which proof of who we are, and what of the
//! answer is read.
//!
//! A code is sent once. When nothing comes back nobody knows whether it was taken, and sending it again could withdraw what
//! was given for it (RFC 6749 section 4.1.2); the person begins again instead. Refresh tokens are not asked for, and not
//! kept when they come: a session here is ours, not the provider's.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::ZeroizeOnDrop;

use super::fault::{Detail, ProviderFault, Step};
use super::http::{Answer, Ask, unacceptable};
use crate::base::UnixTime;
use crate::machine::random;
use crate::sso::{ClientAuthentication, ClientSecret, ProviderSettings};
use crate::table::Signer;

/// How long an assertion of ours may be used, in seconds.
const ASSERTION_SECONDS: u64 = 60;
/// The kind of assertion (RFC 7523 section 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Who we are to a provider, and how we prove it.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// The provider.
    pub settings: &'a ProviderSettings,
    /// What we share with it, for [`ClientAuthentication::ClientSecretBasic`] and
    /// [`ClientAuthentication::ClientSecretPost`].
    pub secret: Option<&'a ClientSecret>,
    /// A key of ours that it has the public half of, for [`ClientAuthentication::PrivateKeyJwt`].
    pub signer: Option<&'a Signer>,
}

/// What a provider gave for a code.
pub struct Tokens {
    /// Who the person is, to be verified.
    pub id_token: String,
    /// For its user info.
    pub access_token: AccessToken,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(..)")
    }
}

/// What opens the user info of one person. Sent in the `Authorization` field and kept nowhere.
#[derive(ZeroizeOnDrop)]
pub struct AccessToken(String);

impl AccessToken {
    /// For the one request that carries it, and for `at_hash`.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The field that carries it; `None` if it holds what no field may.
    pub(super) fn field(&self) -> Option<HeaderMap> {
        authorization(&format!("Bearer {}", self.0))
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(..)")
    }
}

fn authorization(text: &str) -> Option<HeaderMap> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some([(header::AUTHORIZATION, value)].into_iter().collect())
}

/// What redeems a code.
#[derive(Clone, Copy)]
pub(super) struct Code<'a> {
    pub(super) code: &'a str,
    /// Of PKCE (RFC 7636).
    pub(super) verifier: &'a str,
    /// The same as on the way to the provider.
    pub(super) redirect_uri: &'a str,
}

/// The request that redeems a code at `endpoint`.
pub(super) fn ask(
    client: &Client<'_>,
    code: Code<'_>,
    endpoint: &Url,
    now: UnixTime,
) -> Result<Ask, ProviderFault> {
    let id = client.settings.client_id.as_str();
    let secret = || client.secret.map(ClientSecret::reveal).ok_or(ProviderFault::NoCredential("client secret"));
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", code.code)
        .append_pair("redirect_uri", code.redirect_uri)
        .append_pair("code_verifier", code.verifier);
    let mut fields = HeaderMap::new();
    match client.settings.client_authentication {
        ClientAuthentication::ClientSecretBasic => {
            // Each part is form-encoded before they are joined (RFC 6749 section 2.3.1): either may hold a colon.
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encoded(id), encoded(secret()?));
            let field = authorization(&format!("Basic {}", STANDARD.encode(pair)));
            fields = field.ok_or(ProviderFault::NoCredential("usable client secret"))?;
        }
        ClientAuthentication::ClientSecretPost => {
            form.append_pair("client_id", id).append_pair("client_secret", secret()?);
        }
        ClientAuthentication::PrivateKeyJwt => {
            let signer = client.signer.ok_or(ProviderFault::NoCredential("signing key"))?;
            form.append_pair("client_id", id)
                .append_pair("client_assertion_type", ASSERTION_TYPE)
                .append_pair("client_assertion", &assertion(signer, id, endpoint, now)?);
        }
    }
    Ok(Ask::Post { fields, form: form.finish() })
}

/// The claims of RFC 7523 section 3, as OpenID Connect Core 1.0 section 9 wants them.
#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: &'a str,
    iat: UnixTime,
    exp: UnixTime,
}

/// A JWT that proves who we are. It is meant for the endpoint that it is sent to and for no other, so a provider that
/// receives it cannot use it at another one.
fn assertion(signer: &Signer, id: &str, endpoint: &Url, now: UnixTime) -> Result<String, ProviderFault> {
    let jti = URL_SAFE_NO_PAD.encode(random::<16>().map_err(|_| ProviderFault::Stopped)?);
    let exp = now.plus_seconds(ASSERTION_SECONDS);
    let claims = Assertion { iss: id, sub: id, aud: endpoint.as_str(), jti: &jti, iat: now, exp };
    let claims = serde_json::to_vec(&claims).map_err(|_| ProviderFault::Stopped)?;
    signer.sign(&claims).map_err(|_| ProviderFault::NoCredential("usable signing key"))
}

/// A successful answer (RFC 6749 section 5.1, OpenID Connect Core 1.0 section 3.1.3.3). A member that is there twice is an
/// error; others are nobody's business.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
    id_token: String,
}

/// The other one (RFC 6749 section 5.2).
#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Reads what the token endpoint answered to a request for `code`.
pub(super) fn read(answer: &Answer, client: &Client<'_>, code: Code<'_>) -> Result<Tokens, ProviderFault> {
    let step = Step::Tokens;
    if answer.status != StatusCode::OK {
        let refusal = serde_json::from_slice::<Refusal>(&answer.body).ok().filter(|_| answer.is_json);
        return Err(match refusal {
            Some(Refusal { error, error_description }) => {
                let secret = client.secret.map(ClientSecret::reveal).unwrap_or_default();
                let text = format!("{error}: {error_description}");
                ProviderFault::Refused(Detail::without(&text, &[code.code, code.verifier, secret]))
            }
            None => unacceptable(step, &format!("status {}", answer.status.as_u16())),
        });
    }
    if !answer.is_json {
        return Err(unacceptable(step, "the answer is no JSON"));
    }
    let granted = serde_json::from_slice::<Granted>(&answer.body);
    // What the parser says may quote a token.
    let granted = granted.map_err(|_| unacceptable(step, "the answer has no tokens, or has them twice"))?;
    if !granted.token_type.eq_ignore_ascii_case("Bearer") {
        return Err(unacceptable(step, "the token is no bearer token"));
    }
    Ok(Tokens { id_token: granted.id_token, access_token: AccessToken(granted.access_token) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(way: ClientAuthentication) -> ProviderSettings {
        let value = serde_json::json!({
            "issuer": "https://login.example", "client_id": "us: ü", "username_claim": "email",
            "client_authentication": way.name(),
        });
        serde_json::from_value(value).unwrap()
    }

    const CODE: Code<'_> =
        Code { code: "granite&code", verifier: "window-verifier", redirect_uri: "https://a.example/x?y" };

    fn secret() -> ClientSecret {
        ClientSecret::parse("p:ss w+rd%").unwrap()
    }

    fn endpoint() -> Url {
        Url::parse("https://login.example/token").unwrap()
    }

    fn sent(client: &Client<'_>) -> (HeaderMap, String) {
        match ask(client, CODE, &endpoint(), UnixTime::from_seconds(1000)).unwrap() {
            Ask::Post { fields, form } => (fields, form),
            Ask::Get { .. } => panic!("a code is posted"),
        }
    }

    const FORM: &str = "grant_type=authorization_code&code=granite%26code&redirect_uri=https%3A%2F%2Fa.example%2Fx%3Fy\
                        &code_verifier=window-verifier";

    #[test]
    fn a_secret_is_form_encoded_before_it_is_base64() {
        let (settings, secret) = (settings(ClientAuthentication::ClientSecretBasic), secret());
        let (fields, form) = sent(&Client { settings: &settings, secret: Some(&secret), signer: None });
        assert_eq!(form, FORM);
        let value = &fields[header::AUTHORIZATION];
        assert!(value.is_sensitive());
        let pair = STANDARD.decode(value.to_str().unwrap().strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(pair).unwrap(), "us%3A+%C3%BC:p%3Ass+w%2Brd%25");
    }

    #[test]
    fn a_secret_in_the_form_is_nowhere_else() {
        let (settings, secret) = (settings(ClientAuthentication::ClientSecretPost), secret());
        let (fields, form) = sent(&Client { settings: &settings, secret: Some(&secret), signer: None });
        assert_eq!(form, format!("{FORM}&client_id=us%3A+%C3%BC&client_secret=p%3Ass+w%2Brd%25"));
        assert!(fields.is_empty());
    }

    #[test]
    fn without_the_proof_that_is_configured_nothing_is_sent() {
        let secret = secret();
        for (way, secret) in [
            (ClientAuthentication::ClientSecretBasic, None),
            (ClientAuthentication::ClientSecretPost, None),
            (ClientAuthentication::PrivateKeyJwt, Some(&secret)),
        ] {
            let settings = settings(way);
            let client = Client { settings: &settings, secret, signer: None };
            let outcome = ask(&client, CODE, &endpoint(), UnixTime::from_seconds(1000));
            assert!(matches!(outcome, Err(ProviderFault::NoCredential(_))), "{way:?}");
        }
    }

    fn check(status: u16, is_json: bool, body: &str, want: Result<(&str, &str), &str>) {
        let (settings, secret) = (settings(ClientAuthentication::ClientSecretPost), secret());
        let client = Client { settings: &settings, secret: Some(&secret), signer: None };
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), is_json, body: body.into() };
        let got = read(&answer, &client, CODE);
        let got = got.as_ref().map(|tokens| (tokens.id_token.as_str(), tokens.access_token.reveal()));
        assert_eq!(got.map_err(ToString::to_string), want.map_err(str::to_owned), "{status} {body}");
    }

    #[test]
    fn only_an_answer_with_both_tokens_once_is_one() {
        let good = r#"{"access_token":"a","token_type":"Bearer","id_token":"i","expires_in":60,"x":1}"#;
        check(200, true, good, Ok(("i", "a")));
        check(200, true, &good.replace("Bearer", "bearer"), Ok(("i", "a")));
        check(200, true, &good.replace("Bearer", "DPoP"), Err("tokens: the token is no bearer token"));
        let none = Err("tokens: the answer has no tokens, or has them twice");
        for bad in [
            good.replace("\"id_token\":\"i\",", ""),
            good.replace("\"access_token\":\"a\",", ""),
            good.replace("\"token_type\":\"Bearer\",", ""),
            good.replace("\"x\":1", "\"id_token\":\"j\""),
            good.replace("\"i\"", "7"),
            good.replace("\"i\"", "null"),
            format!("{good} {good}"),
            "<html>".into(),
            "[]".into(),
            String::new(),
        ] {
            check(200, true, &bad, none);
        }
        check(200, false, good, Err("tokens: the answer is no JSON"));
        for status in [201, 204, 302, 307, 400, 500, 503] {
            check(status, true, good, Err(&format!("tokens: status {status}")));
        }
    }

    #[test]
    fn o10_what_a_provider_says_of_its_refusal_is_for_the_log_and_tells_it_nothing_secret() {
        let said =
            r#"{"error":"invalid_grant","error_description":"<b>\r\ngranite&code is spent, p:ss w+rd% is wrong"}"#;
        let told = "tokens: refused: invalid_grant: <b>\\r\\n[hidden] is spent, [hidden] is wrong";
        check(400, true, said, Err(told));
        check(400, false, said, Err("tokens: status 400"));
        check(400, true, "{\"error\":7}", Err("tokens: status 400"));
    }
}
