//! A new authenticator in the place of the current one (U29; SEC-R25): password and current code first, then the
//! new QR code, then a code of the new app. Until that code is right the old authenticator works, and the new secret
//! exists nowhere but sealed in the page.
//!
//! Who needs no second factor and has none sets up a first one in the same way, after the password alone (R70).

use std::fmt::Display;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::routing::get;
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::account::ACCOUNT;
use super::answer::{Answer, done, html, page_status, see_other};
use super::form::Form;
use super::person::Person;
use super::{Portal, Visit, cookies};
use crate::base::{SealKey, Ttl, UnixTime};
use crate::credential::{TotpCode, TotpSecret, accept, otpauth_uri};
use crate::directory::TotpPeriod;
use crate::machine::random;
use crate::pages::{NewQrPage, Page};
use crate::store::Account;
use crate::telemetry::{EventKind, SecurityEvent};

/// How long a new QR code can be confirmed.
const CONFIRM_MAX: Ttl = Ttl::seconds_const(10 * 60);

/// A new secret on its way through the browser.
#[derive(Deserialize, Serialize)]
struct Fresh {
    secret: TotpSecret,
    period: TotpPeriod,
    /// The account's flow epoch when it was asked for; a later one ends it, and confirming raises it.
    flow_epoch: u64,
    /// Nothing is replaced by it.
    is_first: bool,
    made_at: UnixTime,
}

pub(super) fn routes() -> Router<Arc<Portal>> {
    Router::new().route("/.zonegate/account/authenticator", get(ask).post(change))
}

async fn ask(State(portal): State<Arc<Portal>>, Extension(visit): Extension<Visit>, headers: HeaderMap) -> Answer {
    portal.ask_for_authenticator(&visit, &headers).await.unwrap_or_else(|answer| answer)
}

async fn change(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Answer> {
    portal.change_authenticator(&visit, &headers, body).await
}

impl Portal {
    async fn ask_for_authenticator(&self, visit: &Visit, headers: &HeaderMap) -> Result<Answer, Answer> {
        let person = self.person(visit, headers)?;
        let Some(account) = self.account_with_authenticator(visit, &person, headers).await? else {
            return Ok(see_other(ACCOUNT));
        };
        Ok(self.authenticator_page(visit, &person, headers, &account, None, None))
    }

    /// The person's account, if they can have an authenticator: one that is asked for where their password is.
    async fn account_with_authenticator(
        &self,
        visit: &Visit,
        person: &Person,
        headers: &HeaderMap,
    ) -> Result<Option<Account>, Answer> {
        let account = self.store.account_by_id(person.session.user).await;
        let account = account.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        Ok(account.filter(|account| self.has_password_that_counts(account)))
    }

    async fn change_authenticator(
        &self,
        visit: &Visit,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Answer, Answer> {
        let person = self.person(visit, headers)?;
        let form = self.form(visit, &person, headers, body).await?;
        let Some(account) = self.account_with_authenticator(visit, &person, headers).await? else {
            return Ok(see_other(ACCOUNT));
        };
        let again = |error| Ok(self.authenticator_page(visit, &person, headers, &account, None, Some(error)));
        if form.field("sealed").unwrap_or_default().is_empty() {
            return match self.proof_problem(visit, &person, headers, &account, &form).await? {
                Some(error) => again(error),
                None => self.show_fresh(visit, &person, headers, &account),
            };
        }
        let Some(fresh) = self.open_fresh(&person, &account, form.field("sealed").unwrap_or_default(), visit.now)
        else {
            return again("notice.expired");
        };
        let step = form
            .field("code")
            .and_then(|code| code.parse::<TotpCode>().ok())
            .and_then(|code| accept(&fresh.secret, fresh.period, &code, None, visit.now));
        let Some(step) = step else {
            let shown = Some((form.field("sealed").unwrap_or_default(), &fresh));
            return Ok(self.authenticator_page(visit, &person, headers, &account, shown, Some("m4")));
        };
        let event = person.event(visit, EventKind::SecondFactorEnrolled);
        let (user, kept) = (account.user.id, person.session.id);
        let Fresh { secret, period, flow_epoch, .. } = &fresh;
        if account.totp.is_none() {
            let enrolled = self.store.enrol_totp(user, *flow_epoch, secret, *period, step, &event).await;
            return match enrolled.map_err(|fault| self.store_fault(visit, headers, &fault))? {
                true => Ok(done(ACCOUNT, "enrolled")),
                false => again("notice.expired"),
            };
        }
        let event = SecurityEvent { reason: Some("replaced"), ..event };
        let replaced = self.store.replace_totp(user, kept, *flow_epoch, secret, *period, step, &event).await;
        if !replaced.map_err(|fault| self.store_fault(visit, headers, &fault))? {
            return again("notice.expired");
        }
        // The other sessions have ended in the store: here as well, before anything is answered.
        self.sessions.tail().await.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        Ok(done(ACCOUNT, "authenticator"))
    }

    /// Password and current code, where there is an authenticator that shows one. `Some`: what to say; they were not both
    /// right.
    async fn proof_problem(
        &self,
        visit: &Visit,
        person: &Person,
        headers: &HeaderMap,
        account: &Account,
        form: &Form,
    ) -> Result<Option<&'static str>, Answer> {
        let attempt = person.attempt(visit);
        // A text that cannot be a code is no guess (D5), and no reason to hash.
        let code = match (&account.totp, form.field("code").unwrap_or_default().parse::<TotpCode>()) {
            (None, _) => None,
            (Some(_), Ok(code)) => Some(code),
            (Some(_), Err(_)) => return Ok(Some("m4")),
        };
        let password = self
            .verifier
            .check_password(&account.user.username, form.field("password").unwrap_or_default(), &attempt)
            .await;
        if let Err(said) = self.said_of(visit, headers, password, "m2")? {
            return Ok(Some(said));
        }
        let Some(code) = code else { return Ok(None) };
        let code = self.verifier.check_code(account, &code, &attempt).await;
        Ok(self.said_of(visit, headers, code, "m4")?.err())
    }

    fn show_fresh(
        &self,
        visit: &Visit,
        person: &Person,
        headers: &HeaderMap,
        account: &Account,
    ) -> Result<Answer, Answer> {
        let unavailable =
            |problem: &dyn Display| self.unavailable(visit, headers, "no new authenticator can be made", problem);
        let secret = TotpSecret::from_bytes(random().map_err(|fault| unavailable(&fault))?);
        let period = self.settings.security.with(&account.tenant.overrides).totp_period;
        let fresh = Fresh {
            secret,
            period,
            flow_epoch: account.user.flow_epoch,
            is_first: account.totp.is_none(),
            made_at: visit.now,
        };
        let plain = Zeroizing::new(serde_json::to_vec(&fresh).map_err(|problem| unavailable(&problem))?);
        let nonce = random().map_err(|fault| unavailable(&fault))?;
        let sealed = self.fresh_key().seal(nonce, person.session.id.as_bytes(), &plain);
        let sealed = URL_SAFE_NO_PAD.encode(sealed.map_err(|problem| unavailable(&problem))?);
        Ok(self.authenticator_page(visit, person, headers, account, Some((&sealed, &fresh)), None))
    }

    /// What was sealed for this very session, if it still counts.
    fn open_fresh(&self, person: &Person, account: &Account, sealed: &str, now: UnixTime) -> Option<Fresh> {
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let plain = self.fresh_key().open(person.session.id.as_bytes(), &sealed).ok()?;
        let fresh: Fresh = serde_json::from_slice(&Zeroizing::new(plain)).ok()?;
        // What was made for the first authenticator, by the password alone, replaces none that came since (S11).
        let counts = fresh.flow_epoch == account.user.flow_epoch && fresh.is_first == account.totp.is_none();
        (now < fresh.made_at.plus(CONFIRM_MAX) && counts).then_some(fresh)
    }

    fn fresh_key(&self) -> SealKey {
        self.settings.master_key.derive("new authenticator v1")
    }

    /// The page: with a new secret, or still asking who it is.
    fn authenticator_page(
        &self,
        visit: &Visit,
        person: &Person,
        headers: &HeaderMap,
        account: &Account,
        shown: Option<(&str, &Fresh)>,
        error: Option<&'static str>,
    ) -> Answer {
        let (csrf, fresh_browser) = match self.form_token(visit, person, headers) {
            Ok(token) => token,
            Err(answer) => return answer,
        };
        let texts = shown.map(|(sealed, fresh)| {
            let issuer = &self.settings.brand.product;
            let uri = otpauth_uri(issuer, &account.user.username, &fresh.secret, fresh.period);
            (sealed, Zeroizing::new(uri), Zeroizing::new(fresh.secret.to_base32()))
        });
        let (sealed, uri, key) = match &texts {
            Some((sealed, uri, key)) => (*sealed, uri.as_str(), key.as_str()),
            None => ("", "", ""),
        };
        let username = account.user.username.as_str();
        let page = NewQrPage { username, first: account.totp.is_none(), sealed, uri, key, csrf: &csrf, error };
        let mut answer = html(page_status(error), page.html(&self.chrome(visit, headers)));
        if let Some(browser) = fresh_browser {
            answer.headers_mut().append(SET_COOKIE, cookies::set_browser(&browser));
        }
        answer
    }
}
