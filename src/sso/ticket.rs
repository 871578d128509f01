//! Leave to try a tenant's provider before anybody has to use it (D25).
//!
//! Whether single sign-on works only a browser can find out, and an operator's command has none. So the command seals a
//! ticket, the operator opens the address that holds it, and the round trip it begins ends on a page that tells what
//! came back. A ticket begins no session, and proves nothing but that somebody with the master key asked.
//!
//! *Why is it not spent at its first use?* Whoever tries a provider comes back from its error page and tries again. What
//! is spent is the transaction that each try begins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::base::{Hostname, SealKey, SealProblem, TenantId, Ttl, UnixTime};

/// What the key for tickets is derived for.
pub const TICKET_PURPOSE: &str = "sso test v1";

/// How long a ticket lets its holder try.
pub const TICKET_MAX: Ttl = Ttl::seconds_const(3600);

/// How far the clock of whoever sealed it may be ahead of ours.
const AHEAD_MAX: Ttl = Ttl::seconds_const(5);

const TEXT_BYTES_MAX: usize = 1024;
const CONTEXT: &[u8] = b"sso test";

/// Leave to try one tenant's provider, on the host of its zone, for an hour.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TestTicket {
    /// Whose provider is tried.
    pub tenant: TenantId,
    /// Where: the tenant's zone when the ticket was made.
    pub host: Hostname,
    /// Worth nothing from here on.
    pub expires_at: UnixTime,
}

/// Why a ticket lets nobody try anything. The client is told one neutral sentence.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TicketProblem {
    /// Made up, cut or changed.
    #[error("the ticket is forged")]
    Forged,
    /// Meant for another tenant or another host.
    #[error("the ticket belongs to another tenant or host")]
    Elsewhere,
    /// Over an hour old.
    #[error("the ticket has expired")]
    Expired,
}

impl TestTicket {
    /// A ticket from `now` on.
    pub fn new(tenant: TenantId, host: Hostname, now: UnixTime) -> Self {
        Self { tenant, host, expires_at: now.plus(TICKET_MAX) }
    }

    /// Seals it for the address. `nonce` was drawn for this one sealing.
    pub fn seal(&self, key: &SealKey, nonce: [u8; 12]) -> Result<String, SealProblem> {
        let plain = serde_json::to_vec(self).map_err(|_| SealProblem::NotSealed)?;
        Ok(URL_SAFE_NO_PAD.encode(key.seal(nonce, CONTEXT, &plain)?))
    }

    /// Opens what was presented at `host` for `tenant`.
    pub fn open(
        text: &str,
        key: &SealKey,
        tenant: TenantId,
        host: &Hostname,
        now: UnixTime,
    ) -> Result<Self, TicketProblem> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(TicketProblem::Forged);
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| TicketProblem::Forged)?;
        let plain = key.open(CONTEXT, &sealed).map_err(|_| TicketProblem::Forged)?;
        let ticket: Self = serde_json::from_slice(&plain).map_err(|_| TicketProblem::Forged)?;
        if ticket.tenant != tenant || ticket.host != *host {
            return Err(TicketProblem::Elsewhere);
        }
        // One from the future was sealed before the clock was set back: it would live too long. A moment is none: the command
        // that seals it reads the clock itself, and the gateway's shows the last quarter of a second.
        let born_later = ticket.expires_at > now.plus(TICKET_MAX).plus(AHEAD_MAX);
        if ticket.expires_at <= now || born_later {
            return Err(TicketProblem::Expired);
        }
        Ok(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::MasterKey;

    const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);
    const ACME: TenantId = TenantId::from_bytes([4; 16]);

    fn key(purpose: &'static str) -> SealKey {
        MasterKey::from_bytes([7; 32]).derive(purpose)
    }

    fn host(text: &str) -> Hostname {
        text.parse().unwrap()
    }

    fn sealed() -> String {
        TestTicket::new(ACME, host("desk.example"), NOW).seal(&key(TICKET_PURPOSE), [1; 12]).unwrap()
    }

    fn check(text: &str, tenant: TenantId, at: &str, now: UnixTime, want: Result<(), TicketProblem>) {
        let opened = TestTicket::open(text, &key(TICKET_PURPOSE), tenant, &host(at), now);
        assert_eq!(opened.map(|_| ()), want, "{tenant} {at} {now}");
    }

    #[test]
    fn a_ticket_is_for_one_tenant_one_host_and_one_hour() {
        let last = NOW.plus_seconds(3599);
        check(&sealed(), ACME, "desk.example", NOW, Ok(()));
        check(&sealed(), ACME, "desk.example", last, Ok(()));
        check(&sealed(), ACME, "desk.example", NOW.plus_seconds(3600), Err(TicketProblem::Expired));
        check(&sealed(), ACME, "other.example", NOW, Err(TicketProblem::Elsewhere));
        check(&sealed(), TenantId::from_bytes([5; 16]), "desk.example", NOW, Err(TicketProblem::Elsewhere));
        let behind = |seconds| UnixTime::from_seconds(NOW.seconds() - seconds);
        check(&sealed(), ACME, "desk.example", behind(5), Ok(()));
        check(&sealed(), ACME, "desk.example", behind(6), Err(TicketProblem::Expired));
    }

    #[test]
    fn nobody_makes_or_changes_a_ticket_without_the_key() {
        let text = sealed();
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            // The last character has bits that mean nothing, and base64 refuses them; either way it is no ticket.
            check(&String::from_utf8(changed).unwrap(), ACME, "desk.example", NOW, Err(TicketProblem::Forged));
            check(&text[..at], ACME, "desk.example", NOW, Err(TicketProblem::Forged));
        }
        check(&"A".repeat(1 << 20), ACME, "desk.example", NOW, Err(TicketProblem::Forged));
        let flow = TestTicket::new(ACME, host("desk.example"), NOW).seal(&key("flow v1"), [1; 12]).unwrap();
        check(&flow, ACME, "desk.example", NOW, Err(TicketProblem::Forged));
    }
}
