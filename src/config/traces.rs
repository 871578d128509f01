//! What becomes of the trace that a request belongs to, and where spans of it are sent.

use std::str::FromStr;

use url::Url;

use super::section::Section;

/// What becomes of traces.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceSettings {
    /// What becomes of what clients say.
    pub context: TraceContext,
    /// Where spans are sent (OTLP over HTTP, protobuf): a whole address. `None`: nowhere, and none are made.
    pub otlp: Option<String>,
    /// Of how many requests, as a share of 2^64.
    pub sampled: Share,
}

/// What becomes of the trace that a client's request says it belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TraceContext {
    /// It is passed on; what is no trace is replaced by a new one.
    Pass,
    /// It is replaced by a new one, unless a trusted proxy sends it. A request without one gets one as well.
    New,
    /// It is taken away.
    Off,
}

/// A share of requests: all of them are `u64::MAX`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Share(pub u64);

/// It is none of the words for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is none of pass, new, off")]
pub struct NoTraceContext;

/// It is no share.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is not a percentage from 0% to 100%, written like 1% or 0.1%")]
pub struct NoShare;

impl FromStr for TraceContext {
    type Err = NoTraceContext;

    fn from_str(text: &str) -> Result<Self, NoTraceContext> {
        match text {
            "pass" => Ok(Self::Pass),
            "new" => Ok(Self::New),
            "off" | "false" => Ok(Self::Off),
            _ => Err(NoTraceContext),
        }
    }
}

impl Share {
    /// `percent` of all.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share is a fraction, bounded before, and the cast saturates at all of them"
    )]
    fn of_percent(percent: f64) -> Self {
        Self((percent / 100.0 * u64::MAX as f64) as u64)
    }
}

impl FromStr for Share {
    type Err = NoShare;

    fn from_str(text: &str) -> Result<Self, NoShare> {
        let number: f64 = text.strip_suffix('%').and_then(|number| number.trim().parse().ok()).ok_or(NoShare)?;
        if (0.0..=100.0).contains(&number) { Ok(Self::of_percent(number)) } else { Err(NoShare) }
    }
}

pub(super) fn read(section: Section<'_>) -> TraceSettings {
    let context = section.parsed("context", TraceContext::Pass);
    let otlp = section.scalar("otlp");
    let endpoint = otlp.as_ref().and_then(|scalar| {
        let endpoint = endpoint(scalar.text);
        if endpoint.is_none() {
            // What stands before an @ may be a password.
            let said = if scalar.text.contains('@') { String::new() } else { format!("{:?} ", scalar.text) };
            let text = format!(
                "{said}is not the address of a collector, written like http://127.0.0.1:4318, without a path"
            );
            section.report_at(scalar, text);
        }
        endpoint
    });
    let sampled = section.parsed("sampled", Share::of_percent(1.0));
    if let (None, Some(scalar)) = (&otlp, section.scalar("sampled")) {
        section.report_at(&scalar, "has no effect without traces.otlp: take it away, or say where spans are sent");
    }
    section.finish();
    TraceSettings { context, otlp: endpoint, sampled }
}

/// The address that spans of the collector at `text` are posted to.
fn endpoint(text: &str) -> Option<String> {
    let url: Url = text.parse().ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let fits = matches!(url.scheme(), "http" | "https") && url.has_host() && url.password().is_none() && bare;
    fits.then(|| url.join("/v1/traces").ok().map(String::from)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage() {
        for (text, want) in [("0%", Some(0)), ("100%", Some(u64::MAX)), ("50%", Some(1 << 63)), ("101%", None)] {
            assert_eq!(text.parse().ok(), want.map(Share), "{text}");
        }
        for text in ["", "1", "-1%", "NaN%", "inf%", "%", "1 percent"] {
            assert_eq!(text.parse::<Share>(), Err(NoShare), "{text}");
        }
    }

    #[test]
    fn spans_are_posted_below_the_collectors_address() {
        assert_eq!(endpoint("http://127.0.0.1:4318").as_deref(), Some("http://127.0.0.1:4318/v1/traces"));
        assert_eq!(endpoint("https://otel.example/").as_deref(), Some("https://otel.example/v1/traces"));
        for wrong in ["127.0.0.1:4318", "grpc://x:4317", "http://x/v1/traces", "http://u:p@x", "http://x?y", ""] {
            assert_eq!(endpoint(wrong), None, "{wrong}");
        }
    }
}
