//! Is it still the person who logged in? What a thief of a session would do first wants the password, unless the person
//! proved who they are in the last ten minutes (SEC-R36).
//!
//! *And who has no password that counts?* Logs in anew, at the provider, which is asked to have the person show who they
//! are. Whether it does is its affair, as every log-in there is (R69, R101).

use axum::http::HeaderMap;

use super::answer::Answer;
use super::form::Form;
use super::person::Person;
use super::{Portal, Visit, sso};
use crate::base::{Ttl, Username};
use crate::directory::{Methods, SuiteMode, Tenant, methods, must_use_suite};
use crate::pages::Confirm;
use crate::session::Session;
use crate::store::Account;

/// How long a log-in counts as a proof of who is asking.
const FRESH: Ttl = Ttl::seconds_const(10 * 60);

/// What a page asks for before a change.
pub(super) struct Confirmation {
    is_fresh: bool,
    username: Username,
    /// Where somebody without a password logs in anew, and comes back from.
    log_in: Option<String>,
}

impl Confirmation {
    /// As the page shows it.
    pub(super) fn shown(&self) -> Confirm<'_> {
        match (self.is_fresh, &self.log_in) {
            (true, _) => Confirm::Nothing,
            (false, None) => Confirm::Password(self.username.as_str()),
            (false, Some(address)) => Confirm::LogIn(address),
        }
    }
}

fn is_fresh(session: &Session, visit: &Visit) -> bool {
    session.authenticated_at().is_some_and(|shown_at| visit.now < shown_at.plus(FRESH))
}

impl Portal {
    /// What the page at `path` asks the person of `account` for.
    pub(super) fn confirmation(
        &self,
        session: &Session,
        account: &Account,
        visit: &Visit,
        path: &str,
    ) -> Confirmation {
        Confirmation {
            is_fresh: is_fresh(session, visit),
            username: account.user.username.clone(),
            log_in: self.log_in_anew(account, path),
        }
    }

    /// What the tenant does with the suite: nothing while the installation has none, whatever was decided before.
    pub(super) fn suite_mode(&self, tenant: &Tenant) -> SuiteMode {
        match &self.settings.suite {
            Some(_) => tenant.suite.mode,
            None => SuiteMode::Off,
        }
    }

    /// Whether a password of that account is evaluated at all, and there is one.
    pub(super) fn has_password_that_counts(&self, account: &Account) -> bool {
        account.password.is_some() && self.log_in_anew(account, "/").is_none()
    }

    /// Where somebody without a password that counts logs in anew, to come back to `path`. People whom the suite entered
    /// into the directory never had one (D23), and where it is required none is evaluated (D22).
    fn log_in_anew(&self, account: &Account, path: &str) -> Option<String> {
        let Account { tenant, user, password, .. } = account;
        match (methods(tenant, user), self.suite_mode(tenant)) {
            (Methods::Sso | Methods::Api, _) => Some(sso::anew(&tenant.slug, path)),
            (Methods::LocalAndSuite, SuiteMode::Allowed | SuiteMode::Required)
                if must_use_suite(tenant, user) || password.is_none() =>
            {
                Some(sso::anew_at_suite(path))
            }
            (
                Methods::Local | Methods::LocalAndSuite,
                SuiteMode::Off | SuiteMode::Allowed | SuiteMode::Required,
            ) => None,
        }
    }

    /// Whether the person has shown who they are, a moment ago or in this form. `Some`: what to say; they have not.
    pub(super) async fn unconfirmed(
        &self,
        visit: &Visit,
        person: &Person,
        headers: &HeaderMap,
        form: &Form,
    ) -> Result<Option<&'static str>, Answer> {
        if is_fresh(&person.session, visit) {
            return Ok(None);
        }
        let user = person.session.user;
        let account =
            self.store.account_by_id(user).await.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        let Some(account) = account else { return Ok(Some("m2")) };
        if self.log_in_anew(&account, "/").is_some() {
            return Ok(Some("account.anew"));
        }
        let attempt = person.attempt(visit);
        let verdict = self
            .verifier
            .check_password(&account.user.username, form.field("password").unwrap_or_default(), &attempt)
            .await;
        Ok(match self.said_of(visit, headers, verdict, "m2")? {
            Ok(found) => (found.user.id != user).then_some("m2"),
            Err(said) => Some(said),
        })
    }
}
