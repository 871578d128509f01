//! What tells the two sample providers apart: their looks, their clients, and whom they know.

use serde_json::{Value, json};

use super::SUITE_PATH;
use crate::cli::demo::people::{
    AtSuite, Company, Credentials, InSuite, NEWCOMER, PEOPLE, Person, STRANGER, SUITE_CLIENT,
};

/// How a provider shows itself.
#[derive(Debug)]
pub(super) struct Face {
    /// What it is called.
    pub(super) name: &'static str,
    /// Where its addresses begin, below the host.
    pub(super) path: &'static str,
    /// What the cookie is called by which it knows a browser.
    pub(super) cookie: &'static str,
    /// The name of the module that it is itself.
    pub(super) academy: Option<&'static str>,
}

/// The companies' own provider.
pub(super) const COMPANIES: Face =
    Face { name: "Sample identity provider", path: "", cookie: "__Host-sample-login", academy: None };

/// The vendor's suite.
pub(super) const SUITE: Face = Face {
    name: "AcmeOne, the sample suite",
    path: SUITE_PATH,
    cookie: "__Host-sample-suite",
    academy: Some("Acme Academy"),
};

impl Face {
    /// The address of its start page.
    pub(super) const fn home(&self) -> &'static str {
        if self.path.is_empty() { "/" } else { self.path }
    }
}

/// Somebody, as a provider knows them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) subject: &'static str,
    pub(super) person: &'static Person,
    /// What the suite says of them beyond that.
    suite: Option<(InSuite, AtSuite)>,
}

impl Known {
    /// Somebody whom a company's own provider knows.
    pub(super) fn to_company(person: &'static Person) -> Option<Self> {
        Some(Self { subject: person.subject?, person, suite: None })
    }

    fn to_suite(person: &'static Person) -> Option<Self> {
        let (company, at) = (person.company()?.suite?, person.suite?);
        Some(Self { subject: at.subject, person, suite: Some((company, at)) })
    }

    /// What is known of them (OpenID Connect Core 1.0 section 5.1).
    pub(super) fn claims(&self) -> Value {
        let mut claims = json!({
            "sub": self.subject,
            "preferred_username": self.person.username,
            "name": self.person.name,
            "email": self.person.username,
            "email_verified": true,
        });
        if let (Some((company, at)), Some(claims)) = (&self.suite, claims.as_object_mut()) {
            claims.insert("company".into(), company.company.into());
            claims.insert("modules".into(), at.modules.into());
            claims.insert("company_master".into(), at.is_master.into());
        }
        claims
    }
}

/// An application that logs people in here: what one zone is to one provider.
#[derive(Debug)]
pub(crate) struct Client {
    /// What people know it by.
    pub(super) name: String,
    pub(super) credentials: Credentials,
    /// Where its addresses begin.
    pub(super) base: String,
    /// Who can be picked.
    pub(super) people: Vec<Known>,
}

impl Client {
    /// The log-in of `company`, whose zone is at `origin`.
    pub(crate) fn of_company(company: &'static Company, origin: &str) -> Self {
        let people = PEOPLE.iter().chain([&STRANGER]);
        let people = people.filter(|person| person.company().is_some_and(|of| of.slug == company.slug));
        Self {
            name: company.name.into(),
            credentials: company.client,
            base: format!("{origin}/.zonegate/sso/{}", company.slug),
            people: people.filter_map(Known::to_company).collect(),
        }
    }

    /// The suite's log-in at the zone at `origin`. All zones are one client there, with an address each.
    pub(crate) fn of_suite(name: String, origin: &str) -> Self {
        let people = PEOPLE.iter().chain([&NEWCOMER]).filter_map(Known::to_suite);
        let base = format!("{origin}/.zonegate/suite");
        Self { name, credentials: SUITE_CLIENT, base, people: people.collect() }
    }

    /// One of its addresses at its zone, such as `callback`.
    pub(super) fn address(&self, part: &str) -> String {
        format!("{}/{part}", self.base)
    }
}
