//! From one host to the right one, with the username kept and never in the address (R14, R15, trap 20).
//!
//! A hand-over carries a name and nothing that was proved: the password is asked on the right host only. It is
//! sealed for that host, lives a minute, and is spent once in the store.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::base::{FlowId, Hostname, SealKey, SealProblem, Ttl, UnixTime, Username};

const HANDOVER_MAX: Ttl = Ttl::seconds_const(60);
const TEXT_BYTES_MAX: usize = 4096;
const CONTEXT: &[u8] = b"handover";

/// A username on its way to its zone.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Handover {
    /// What is spent in the store when it arrives.
    pub id: FlowId,
    /// Where it goes.
    pub zone: Hostname,
    /// Whose log-in goes on there.
    pub username: Username,
    /// Where the name was typed from. Whoever opens it elsewhere may have been sent here by whoever typed it.
    pub from: IpAddr,
    /// Worth nothing from here on.
    pub expires_at: UnixTime,
}

/// Why a hand-over is not accepted. The client sees the username page and no reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HandoverProblem {
    /// Made up, cut or changed.
    #[error("the hand-over is forged")]
    Forged,
    /// Meant for another host.
    #[error("the hand-over belongs to another host")]
    OtherHost,
    /// Over a minute old.
    #[error("the hand-over has expired")]
    Expired,
}

impl Handover {
    /// A hand-over to `zone`. A return path does not come along: it was asked for on another host (W1).
    pub fn new(id: FlowId, zone: Hostname, username: Username, from: IpAddr, now: UnixTime) -> Self {
        Self { id, zone, username, from, expires_at: now.plus(HANDOVER_MAX) }
    }

    /// Seals it for the address. `nonce` was drawn for this one sealing.
    pub fn seal(&self, key: &SealKey, nonce: [u8; 12]) -> Result<String, SealProblem> {
        let plain = serde_json::to_vec(self).map_err(|_| SealProblem::NotSealed)?;
        Ok(URL_SAFE_NO_PAD.encode(key.seal(nonce, CONTEXT, &plain)?))
    }

    /// Opens what arrived at `host`. Whether it was used before, only the store knows.
    pub fn open(text: &str, key: &SealKey, host: &Hostname, now: UnixTime) -> Result<Self, HandoverProblem> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(HandoverProblem::Forged);
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| HandoverProblem::Forged)?;
        let plain = key.open(CONTEXT, &sealed).map_err(|_| HandoverProblem::Forged)?;
        let handover: Self = serde_json::from_slice(&plain).map_err(|_| HandoverProblem::Forged)?;
        if handover.zone != *host {
            return Err(HandoverProblem::OtherHost);
        }
        let born_later = handover.expires_at > now.plus(HANDOVER_MAX);
        if handover.expires_at <= now || born_later {
            return Err(HandoverProblem::Expired);
        }
        Ok(handover)
    }
}
