//! The demo's tenants and people.
//!
//! Their passwords and authenticator secrets are fixed and stand here for all to read: they guard nothing but a
//! sample application on loopback, and a script can rely on them. Everybody shows one thing: Alice logs in as most
//! people do, Bob sets up his second factor first, Carol's codes change every 60 seconds, Nora has no password here and
//! logs in at her company's identity provider, and so on. Some of them are people of the sample suite as well.

use crate::directory::{SecurityLevel, SecurityOverrides, SsoScope, TotpPeriod, UserKind};

/// A sample customer company.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Company {
    /// The short name.
    pub slug: &'static str,
    /// The full name.
    pub name: &'static str,
    /// The host of its zone.
    pub zone: &'static str,
    /// The domain of its usernames.
    pub domain: &'static str,
    /// What it sets differently.
    pub overrides: SecurityOverrides,
    /// How the sample identity provider and we know each other. It knows a company that does not log in there yet, too.
    pub client: Credentials,
    /// Its log-in at the sample identity provider.
    pub sso: Option<SingleSignOn>,
    /// Which company of the sample suite it is.
    pub suite: Option<InSuite>,
}

/// What a provider calls us, and what we prove ourselves with there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credentials {
    /// What the provider calls us.
    pub client_id: &'static str,
    /// What both share.
    pub client_secret: &'static str,
}

/// Ours at the sample suite. The id stands in the demo's configuration as well.
pub(crate) const SUITE_CLIENT: Credentials =
    Credentials { client_id: "zonegate-desk", client_secret: "Sample-Secret-of-AcmeOne-17" };

/// A company of the sample suite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InSuite {
    /// What the suite calls it.
    pub company: &'static str,
    /// Whether its users may log in so here: the suite may know a company that does not want that.
    pub is_used: bool,
}

/// Somebody of the sample suite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtSuite {
    /// Who the person is there.
    pub subject: &'static str,
    /// The modules that they may open, by the ids in the demo's configuration.
    pub modules: &'static [&'static str],
    /// Whether they may bind their company to a tenant.
    pub is_master: bool,
}

/// How a sample company logs in at the sample identity provider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SingleSignOn {
    /// Who must.
    pub scope: SsoScope,
    /// The administrator who need not (D25).
    pub emergency: Option<&'static str>,
}

/// A sample user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person {
    /// `username@domain`; the domain is the company's.
    pub username: &'static str,
    /// The name people say.
    pub name: &'static str,
    /// `None` for a program, and for whoever logs in at the identity provider.
    pub password: Option<&'static str>,
    /// Who the person is at the sample identity provider, for those whom it knows.
    pub subject: Option<&'static str>,
    /// Who the person is at the sample suite, for those whom it knows.
    pub suite: Option<AtSuite>,
    /// The authenticator's secret, for those who have set one up.
    pub totp_secret: Option<[u8; 20]>,
    /// What sort of account it is.
    pub kind: UserKind,
    /// Whether the person may configure users.
    pub level: SecurityLevel,
    /// What the application is told of.
    pub groups: &'static [&'static str],
    /// Whether the account may be used at all.
    pub active: bool,
    /// What there is to try with this account.
    pub story: &'static str,
}

/// The sample companies. Two have a zone each, on two domains; the third shares the first one's.
pub(crate) const COMPANIES: [Company; 3] = [
    Company {
        slug: "acme",
        name: "Acme Services",
        zone: "desk.acme.localhost",
        domain: "acme.example",
        overrides: SecurityOverrides {
            attempts_max: None,
            password_strong: None,
            totp_period_seconds: None,
            idle_max_seconds: None,
        },
        client: Credentials { client_id: "zonegate-acme", client_secret: "Sample-Secret-of-Acme-06" },
        sso: None,
        suite: Some(InSuite { company: "acme-1", is_used: true }),
    },
    Company {
        slug: "bolt",
        name: "Bolt Logistics",
        zone: "east.bolt.localhost",
        domain: "bolt.example",
        overrides: SecurityOverrides {
            attempts_max: None,
            password_strong: None,
            totp_period_seconds: Some(TotpPeriod::Sixty),
            idle_max_seconds: None,
        },
        client: Credentials { client_id: "zonegate-bolt", client_secret: "Sample-Secret-of-Bolt-28" },
        sso: Some(SingleSignOn { scope: SsoScope::Selected, emergency: None }),
        suite: Some(InSuite { company: "bolt-2", is_used: false }),
    },
    Company {
        slug: "cedar",
        name: "Cedar Clinic",
        zone: "desk.acme.localhost",
        domain: "cedar.example",
        overrides: SecurityOverrides {
            attempts_max: None,
            password_strong: None,
            totp_period_seconds: None,
            idle_max_seconds: None,
        },
        client: Credentials { client_id: "zonegate-cedar", client_secret: "Sample-Secret-of-Cedar-39" },
        sso: Some(SingleSignOn { scope: SsoScope::All, emergency: Some("rita@cedar.example") }),
        suite: None,
    },
];

const SOMEBODY: Person = Person {
    username: "",
    name: "",
    password: None,
    subject: None,
    suite: None,
    totp_secret: None,
    kind: UserKind::Regular,
    level: SecurityLevel::User,
    groups: &["staff"],
    active: true,
    story: "",
};

/// The sample users.
pub(crate) const PEOPLE: [Person; 13] = [
    Person {
        username: "alice@acme.example",
        name: "Alice Archer",
        password: Some("Copper-Kettle-41"),
        subject: Some("acme-1001"),
        totp_secret: Some(*b"zonegate demo: alice"),
        groups: &["staff", "dispatch"],
        suite: Some(AtSuite { subject: "one-1001", modules: &["desk-west", "academy"], is_master: false }),
        story: "logs in with a password and a code, or with AcmeOne",
        ..SOMEBODY
    },
    Person {
        username: "bob@acme.example",
        name: "Bob Baker",
        password: Some("Velvet-Harbour-52"),
        subject: Some("acme-1002"),
        suite: Some(AtSuite { subject: "one-1002", modules: &["desk-west"], is_master: false }),
        story: "sets up an authenticator at the first log-in (QR code)",
        ..SOMEBODY
    },
    Person {
        username: "ada@acme.example",
        name: "Ada Ashworth",
        password: Some("Silver-Lantern-63"),
        subject: Some("acme-1003"),
        totp_secret: Some(*b"zonegate demo:   ada"),
        level: SecurityLevel::Admin,
        groups: &["staff", "admins"],
        suite: Some(AtSuite { subject: "one-1003", modules: &["desk-west", "academy"], is_master: true }),
        story: "administers Acme: single sign-on and AcmeOne at /.zonegate/admin",
        ..SOMEBODY
    },
    Person {
        username: "wall@acme.example",
        name: "Wall Screen",
        password: Some("Granite-Window-74"),
        kind: UserKind::Dashboard,
        groups: &["screens"],
        story: "a dashboard: password only",
        ..SOMEBODY
    },
    Person {
        username: "robot@acme.example",
        name: "Import Robot",
        kind: UserKind::ApiOnly,
        groups: &["robots"],
        story: "a program: cannot log in at the pages",
        ..SOMEBODY
    },
    Person {
        username: "ines@acme.example",
        name: "Ines Ivory",
        password: Some("Maple-Compass-85"),
        active: false,
        story: "left the company: inactive, and nobody is told",
        ..SOMEBODY
    },
    Person {
        username: "carol@bolt.example",
        name: "Carol Castell",
        password: Some("Amber-Ferry-96"),
        totp_secret: Some(*b"zonegate demo: carol"),
        suite: Some(AtSuite { subject: "one-2001", modules: &["desk-east"], is_master: true }),
        story: "of another company and zone; her codes last 60 seconds",
        ..SOMEBODY
    },
    Person {
        username: "dave@bolt.example",
        name: "Dave Dorn",
        password: Some("Cobalt-Meadow-17"),
        story: "sets up an authenticator with codes of 60 seconds",
        ..SOMEBODY
    },
    Person {
        username: "frank@bolt.example",
        name: "Frank Ferris",
        subject: Some("bolt-2001"),
        story: "single sign-on, alone at Bolt: type the username only",
        ..SOMEBODY
    },
    Person {
        username: "nora@cedar.example",
        name: "Nora Nash",
        subject: Some("cedar-3001"),
        groups: &["staff", "dispatch"],
        story: "single sign-on, like everybody at Cedar: type the username only",
        ..SOMEBODY
    },
    Person {
        username: "omar@cedar.example",
        name: "Omar Okoye",
        subject: Some("cedar-3002"),
        story: "single sign-on as well",
        ..SOMEBODY
    },
    Person {
        username: "rita@cedar.example",
        name: "Rita Rowe",
        password: Some("Walnut-Beacon-28"),
        totp_secret: Some(*b"zonegate demo:  rita"),
        level: SecurityLevel::Admin,
        groups: &["staff", "admins"],
        story: "Cedar's emergency administrator: at /.zonegate/login?with=password",
        ..SOMEBODY
    },
    Person {
        username: "kim@cedar.example",
        name: "Kim Keller",
        password: Some("Pewter-Orchard-39"),
        kind: UserKind::CoManaged,
        story: "works for Cedar from outside: keeps a password, at the same address",
        ..SOMEBODY
    },
];

/// Somebody whom Cedar's provider knows and its directory does not: they log in there and get no further.
pub(crate) const STRANGER: Person =
    Person { username: "sam@cedar.example", name: "Sam Sundry", subject: Some("cedar-3003"), ..SOMEBODY };

/// Somebody of Acme whom the suite knows and the directory does not: their first log-in enters them into it (D23).
pub(crate) const NEWCOMER: Person = Person {
    username: "zoe@acme.example",
    name: "Zoe Zander",
    suite: Some(AtSuite { subject: "one-1004", modules: &["desk-west", "academy"], is_master: false }),
    ..SOMEBODY
};

impl Person {
    /// The company the person belongs to, by the username's domain.
    pub(crate) fn company(&self) -> Option<&'static Company> {
        let (_, domain) = self.username.split_once('@')?;
        COMPANIES.iter().find(|company| company.domain == domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Username;

    #[test]
    fn everybody_belongs_to_a_company_and_people_differ() {
        for (place, person) in PEOPLE.iter().enumerate() {
            assert!(person.username.parse::<Username>().is_ok(), "{}", person.username);
            assert!(person.company().is_some(), "{}", person.username);
            let is_elsewhere = person.company().and_then(|of| of.sso).and(person.subject).is_some();
            let without = person.kind == UserKind::ApiOnly || is_elsewhere;
            assert_eq!(person.password.is_none(), without, "{}", person.username);
            let alike = |other: &Person| {
                other.username == person.username
                    || (person.password.is_some() && other.password == person.password)
                    || (person.subject.is_some() && other.subject == person.subject)
                    || person.suite.zip(other.suite).is_some_and(|(one, two)| one.subject == two.subject)
                    || (person.totp_secret.is_some() && other.totp_secret == person.totp_secret)
            };
            assert!(!PEOPLE[place + 1..].iter().any(alike), "{}", person.username);
        }
    }
}
