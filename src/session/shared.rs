//! What sessions have in common, kept once for all of them.
//!
//! There may be millions of sessions, of people who work for a few companies and are in a few groups. A session holds
//! pointers to the rest; whoever makes sessions says what is shared (the table does).

use std::sync::Arc;

use super::{Principal, SessionRecord};
use crate::base::{Hostname, TenantId};
use crate::directory::{Lifetimes, UserKind};

/// What the sessions of a company have in common.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Terms {
    /// The user's tenant.
    pub tenant: TenantId,
    /// The tenant's slug.
    pub tenant_slug: Box<str>,
    /// The zone the session is valid in; useless elsewhere.
    pub zone: Hostname,
    /// The limits that held at log-in.
    pub lifetimes: Lifetimes,
}

impl Terms {
    /// The terms of one session.
    pub fn of(record: &SessionRecord, principal: &Principal) -> Self {
        Self {
            tenant: record.tenant,
            tenant_slug: principal.tenant_slug.as_str().into(),
            zone: record.zone.clone(),
            lifetimes: record.lifetimes,
        }
    }
}

/// A [`Principal`] as the sessions of its user share it: all that is only theirs in one piece of text.
///
/// Three texts in one allocation are 80 bytes less a person than three strings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SharedPrincipal {
    /// Username, e-mail address and display name, without anything in between.
    texts: Box<str>,
    username_end: u32,
    email_end: u32,
    groups: Arc<[String]>,
    kind: UserKind,
}

impl SharedPrincipal {
    /// `groups` are the principal's, shared with others who are in the same.
    pub fn new(principal: &Principal, groups: Arc<[String]>) -> Self {
        let Principal { username, email, display_name, groups: _, tenant_slug: _, kind } = principal;
        let email = email.as_deref().unwrap_or_default();
        // Beyond 4 GiB, which no store of ours returns, a text would be cut and not mistaken for another.
        let end = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            texts: [username, email, display_name].concat().into(),
            username_end: end(username.len()),
            email_end: end(username.len() + email.len()),
            groups,
            kind: *kind,
        }
    }

    /// `username@domain`.
    pub fn username(&self) -> &str {
        self.texts.get(..self.username_end as usize).unwrap_or_default()
    }

    /// The primary e-mail address; an empty one is none.
    pub fn email(&self) -> Option<&str> {
        let email = self.texts.get(self.username_end as usize..self.email_end as usize);
        email.filter(|text| !text.is_empty())
    }

    /// The name people call the user by.
    pub fn display_name(&self) -> &str {
        self.texts.get(self.email_end as usize..).unwrap_or_default()
    }

    /// Groups that the application is told of.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// What sort of account it is.
    pub const fn kind(&self) -> UserKind {
        self.kind
    }
}
