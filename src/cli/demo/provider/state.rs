//! What the sample provider remembers, in memory only: a demo that starts anew has forgotten who was logged in.

use std::collections::{BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Request;
use super::face::Known;
use crate::base::UnixTime;
use crate::machine::{EntropyFault, random};

/// How long a code is good for, in seconds.
const CODE_SECONDS: u64 = 60;
/// How long an access token is, in seconds.
pub(super) const ACCESS_SECONDS: u64 = 300;
/// How long somebody stays logged in, in seconds.
const LOGIN_SECONDS: u64 = 12 * 3600;

/// Somebody who is logged in with a browser.
pub(super) struct Login {
    pub(super) known: Known,
    /// What applications call this log-in.
    pub(super) sid: String,
    pub(super) at: UnixTime,
    /// Whom it let somebody into, by where their addresses begin.
    pub(super) clients: BTreeSet<String>,
    /// The ID tokens that were given for it.
    id_tokens: Vec<String>,
}

/// What a code stands for.
pub(super) struct Granted {
    pub(super) client_id: &'static str,
    pub(super) redirect_uri: String,
    pub(super) nonce: String,
    pub(super) challenge: String,
    pub(super) known: Known,
    pub(super) sid: String,
    pub(super) logged_in_at: UnixTime,
    until: UnixTime,
}

/// Log-ins by cookie, codes, and access tokens with their ends.
#[derive(Default)]
pub(super) struct Memory {
    logins: HashMap<String, Login>,
    codes: HashMap<String, Granted>,
    open: HashMap<String, (Known, UnixTime)>,
}

impl Memory {
    /// Logs somebody in; gives the cookie's value.
    pub(super) fn log_in(&mut self, known: Known, now: UnixTime) -> Result<String, EntropyFault> {
        self.logins.retain(|_, login| now < login.at.plus_seconds(LOGIN_SECONDS));
        let cookie = name()?;
        let (sid, clients, id_tokens) = (name()?, BTreeSet::new(), Vec::new());
        self.logins.insert(cookie.clone(), Login { known, sid, at: now, clients, id_tokens });
        Ok(cookie)
    }

    /// Whether the cookie is that of somebody of the client's, who is expected and logged in recently enough.
    pub(super) fn may_go_on(&self, cookie: &str, request: &Request<'_>, now: UnixTime) -> bool {
        let allowed = request.max_age.unwrap_or(LOGIN_SECONDS).min(LOGIN_SECONDS);
        self.logins.get(cookie).is_some_and(|Login { known, at, .. }| {
            let expected = request.login_hint.as_deref().is_none_or(|hint| hint == known.person.username);
            let is_here = request.client.people.iter().any(|of| of.subject == known.subject);
            !request.ask && expected && is_here && now < at.plus_seconds(allowed)
        })
    }

    /// Who the cookie says somebody is.
    pub(super) fn known(&self, cookie: &str) -> Option<Known> {
        self.logins.get(cookie).map(|login| login.known)
    }

    /// Notes an ID token that was given for the log-in that applications call `sid`.
    pub(super) fn issued(&mut self, sid: &str, id_token: &str) {
        if let Some(login) = self.logins.values_mut().find(|login| login.sid == sid) {
            login.id_tokens.push(id_token.to_owned());
        }
    }

    /// Ends the log-in for which this ID token was given: whoever has it is one of its applications.
    pub(super) fn log_out_by(&mut self, id_token: &str) -> Option<Login> {
        let mut all = self.logins.iter();
        let found = all.find(|(_, login)| login.id_tokens.iter().any(|given| given == id_token));
        let cookie = found.map(|(cookie, _)| cookie.clone())?;
        self.logins.remove(&cookie)
    }

    /// Ends a log-in.
    pub(super) fn log_out(&mut self, cookie: &str) -> Option<Login> {
        self.logins.remove(cookie)
    }

    /// A code for the person of the log-in; `None` when that is over.
    pub(super) fn grant(
        &mut self,
        cookie: &str,
        request: &Request<'_>,
        now: UnixTime,
    ) -> Result<Option<String>, EntropyFault> {
        self.codes.retain(|_, granted| now < granted.until);
        let Some(login) = self.logins.get_mut(cookie) else { return Ok(None) };
        login.clients.insert(request.client.base.clone());
        let code = name()?;
        let granted = Granted {
            client_id: request.client.credentials.client_id,
            redirect_uri: request.redirect_uri.clone(),
            nonce: request.nonce.clone(),
            challenge: request.challenge.clone(),
            known: login.known,
            sid: login.sid.clone(),
            logged_in_at: login.at,
            until: now.plus_seconds(CODE_SECONDS),
        };
        self.codes.insert(code.clone(), granted);
        Ok(Some(code))
    }

    /// What a code stands for, once.
    pub(super) fn redeem(&mut self, code: &str, now: UnixTime) -> Option<Granted> {
        self.codes.remove(code).filter(|granted| now < granted.until)
    }

    /// An access token for what is known of a person.
    pub(super) fn open(&mut self, known: Known, now: UnixTime) -> Result<String, EntropyFault> {
        self.open.retain(|_, (_, until)| now < *until);
        let token = name()?;
        self.open.insert(token.clone(), (known, now.plus_seconds(ACCESS_SECONDS)));
        Ok(token)
    }

    /// Whose access token it is.
    pub(super) fn opened(&self, token: &str, now: UnixTime) -> Option<Known> {
        self.open.get(token).filter(|(_, until)| now < *until).map(|(known, _)| *known)
    }
}

/// A name that nobody guesses.
fn name() -> Result<String, EntropyFault> {
    Ok(URL_SAFE_NO_PAD.encode(random::<24>()?))
}
