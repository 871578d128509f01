//! What the demo says once it listens: a page of text for a person, or one JSON object for a script.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::people::Credentials;

/// Everything a person or a script needs to use the demo.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Announcement {
    /// The zones, in the order of the hosting page.
    pub zones: Vec<ZoneAddress>,
    /// The universal log-in address.
    pub universal: String,
    /// The authority that certifies all of them, in PEM.
    pub ca_file: String,
    /// The sample application itself, without the gateway.
    pub upstream: String,
    /// The admin listener.
    pub admin: String,
    /// The sample users.
    pub users: Vec<SampleUser>,
    /// The sample identity provider.
    pub provider: String,
    /// The sample suite.
    pub suite: Option<SuiteAddress>,
    /// Where the data is kept.
    pub data: String,
    /// Where the log is; for the text only, which leaves standard error to what is wrong.
    #[serde(skip)]
    pub log: String,
    /// How the sample identity provider knows a company that does not log in there yet; for the text only.
    #[serde(skip)]
    pub client: Option<Credentials>,
    /// The command that shows a code, up to the username; for the text only.
    #[serde(skip)]
    pub example: String,
    /// Whether the data was made at this start; for the text only.
    #[serde(skip)]
    pub fresh: bool,
}

/// A zone's address.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ZoneAddress {
    /// The bare hostname.
    pub host: String,
    /// The address to open, with the port.
    pub url: String,
    /// Its name, and whose it is; for the text only.
    #[serde(skip)]
    pub story: String,
}

/// The sample suite.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SuiteAddress {
    /// What people know it by.
    pub name: String,
    /// The address to open.
    pub url: String,
}

/// A sample user, with everything that is needed to log in.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SampleUser {
    /// `username@domain`.
    pub username: String,
    /// `null` for a program, and for whoever logs in at the identity provider.
    pub password: Option<String>,
    /// The address of the user's zone.
    pub zone: String,
    /// The authenticator's secret in base32; `null` while none is set up.
    pub totp_secret: Option<String>,
    /// The tenant's short name.
    pub tenant: String,
    /// Where single sign-on begins, for those who log in so: what an intranet's tile would lead to. Absent for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sso: Option<String>,
    /// The name people say; for the text only.
    #[serde(skip)]
    pub story: &'static str,
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.lay_out(&mut out)?;
        f.write_str(&out)
    }
}

impl Announcement {
    fn lay_out(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "\n  zonegate demo is running. Ctrl-C ends all of it.\n")?;
        writeln!(out, "  Open one of these; the certificates are the demo's own, so the browser asks once.\n")?;
        for zone in &self.zones {
            writeln!(out, "    {:<44} {}", zone.url, zone.story)?;
        }
        writeln!(out, "    {:<44} for those who forgot their zone\n", self.universal)?;
        writeln!(out, "  Log in as\n")?;
        let wide = self.users.iter().map(|user| user.username.len()).max().unwrap_or_default();
        for user in &self.users {
            let password = user.password.as_deref().unwrap_or("-");
            writeln!(out, "    {:<wide$}  {password:<18}  {}", user.username, user.story)?;
        }
        let enrolled = self.users.iter().find(|user| user.totp_secret.is_some());
        let example = enrolled.map_or("alice@acme.example", |user| &user.username);
        writeln!(out, "\n  The current code of an authenticator that is set up:\n")?;
        writeln!(out, "    {} {example}\n", self.example)?;
        if let Some(SuiteAddress { name, url }) = &self.suite {
            writeln!(out, "  One log-in for several products: give {example} and choose \"Log in with {name}\",")?;
            writeln!(out, "  or begin at {url} and open a tile there.\n")?;
        }
        writeln!(out, "  To look behind it\n")?;
        let age = if self.fresh { "made just now" } else { "as it was left" };
        let rows = [
            ("sample application, not guarded", self.upstream.clone()),
            ("sample identity provider, suite", format!("{} (believe anybody)", self.provider)),
            (
                "a client there to set up",
                self.client.map_or_else(
                    || "-".into(),
                    |client| format!("{}, {}, ES256", client.client_id, client.client_secret),
                ),
            ),
            ("metrics; health: livez, readyz", format!("{}metrics", self.admin)),
            ("certificate authority", self.ca_file.clone()),
            ("data", format!("{} ({age})", self.data)),
            ("log", self.log.clone()),
        ];
        for (what, place) in rows {
            writeln!(out, "    {what:<32} {place}")?;
        }
        writeln!(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement() -> Announcement {
        Announcement {
            zones: vec![ZoneAddress {
                host: "desk.acme.localhost".into(),
                url: "https://desk.acme.localhost:8443/".into(),
                story: "West".into(),
            }],
            universal: "https://login.localhost:8443/".into(),
            ca_file: "/d/ca.pem".into(),
            upstream: "http://127.0.0.1:4000/".into(),
            admin: "http://127.0.0.1:9443/".into(),
            users: vec![SampleUser {
                username: "alice@acme.example".into(),
                password: Some("Copper-Kettle-41".into()),
                zone: "https://desk.acme.localhost:8443/".into(),
                totp_secret: None,
                tenant: "acme".into(),
                sso: None,
                story: "logs in",
            }],
            provider: "https://id.localhost:8444/".into(),
            suite: Some(SuiteAddress { name: "AcmeOne".into(), url: "https://id.localhost:8444/one".into() }),
            data: "/d".into(),
            log: "/d/demo.log".into(),
            client: Some(Credentials { client_id: "zonegate-acme", client_secret: "secret-of-acme" }),
            example: "zonegate demo code".into(),
            fresh: true,
        }
    }

    #[test]
    fn the_object_for_scripts_has_the_documented_members_and_no_others() {
        let value = serde_json::to_value(announcement()).unwrap();
        let keys = |value: &serde_json::Value| {
            let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        assert_eq!(
            keys(&value),
            ["admin", "ca_file", "data", "provider", "suite", "universal", "upstream", "users", "zones"]
        );
        assert_eq!(keys(&value["zones"][0]), ["host", "url"]);
        assert_eq!(keys(&value["users"][0]), ["password", "tenant", "totp_secret", "username", "zone"]);
        assert!(value["users"][0]["totp_secret"].is_null());
        let mut with_provider = announcement();
        for user in &mut with_provider.users {
            user.sso = Some("https://desk.acme.localhost:8443/.zonegate/sso/acme".into());
        }
        let value = serde_json::to_value(with_provider).unwrap();
        assert_eq!(keys(&value["users"][0]), ["password", "sso", "tenant", "totp_secret", "username", "zone"]);
    }

    #[test]
    fn the_text_names_every_address_and_user() {
        let text = announcement().to_string();
        for part in ["https://desk.acme.localhost:8443/", "https://login.localhost:8443/", "alice@acme.example"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(text.contains("Log in with AcmeOne") && text.contains("https://id.localhost:8444/one"), "{text}");
        assert!(text.contains("Copper-Kettle-41") && text.contains("zonegate demo code"), "{text}");
        assert!(text.contains("zonegate-acme, secret-of-acme") && text.contains("/d/demo.log"), "{text}");
    }
}
