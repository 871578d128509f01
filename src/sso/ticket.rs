//! What an address that leads to a provider may carry under the gateway's own seal.
//!
//! A [`TestTicket`] is leave to try a tenant's provider before anybody has to use it (D25). Whether single sign-on works
//! only a browser can find out, and an operator's command has none. So the command seals a ticket, the operator opens the
//! address that holds it, and the round trip it begins ends on a page that tells what came back. It begins no session, and
//! proves nothing but that somebody with the master key asked.
//!
//! A [`ClassTicket`] says for which kind of client somebody logs in. A phone app or a mail add-in opens a browser for it, and
//! the browser is a desktop's as often as not: its session would take a slot of the wrong class (R82, R100, D42).
//!
//! *Why is neither spent at its first use?* Whoever comes back from a provider's error page tries again. What is spent is
//! the transaction that each try begins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::{Hostname, SealKey, SealProblem, TenantId, Ttl, UnixTime};
use crate::session::Class;

/// What the key for tickets is derived for.
pub const TICKET_PURPOSE: &str = "sso test v1";

/// How long a ticket lets its holder try.
pub const TICKET_MAX: Ttl = Ttl::seconds_const(3600);

/// How far the clock of whoever sealed it may be ahead of ours.
const AHEAD_MAX: Ttl = Ttl::seconds_const(5);

/// How long a native client's address leads to a session of its class.
const CLASS_MAX: Ttl = Ttl::seconds_const(10 * 60);

const TEXT_BYTES_MAX: usize = 1024;
const CONTEXT: &[u8] = b"sso test";
const CLASS_CONTEXT: &[u8] = b"sso class";

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

/// Why a ticket counts for nothing. The client is not told which of these it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TicketProblem {
    /// Made up, cut or changed.
    #[error("the ticket is forged")]
    Forged,
    /// Meant for another tenant or another host.
    #[error("the ticket belongs to another tenant or host")]
    Elsewhere,
    /// Too old.
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
        seal(self, key, CONTEXT, nonce)
    }

    /// Opens what was presented at `host` for `tenant`.
    pub fn open(
        text: &str,
        key: &SealKey,
        tenant: TenantId,
        host: &Hostname,
        now: UnixTime,
    ) -> Result<Self, TicketProblem> {
        let ticket: Self = open(text, key, CONTEXT)?;
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

/// For which kind of client somebody logs in at a provider, in whatever browser: for ten minutes, on one host, at the
/// provider of one tenant, or at the suite.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ClassTicket {
    /// Whose provider it leads to; `None` for the suite.
    tenant: Option<TenantId>,
    /// The zone that the client asked.
    host: Hostname,
    /// Which slots the session will take.
    class: Class,
    /// Worth nothing from here on.
    expires_at: UnixTime,
}

impl ClassTicket {
    /// A ticket from `now` on.
    pub fn new(tenant: Option<TenantId>, host: Hostname, class: Class, now: UnixTime) -> Self {
        Self { tenant, host, class, expires_at: now.plus(CLASS_MAX) }
    }

    /// Seals it for the address. `nonce` was drawn for this one sealing.
    pub fn seal(&self, key: &SealKey, nonce: [u8; 12]) -> Result<String, SealProblem> {
        seal(self, key, CLASS_CONTEXT, nonce)
    }

    /// The class that was sealed for the provider of `tenant` on `host`.
    pub fn open(
        text: &str,
        key: &SealKey,
        tenant: Option<TenantId>,
        host: &Hostname,
        now: UnixTime,
    ) -> Result<Class, TicketProblem> {
        let ticket: Self = open(text, key, CLASS_CONTEXT)?;
        if ticket.tenant != tenant || ticket.host != *host {
            return Err(TicketProblem::Elsewhere);
        }
        // One from the future was sealed before the clock was set back: it would live too long.
        let born_later = ticket.expires_at > now.plus(CLASS_MAX);
        if ticket.expires_at <= now || born_later {
            return Err(TicketProblem::Expired);
        }
        Ok(ticket.class)
    }
}

fn seal(ticket: &impl Serialize, key: &SealKey, context: &[u8], nonce: [u8; 12]) -> Result<String, SealProblem> {
    let plain = serde_json::to_vec(ticket).map_err(|_| SealProblem::NotSealed)?;
    Ok(URL_SAFE_NO_PAD.encode(key.seal(nonce, context, &plain)?))
}

fn open<T: DeserializeOwned>(text: &str, key: &SealKey, context: &[u8]) -> Result<T, TicketProblem> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(TicketProblem::Forged);
    }
    let sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| TicketProblem::Forged)?;
    let plain = key.open(context, &sealed).map_err(|_| TicketProblem::Forged)?;
    serde_json::from_slice(&plain).map_err(|_| TicketProblem::Forged)
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
    fn d42_a_clients_class_is_for_one_provider_one_host_and_ten_minutes() {
        let seal_for = |tenant| {
            let ticket = ClassTicket::new(tenant, host("desk.example"), Class::Mobile, NOW);
            ticket.seal(&key("class v1"), [1; 12]).unwrap()
        };
        let open = |text: &str, tenant, at, seconds| {
            ClassTicket::open(text, &key("class v1"), tenant, &host(at), NOW.plus_seconds(seconds))
        };
        for tenant in [Some(ACME), None] {
            let (text, other) = (seal_for(tenant), if tenant.is_some() { None } else { Some(ACME) });
            assert_eq!(open(&text, tenant, "desk.example", 599), Ok(Class::Mobile));
            assert_eq!(open(&text, tenant, "desk.example", 600), Err(TicketProblem::Expired));
            assert_eq!(open(&text, tenant, "other.example", 0), Err(TicketProblem::Elsewhere));
            assert_eq!(open(&text, other, "desk.example", 0), Err(TicketProblem::Elsewhere));
            for at in 0..text.len() {
                let changed = format!(
                    "{}{}{}",
                    &text[..at],
                    if text[at..].starts_with('A') { 'B' } else { 'A' },
                    &text[at + 1..]
                );
                assert_eq!(open(&changed, tenant, "desk.example", 0), Err(TicketProblem::Forged));
            }
        }
        let before = UnixTime::from_seconds(NOW.seconds() - 1);
        let early = ClassTicket::open(&seal_for(None), &key("class v1"), None, &host("desk.example"), before);
        assert_eq!(early, Err(TicketProblem::Expired), "sealed before the clock was set back");
        // Neither kind of ticket is taken for the other, even under one key.
        let test = TestTicket::new(ACME, host("desk.example"), NOW).seal(&key("class v1"), [1; 12]).unwrap();
        assert_eq!(open(&test, Some(ACME), "desk.example", 0), Err(TicketProblem::Forged));
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
