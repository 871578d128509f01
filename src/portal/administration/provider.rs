//! A3, General: which provider a tenant has, whether it works, and who must use it (D25, D27).
//!
//! The secret goes in and never comes out: the page shows dots, as many whatever it is. A test is a real round trip of
//! the administrator's own browser, because nothing else finds out whether people will get in.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};

use super::super::answer::{Answer, done};
use super::super::form::Form;
use super::super::sso::{Errand, address};
use super::super::{Portal, Visit};
use super::{ADMIN_SSO, Administrator};
use crate::base::{Hostname, Ttl, UserId, Username};
use crate::directory::{SsoScope, emergency_problem};
use crate::pages::{Field, ProviderFields, ProviderPage};
use crate::sso::{
    ClientAuthentication, ClientSecret, Issuer, LIST_MAX, ProviderSettings, Purpose, SigningAlgorithm,
    USERNAME_CLAIM_DEFAULT, is_client_id, is_word, max_age,
};
use crate::store::SsoSet;
use crate::telemetry::EventKind;

/// What a page says besides what is kept.
#[derive(Default)]
struct Said {
    /// What was typed and is not kept.
    fields: Option<ProviderFields>,
    /// Who was chosen to use the provider, and the emergency administrator. Is not kept either.
    chosen: Option<(SsoScope, String)>,
    notice: Option<&'static str>,
    /// Whether the notice is of something that is not well.
    warns: bool,
    error: Option<&'static str>,
}

impl Said {
    fn wrong(error: &'static str) -> Self {
        Self { error: Some(error), ..Self::default() }
    }
}

pub(super) async fn show(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let (notice, warns) = match query.as_deref().and_then(|query| query.strip_prefix("done=")) {
        Some("saved") => (Some("admin.saved"), false),
        Some("inuse") => (Some("admin.saved.inuse"), true),
        Some("nosecret") => (Some("admin.saved.nosecret"), true),
        Some("scope") => (Some("admin.scope.set"), false),
        Some("alone") => (Some("admin.scope.set.alone"), true),
        Some("unchanged") => (Some("admin.unchanged"), false),
        Some(_) | None => (None, false),
    };
    match portal.administrator(&visit, &headers).await {
        Ok(admin) => {
            let said = Said { notice, warns, ..Said::default() };
            portal.provider_page(&visit, &headers, &admin, said).await
        }
        Err(answer) => answer,
    }
}

pub(super) async fn save(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Answer> {
    portal.save_provider(&visit, &headers, body).await
}

pub(super) async fn test(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Answer> {
    portal.test_provider(&visit, &headers, body).await
}

pub(super) async fn set_scope(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Answer> {
    portal.set_scope(&visit, &headers, body).await
}

impl Portal {
    async fn provider_page(
        &self,
        visit: &Visit,
        headers: &HeaderMap,
        admin: &Administrator,
        said: Said,
    ) -> Answer {
        let tenant = &admin.account.tenant;
        let kept = async {
            let provider = self.store.provider(tenant.id).await?;
            Ok((provider, self.store.administrators(tenant.id).await?))
        };
        let (provider, administrators) = match kept.await {
            Ok(kept) => kept,
            Err(fault) => return self.store_fault(visit, headers, &fault),
        };
        let (csrf, browser) = match self.form_token(visit, &admin.person, headers) {
            Ok(token) => token,
            Err(answer) => return answer,
        };
        let administrators: Vec<_> = administrators
            .iter()
            .filter(|account| emergency_problem(&account.user, account.password.is_some()).is_none())
            .map(|account| {
                let kept = tenant.sso_exempt == Some(account.user.id);
                let name = account.user.username.to_string();
                let is_exempt = said.chosen.as_ref().map_or(kept, |(_, chosen)| *chosen == name);
                (name, is_exempt)
            })
            .collect();
        let confirmation = self.confirmation(&admin.person.session, &admin.account, visit, ADMIN_SSO);
        let fields = said.fields.unwrap_or_else(|| match &provider {
            Some(provider) => fields(&provider.settings),
            None => ProviderFields {
                username_claim: Field::from(USERNAME_CLAIM_DEFAULT.to_owned()),
                ..ProviderFields::default()
            },
        });
        let page = ProviderPage {
            company: &tenant.name,
            fields,
            configured: provider.is_some(),
            has_secret: provider.as_ref().is_some_and(|provider| provider.secret.is_some()),
            tested_at: provider.as_ref().and_then(|provider| provider.tested_at),
            address: &format!("{}{}", admin.person.zone.origin, address(&tenant.slug)),
            scope: said.chosen.map_or(tenant.sso, |(scope, _)| scope),
            administrators: &administrators,
            confirm: confirmation.shown(),
            csrf: &csrf,
            notice: said.notice,
            warns: said.warns,
            error: said.error,
        };
        self.admin_page(visit, headers, &page, said.error, browser)
    }

    async fn save_provider(&self, visit: &Visit, headers: &HeaderMap, body: Body) -> Result<Answer, Answer> {
        let admin = self.administrator(visit, headers).await?;
        let form = self.form(visit, &admin.person, headers, body).await?;
        let (mut fields, wanted) = read(&form);
        // Whoever sees the page again must not think that the secret went with the rest of it.
        if !form.field("client_secret").unwrap_or_default().trim().is_empty() {
            fields.secret_error = fields.secret_error.or(Some("admin.secret.again"));
        }
        let again = async |error| {
            let said = Said { fields: Some(fields), ..Said::wrong(error) };
            Ok(self.provider_page(visit, headers, &admin, said).await)
        };
        if let Some(error) = self.unconfirmed(visit, &admin.person, headers, &form).await? {
            return again(error).await;
        }
        let Some((settings, secret)) = wanted else { return again("admin.wrong.form").await };
        let tenant = admin.account.tenant.id;
        let before =
            self.store.provider(tenant).await.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        if secret.is_none() && before.is_some_and(|before| before.settings == settings) {
            return Ok(done(ADMIN_SSO, "unchanged"));
        }
        let event = admin.event(visit, EventKind::ProviderChanged, settings.issuer.as_str());
        let set = self.store.set_provider(tenant, &settings, secret.as_ref(), &event).await;
        set.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        let kept = self.store.provider(tenant).await.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        let lacks_secret = kept
            .as_ref()
            .is_some_and(|kept| kept.settings.client_authentication.needs_secret() && kept.secret.is_none());
        let is_tested = kept.is_some_and(|kept| kept.tested_at.is_some());
        let said = match admin.account.tenant.sso {
            _ if lacks_secret => "nosecret",
            SsoScope::Selected | SsoScope::All if !is_tested => "inuse",
            SsoScope::Off | SsoScope::Selected | SsoScope::All => "saved",
        };
        Ok(done(ADMIN_SSO, said))
    }

    /// To the provider and back: the callback notes that it worked, and shows what came.
    async fn test_provider(&self, visit: &Visit, headers: &HeaderMap, body: Body) -> Result<Answer, Answer> {
        let admin = self.administrator(visit, headers).await?;
        self.form(visit, &admin.person, headers, body).await?;
        let registration = self.registration(visit, &admin.account.tenant.slug).await;
        match registration.map_err(|fault| self.store_fault(visit, headers, &fault))? {
            Some(registration) => {
                let errand = Errand { purpose: Purpose::Test, ..Errand::log_in(None) };
                Ok(self.to_provider(&registration, errand, visit, headers).await)
            }
            None => Ok(self.provider_page(visit, headers, &admin, Said::wrong("admin.roster.noprovider")).await),
        }
    }

    async fn set_scope(&self, visit: &Visit, headers: &HeaderMap, body: Body) -> Result<Answer, Answer> {
        let admin = self.administrator(visit, headers).await?;
        let form = self.form(visit, &admin.person, headers, body).await?;
        let Some(scope) = form.field("scope").and_then(SsoScope::from_name) else {
            return Err(self.refusal(visit, headers, StatusCode::BAD_REQUEST));
        };
        let named = form.field("emergency").unwrap_or_default();
        let again = async |error| {
            let said = Said { chosen: Some((scope, named.to_owned())), ..Said::wrong(error) };
            Ok(self.provider_page(visit, headers, &admin, said).await)
        };
        if let Some(error) = self.unconfirmed(visit, &admin.person, headers, &form).await? {
            return again(error).await;
        }
        let exempt = match scope {
            // Nobody is exempt from what is off.
            SsoScope::Off => None,
            SsoScope::Selected | SsoScope::All if named.is_empty() => None,
            SsoScope::Selected | SsoScope::All => {
                match self.emergency_administrator(visit, headers, &admin, named).await? {
                    Some(user) => Some(user),
                    None => return again("admin.emergency.wrong").await,
                }
            }
        };
        let tenant = &admin.account.tenant;
        if (tenant.sso, tenant.sso_exempt) == (scope, exempt) {
            return Ok(done(ADMIN_SSO, "unchanged"));
        }
        let event = admin.event(visit, EventKind::SsoChanged, scope.name());
        let set = self.store.set_sso(tenant.id, scope, exempt, &event).await;
        match set.map_err(|fault| self.store_fault(visit, headers, &fault))? {
            SsoSet::Yes if scope == SsoScope::All && exempt.is_none() => Ok(done(ADMIN_SSO, "alone")),
            SsoSet::Yes => Ok(done(ADMIN_SSO, "scope")),
            SsoSet::Untested => again("admin.scope.untested").await,
            SsoSet::NobodyExempt => again("admin.emergency.wrong").await,
        }
    }

    /// Who is named, if they are one of the tenant's who can be it.
    async fn emergency_administrator(
        &self,
        visit: &Visit,
        headers: &HeaderMap,
        admin: &Administrator,
        named: &str,
    ) -> Result<Option<UserId>, Answer> {
        let Ok(username) = named.parse::<Username>() else { return Ok(None) };
        let account = self.store.account(&username).await;
        let account = account.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        let tenant = &admin.account.tenant;
        let fits = account.filter(|account| {
            account.tenant.id == tenant.id
                && emergency_problem(&account.user, account.password.is_some()).is_none()
        });
        Ok(fits.map(|account| account.user.id))
    }
}

/// What is kept, as it stands in the form.
fn fields(settings: &ProviderSettings) -> ProviderFields {
    let ProviderSettings {
        issuer,
        client_id,
        client_authentication,
        signing_algorithm,
        scopes,
        username_claim,
        hosts,
        acr,
        amr,
        max_age,
        provisioning,
        logout,
    } = settings;
    let hosts: Vec<_> = hosts.iter().map(Hostname::as_str).collect();
    ProviderFields {
        issuer: Field::from(issuer.to_string()),
        client_id: Field::from(client_id.clone()),
        secret_error: None,
        client_authentication: *client_authentication,
        signing_algorithm: *signing_algorithm,
        scopes: Field::from(scopes.join(" ")),
        username_claim: Field::from(username_claim.clone()),
        hosts: Field::from(hosts.join(" ")),
        acr: Field::from(acr.join(" ")),
        amr: Field::from(amr.join(" ")),
        max_age: Field::from(max_age.map(length).unwrap_or_default()),
        provisioning: *provisioning,
        logout: *logout,
    }
}

/// A length of time as [`max_age`] reads it.
fn length(time: Ttl) -> String {
    match time.seconds() {
        seconds if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        seconds if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

/// What was typed, with a word beside each field that cannot be; and, when there is none, what it means.
fn read(form: &Form) -> (ProviderFields, Option<(ProviderSettings, Option<ClientSecret>)>) {
    let text = |name: &str| form.field(name).unwrap_or_default().trim().to_owned();
    let mut fields = ProviderFields {
        issuer: Field::from(text("issuer")),
        client_id: Field::from(text("client_id")),
        secret_error: None,
        client_authentication: ClientAuthentication::from_name(&text("client_authentication")).unwrap_or_default(),
        signing_algorithm: SigningAlgorithm::from_name(&text("signing_algorithm")).unwrap_or_default(),
        scopes: Field::from(text("scopes")),
        username_claim: Field::from(text("username_claim")),
        hosts: Field::from(text("hosts")),
        acr: Field::from(text("acr")),
        amr: Field::from(text("amr")),
        max_age: Field::from(text("max_age")),
        provisioning: form.field("provisioning").is_some(),
        logout: form.field("logout").is_some(),
    };
    // A comma may stand in a word. One at its end is meant to divide.
    let word = |text: &str| (is_word(text) && !text.ends_with(',')).then(|| text.to_owned());
    let issuer = parsed(&mut fields.issuer, "admin.wrong.issuer", |text| Issuer::parse(text).ok());
    let client_id =
        parsed(&mut fields.client_id, "admin.wrong.clientid", |text| is_client_id(text).then(|| text.to_owned()));
    let scopes = parsed(&mut fields.scopes, "admin.wrong.words", |text| list(text, word));
    let username_claim = parsed(&mut fields.username_claim, "admin.wrong.word", word);
    let hosts = parsed(&mut fields.hosts, "admin.wrong.hosts", |text| list(text, |host| host.parse().ok()));
    let acr = parsed(&mut fields.acr, "admin.wrong.words", |text| list(text, word));
    let amr = parsed(&mut fields.amr, "admin.wrong.words", |text| list(text, word));
    let age = parsed(&mut fields.max_age, "admin.wrong.maxage", |text| match text {
        "" => Some(None),
        text => max_age(text).map(Some),
    });
    let secret = match form.field("client_secret").unwrap_or_default().trim() {
        "" => Some(None),
        text => ClientSecret::parse(text).map(Some),
    };
    if secret.is_none() {
        fields.secret_error = Some("admin.wrong.secret");
    }
    let wanted = || {
        let settings = ProviderSettings {
            issuer: issuer?,
            client_id: client_id?,
            client_authentication: fields.client_authentication,
            signing_algorithm: fields.signing_algorithm,
            scopes: scopes?,
            username_claim: username_claim?,
            hosts: hosts?,
            acr: acr?,
            amr: amr?,
            max_age: age?,
            provisioning: fields.provisioning,
            logout: fields.logout,
        };
        Some((settings, secret?))
    };
    let wanted = wanted();
    (fields, wanted)
}

/// What a field means; where it means nothing, `wrong` is put beside it.
fn parsed<T>(field: &mut Field, wrong: &'static str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let value = read(&field.value);
    if value.is_none() {
        field.error = Some(wrong);
    }
    value
}

/// The entries of a list that spaces divide.
fn list<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let entries = text.split_whitespace().map(read).collect::<Option<Vec<_>>>();
    entries.filter(|entries| entries.len() <= LIST_MAX)
}
