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

/// Why no way to providers can be opened.
#[derive(Debug, thiserror::Error)]
pub enum OutboundProblem {
    /// The file with further authorities is none, or the system's authorities cannot be read.
    #[error("the authorities for providers cannot be used: {0}")]
    Roots(#[from] reqwest::Error),
    /// The system says nothing usable of its name servers.
    #[error("the system's name servers cannot be used: {0}")]
    Names(String),
}

/// The client.
pub(super) struct Http {
    client: reqwest::Client,
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
        let names = SystemNames::new().map_err(OutboundProblem::Names)?;
        Self::with(outbound, Arc::new(names))
    }

    /// `names`: who is asked for addresses.
    pub(super) fn with(outbound: &OutboundSettings, names: Arc<dyn Resolve>) -> Result<Self, OutboundProblem> {
        let guard = Guard::new(outbound.networks.clone());
        let roots = match &outbound.roots {
            Some(pem) => reqwest::Certificate::from_pem_bundle(pem)?,
            None => Vec::new(),
        };
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
            .build()?;
        Ok(Self { client, guard })
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
        let request = match ask {
            Ask::Get { fields } => self.client.get(url.clone()).headers(fields),
            Ask::Post { fields, form } => {
                let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
                self.client.post(url.clone()).headers(fields).header(header::CONTENT_TYPE, kind).body(form)
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
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(forbidden) = inner.downcast_ref::<Forbidden>() {
            return ProviderFault::Forbidden { step, detail: Detail::of(&forbidden.to_string()) };
        }
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    ProviderFault::Unreachable { step, detail: Detail::of(&text) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
