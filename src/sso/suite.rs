//! The vendor's suite: one provider for all zones, and what its word says beyond who somebody is.
//!
//! A tenant's own provider speaks for one tenant. The suite speaks for many, so what it says must name the company as
//! well: a person counts for the tenants that are bound to that company, and for no others (R92, trap 9).

use serde_json::Value;
use url::Url;

use super::{ClientSecret, IdToken, ProviderSettings, UserInfo};
use crate::directory::SuiteCompany;

/// The most modules that a suite has.
pub const MODULES_MAX: usize = 64;

/// The suite, as the operator configures it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Suite {
    /// What people know it by.
    pub name: String,
    /// Its own home page: where its icon leads.
    pub home: Option<Url>,
    /// Its provider.
    pub settings: ProviderSettings,
    /// What we prove ourselves with there.
    pub secret: Option<ClientSecret>,
    /// The claim that carries the company's id.
    pub company_claim: String,
    /// The claim that carries the ids of the modules that the person may open.
    pub modules_claim: String,
    /// The claim that is `true` of whoever may bind their company to a tenant.
    pub master_claim: String,
    /// What the launcher offers, in its order.
    pub modules: Vec<Module>,
}

/// One product of the suite.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Module {
    /// What the suite's claim calls it.
    pub id: String,
    /// What people know it by.
    pub name: String,
    /// Where it opens.
    pub url: Url,
}

impl Suite {
    /// The company of the person; `None` where the suite names none, or nothing that could be one.
    pub fn company(&self, token: &IdToken, info: Option<&UserInfo>) -> Option<SuiteCompany> {
        claim(token, info, &self.company_claim)?.as_str()?.parse().ok()
    }

    /// Whether the person may bind their company to a tenant here.
    pub fn is_master(&self, token: &IdToken, info: Option<&UserInfo>) -> bool {
        claim(token, info, &self.master_claim) == Some(&Value::Bool(true))
    }

    /// The ids of the modules that both the person and the launcher have, in the launcher's order. A claim that is
    /// missing, or no list, is none.
    pub fn modules_of(&self, token: &IdToken, info: Option<&UserInfo>) -> Vec<String> {
        let ids = claim(token, info, &self.modules_claim).and_then(Value::as_array);
        let has = |module: &&Module| ids.is_some_and(|ids| ids.iter().any(|id| id == module.id.as_str()));
        self.modules.iter().filter(has).map(|module| module.id.clone()).collect()
    }

    /// The modules of these ids, in the launcher's order.
    pub fn modules_by_id<'a>(&'a self, ids: &'a [String]) -> impl Iterator<Item = &'a Module> {
        self.modules.iter().filter(|module| ids.contains(&module.id))
    }
}

/// Of the ID token, else of the user info.
fn claim<'a>(token: &'a IdToken, info: Option<&'a UserInfo>, name: &str) -> Option<&'a Value> {
    token.claim(name).or_else(|| info.and_then(|info| info.claim(name)))
}
