//! The way to providers: one HTTP client, and how far it goes.
//!
//! It follows no redirect, knows no proxy of the environment's, speaks nothing but verified TLS, and gives up after a time
//! and after a number of bytes, both counted as they pass and not as the other side announces them.
//!
//! *Why is no connection kept?* One that is kept outlives the look at its address. And a provider may close it at the very
//! moment at which a code is sent over it; a code must not be sent twice (RFC 6749 section 4.1.2: the second time, all that
//! was given for it is withdrawn), so that person would have to begin again. A handshake for each log-in costs less; TLS sessions are resumed, with
//! whoever proved its name when they began.

use std::error::Error;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::dns::Resolve;
use url::Url;

use super::fault::{Detail, ProviderFault, Step};
use super::guard::{Forbidden, Guard, GuardedNames, SystemNames};
use crate::sso::{OutboundSettings, PUBLISHED_BYTES_MAX, ProviderSettings};

/// The most fields in the head of an answer.
const FIELDS_MAX: usize = 64;

const JSON: &str = "application/json";

/// The authorities that an operator trusts besides the system's cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the further authorities for identity providers cannot be used: {0}")]
pub struct OutboundProblem(String);

/// The client.
pub(super) struct Http {
    /// None when the system has no authorities: nothing can be verified then, and whoever has no provider need not mind.
    client: Result<reqwest::Client, String>,
    guard: Guard,
}

/// What a provider answered, read whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Whether it says that it is JSON.
    pub(super) is_json: bool,
    pub(super) body: Vec<u8>,
}

/// What is asked of a provider.
pub(super) enum Ask {
    /// A document.
    Get { fields: HeaderMap },
    /// A form, encoded.
    Post { fields: HeaderMap, form: String },
}

impl Http {
    pub(super) fn new(outbound: &OutboundSettings) -> Result<Self, OutboundProblem> {
        Self::with(outbound, Arc::new(SystemNames::new()))
    }

    /// `names`: who is asked for addresses.
    fn with(outbound: &OutboundSettings, names: Arc<dyn Resolve>) -> Result<Self, OutboundProblem> {
        let problem = |error: reqwest::Error| OutboundProblem(told(&error));
        let guard = Guard::new(outbound.networks.clone());
        let roots = outbound.roots.as_deref().map(reqwest::Certificate::from_pem_bundle);
        let roots = roots.transpose().map_err(problem)?.unwrap_or_default();
        if outbound.roots.is_some() && roots.is_empty() {
            return Err(OutboundProblem("there is no certificate among them".into()));
        }
        let client = reqwest::Client::builder()
            .https_only(true)
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
            .tls_certs_merge(roots)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            // What is packed may be a thousand times larger than what is counted.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .http1_only()
            .http1_max_headers(FIELDS_MAX)
            .pool_max_idle_per_host(0)
            .connect_timeout(outbound.timeout)
            .timeout(outbound.timeout)
            .user_agent(concat!("zonegate/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(GuardedNames::new(guard.clone(), names)))
            .build();
        match outbound.roots {
            Some(_) => Ok(Self { client: Ok(client.map_err(problem)?), guard }),
            None => Ok(Self { client: client.map_err(|error| told(&error)), guard }),
        }
    }

    /// One exchange with the provider of `settings`.
    pub(super) async fn exchange(
        &self,
        step: Step,
        settings: &ProviderSettings,
        url: &Url,
        ask: Ask,
    ) -> Result<Answer, ProviderFault> {
        let forbidden = |why: Forbidden| ProviderFault::Forbidden { step, detail: Detail::of(&why.to_string()) };
        self.guard.check(url, settings).map_err(forbidden)?;
        let unreachable = |why: &String| ProviderFault::Unreachable { step, detail: Detail::of(why) };
        let client = self.client.as_ref().map_err(unreachable)?;
        let request = match ask {
            Ask::Get { fields } => client.get(url.clone()).headers(fields),
            Ask::Post { fields, form } => {
                let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
                client.post(url.clone()).headers(fields).header(header::CONTENT_TYPE, kind).body(form)
            }
        };
        let answer = request.header(header::ACCEPT, HeaderValue::from_static(JSON)).send().await;
        let mut answer = answer.map_err(|error| fault(step, error))?;
        let status = answer.status();
        let is_json = is_json(answer.headers());
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| fault(step, error))? {
            if body.len() + piece.len() > PUBLISHED_BYTES_MAX {
                return Err(unacceptable(step, "the answer is too large"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status, is_json, body })
    }
}

impl Answer {
    /// The document that was asked for, or a fault.
    pub(super) fn whole(self, step: Step) -> Result<Self, ProviderFault> {
        match self.status {
            StatusCode::OK => Ok(self),
            status => Err(unacceptable(step, &format!("status {}", status.as_u16()))),
        }
    }
}

pub(super) fn unacceptable(step: Step, why: &str) -> ProviderFault {
    ProviderFault::Unacceptable { step, detail: Detail::of(why) }
}

/// `application/json`, with whatever parameters.
fn is_json(fields: &HeaderMap) -> bool {
    let kind = fields.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(JSON))
}

fn fault(step: Step, error: reqwest::Error) -> ProviderFault {
    if error.is_timeout() {
        return ProviderFault::Slow { step };
    }
    // An address may have parameters, and those are nobody's business.
    let error = error.without_url();
    let forbidden = causes(&error).find_map(|cause| cause.downcast_ref::<Forbidden>());
    match forbidden {
        Some(forbidden) => ProviderFault::Forbidden { step, detail: Detail::of(&forbidden.to_string()) },
        None => ProviderFault::Unreachable { step, detail: Detail::of(&told(&error)) },
    }
}

/// An error and what it comes of, the outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| Error::source(*error))
}

/// The same as one text.
fn told(error: &reqwest::Error) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Mutex;

    use reqwest::dns::{Addrs, Name, Resolving};

    use super::*;
    use crate::base::Networks;

    #[test]
    fn json_is_what_says_so() {
        for (kind, want) in [
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("application/json;x"), true),
            (Some("text/html"), false),
            (Some("application/jwt"), false),
            (Some("application/jsonp"), false),
            (Some("text/html; application/json"), false),
            (None, false),
        ] {
            let fields = kind.map(|kind| (header::CONTENT_TYPE, HeaderValue::from_static(kind)));
            assert_eq!(is_json(&fields.into_iter().collect()), want, "{kind:?}");
        }
    }

    /// Answers each question about a name with the next address.
    struct Changing(Mutex<Vec<&'static str>>);

    impl Resolve for Changing {
        fn resolve(&self, _: Name) -> Resolving {
            let next = self.0.lock().unwrap().remove(0);
            Box::pin(async move {
                let address = SocketAddr::new(next.parse().unwrap(), 0);
                Ok(Box::new(std::iter::once(address)) as Addrs)
            })
        }
    }

    #[tokio::test]
    async fn o6_a_name_that_changes_after_it_was_allowed_leads_nowhere() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // Somebody listens on the address that the name changes to.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let issuer = format!("https://a.example:{}", listener.local_addr().unwrap().port());
        let settings = serde_json::json!({ "issuer": issuer, "client_id": "us", "username_claim": "email" });
        let settings = serde_json::from_value(settings).unwrap();
        let networks = Networks::new(vec![Networks::range("127.0.0.2").unwrap()]);
        let outbound = OutboundSettings { networks, ..OutboundSettings::default() };
        let names = Changing(Mutex::new(vec!["127.0.0.2", "127.0.0.1", "127.0.0.2"]));
        let http = Http::with(&outbound, Arc::new(names)).unwrap();
        let mut outcomes = Vec::new();
        for _ in 0..3 {
            let ask = Ask::Get { fields: HeaderMap::new() };
            outcomes.push(
                http.exchange(Step::Keys, &settings, &Url::parse(&issuer).unwrap(), ask).await.err().unwrap(),
            );
        }
        let forbidden = outcomes.iter().map(|fault| matches!(fault, ProviderFault::Forbidden { .. }));
        assert_eq!(forbidden.collect::<Vec<_>>(), [false, true, false], "{outcomes:?}");
        assert!(listener.accept().is_err());
    }

    #[test]
    fn authorities_that_are_none_are_told() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in ["", "nothing", broken] {
            let outbound = OutboundSettings { roots: Some(pem.into()), ..OutboundSettings::default() };
            assert!(Http::new(&outbound).is_err(), "{pem:?}");
        }
    }
}
