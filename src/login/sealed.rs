//! A flow as it travels: JSON, sealed, in base64url.
//!
//! The key keeps it from being made up or changed; the host, browser and times inside keep it from being used
//! elsewhere, by others or later. The reasons for a refusal differ for the log and must not differ for the client.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::step::SealedStep;
use super::{Binding, Entry, Flow, Step};
use crate::base::{FlowId, Hostname, LocalPath, SealKey, SealProblem, TokenDigest, Ttl, UnixTime};
use crate::session::Class;

/// How long a flow may take.
pub const FLOW_MAX: Ttl = Ttl::seconds_const(10 * 60);

/// The longest sealed flow that is looked at: the longest username, return path and ID token, with room.
const TEXT_BYTES_MAX: usize = 16 * 1024;
const CONTEXT: &[u8] = b"flow";

/// Why a flow that was posted is not gone on with.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FlowProblem {
    /// Nobody sealed this here: made up, cut, changed, or sealed under a key that is gone.
    #[error("the flow is forged")]
    Forged,
    /// Sealed here, but posted to another host.
    #[error("the flow belongs to another host")]
    OtherHost,
    /// Sealed here, for a native client, and posted by a browser; or the other way round.
    #[error("the flow belongs to another sort of client")]
    OtherClient,
    /// Sealed here, but for another browser. Harmless as a rule: of several log-in pages that a new browser opens at once,
    /// the last one's cookie stays.
    #[error("the flow belongs to another browser")]
    OtherBrowser(Wish),
    /// Too old. Harmless: start again.
    #[error("the flow has expired")]
    Expired(Wish),
}

/// Where a flow that does not go on was to lead, for the one that begins in its place. Anybody could ask for as much in the
/// address of the log-in page, so that it gives nothing away and proves nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wish {
    /// Where the person was going.
    pub return_to: Option<LocalPath>,
    /// Which way in they asked for.
    pub entry: Entry,
}

impl FlowProblem {
    /// The name in logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Forged => "flow_forged",
            Self::OtherHost => "flow_of_other_host",
            Self::OtherClient => "flow_of_other_client",
            Self::OtherBrowser(_) => "flow_of_other_browser",
            Self::Expired(_) => "flow_expired",
        }
    }
}

/// Where a flow was posted from.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The host that was asked.
    pub host: &'a Hostname,
    /// Who asks.
    pub holder: Holder,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Holder {
    /// The browser whose cookie has this digest.
    Browser(TokenDigest),
    /// A native client.
    Native,
}

#[derive(Deserialize, Serialize)]
enum SealedBinding {
    /// The digest in base64url: as long for every browser, so that a flow's length tells nothing.
    Browser(String),
    Native(String),
}

#[derive(Deserialize, Serialize)]
struct Envelope {
    id: FlowId,
    host: Hostname,
    holder: SealedBinding,
    class: Class,
    started_at: UnixTime,
    return_to: Option<LocalPath>,
    entry: Entry,
    step: SealedStep,
}

impl Flow {
    /// Seals the flow for the page's hidden field. `nonce` was drawn for this one sealing.
    pub fn seal(&self, key: &SealKey, nonce: [u8; 12]) -> Result<String, SealProblem> {
        let holder = match &self.binding {
            Binding::Browser(digest) => SealedBinding::Browser(URL_SAFE_NO_PAD.encode(digest.as_bytes())),
            Binding::Native(client) => SealedBinding::Native(client.clone()),
        };
        let envelope = Envelope {
            id: self.id,
            host: self.host.clone(),
            holder,
            class: self.class,
            started_at: self.started_at,
            return_to: self.return_to.clone(),
            entry: self.entry,
            step: self.step.to_sealed(),
        };
        let plain = serde_json::to_vec(&envelope).map_err(|_| SealProblem::NotSealed)?;
        Ok(URL_SAFE_NO_PAD.encode(key.seal(nonce, CONTEXT, &plain)?))
    }

    /// Opens a flow that `sender` posted at `now`.
    pub fn open(text: &str, key: &SealKey, sender: Sender<'_>, now: UnixTime) -> Result<Self, FlowProblem> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(FlowProblem::Forged);
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| FlowProblem::Forged)?;
        let plain = key.open(CONTEXT, &sealed).map_err(|_| FlowProblem::Forged)?;
        let envelope: Envelope = serde_json::from_slice(&plain).map_err(|_| FlowProblem::Forged)?;
        let binding = match envelope.holder {
            SealedBinding::Browser(text) => {
                let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
                Binding::Browser(TokenDigest::from_bytes(bytes.ok_or(FlowProblem::Forged)?))
            }
            SealedBinding::Native(client) => Binding::Native(client),
        };
        let flow = Self {
            id: envelope.id,
            host: envelope.host,
            binding,
            class: envelope.class,
            started_at: envelope.started_at,
            return_to: envelope.return_to,
            entry: envelope.entry,
            step: Step::from_sealed(envelope.step),
        };
        if flow.host != *sender.host {
            return Err(FlowProblem::OtherHost);
        }
        match (&flow.binding, sender.holder) {
            (Binding::Browser(sealed), Holder::Browser(asking)) if sealed.matches(&asking) => {}
            (Binding::Browser(_), Holder::Browser(_)) => return Err(FlowProblem::OtherBrowser(flow.wish())),
            (Binding::Native(_), Holder::Native) => {}
            (Binding::Browser(_), Holder::Native) | (Binding::Native(_), Holder::Browser(_)) => {
                return Err(FlowProblem::OtherClient);
            }
        }
        // A flow from the future was sealed before the clock was set back: it would live too long.
        if flow.started_at > now || flow.deadline() <= now {
            return Err(FlowProblem::Expired(flow.wish()));
        }
        Ok(flow)
    }

    /// Where it was to lead: what another one begins with in its place.
    pub fn wish(self) -> Wish {
        Wish { return_to: self.return_to, entry: self.entry }
    }
}
