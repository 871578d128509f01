//! `zonegate policy test`: what the gateway would do with a request, asked of the very code that does it.
//!
//! Ends with 0 when the request would be passed on, with 1 when it would not, and with 2 when the question makes no sense.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use http::Method;
use serde::Serialize;

use super::operator::{Configuration, Site};
use super::{CommandProblem, say};
use crate::base::{FlowId, SessionId, TokenDigest, UnixTime, Username};
use crate::config::Settings;
use crate::directory::{Lifetimes, Methods, methods};
use crate::edge::{find_host, hygiene};
use crate::gate::{Asked, Bearer, Client, Decision, Facts, Forbidden, Presented, StoreHealth, Way, decide};
use crate::session::{Class, Device, Factors, Principal, Session, SessionRecord};
use crate::store::Account;
use crate::zone::{HostMatch, Rule};

/// `zonegate policy …`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    configuration: Configuration,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Say what happens to one request
    Test(Question),
}

#[derive(Clone, Debug, clap::Args)]
struct Question {
    /// The host, without a port
    #[arg(long)]
    host: String,
    /// The path as a browser sends it; rules never see a query
    #[arg(long)]
    path: String,
    /// The method
    #[arg(long, default_value = "GET")]
    method: Method,
    /// Who asks, with a session that begins now; without it, somebody who is not logged in
    #[arg(long, value_name = "USERNAME")]
    user: Option<Username>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandProblem> {
    let Action::Test(question) = &arguments.action;
    let answer = match &question.user {
        // Nothing in the store could make a difference.
        None => answer(question, &arguments.configuration.load()?, None, UnixTime::from_seconds(0)),
        Some(user) => arguments.configuration.with_store(async |site| {
            let account = account(&site, user).await?;
            Ok(answer(question, &site.settings, Some(&account), site.now))
        })?,
    };
    let told = if question.json {
        // Text and numbers of our own; that they can be written as JSON is what the type says.
        say(serde_json::to_string_pretty(&answer).map_err(std::io::Error::from)?)
    } else {
        say(spell(&answer, &arguments.configuration.name()))
    };
    // A no is a no, whoever reads along.
    if answer.decision == "forward" { told } else { Err(CommandProblem::No) }
}

async fn account(site: &Site, user: &Username) -> Result<Account, CommandProblem> {
    let account = site.store.account(user).await?;
    account.ok_or_else(|| CommandProblem::Input(format!("there is no user {user}: see `zonegate user list`")))
}

/// What happens, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Answer {
    host: String,
    method: String,
    path: String,
    /// `forward`, `portal`, `challenge`, `canonical` or `refused`, as in the access log.
    decision: &'static str,
    /// As in the access log, where it is not passed on.
    reason: Option<&'static str>,
    /// The status that a program gets, where the gateway answers by itself and no page.
    status: Option<u16>,
    /// Whose request the application takes it for.
    forwarded_as: Option<String>,
    rule: Option<RuleView>,
    /// Whether the zone has no connection from who shows no client certificate.
    client_certificate: bool,
    user: Option<UserView>,
}

#[derive(Debug, Serialize)]
struct RuleView {
    name: String,
    /// In the configuration file; 0 when the environment gave it.
    line: u64,
}

/// What was used of the user.
#[derive(Debug, Serialize)]
struct UserView {
    username: String,
    zone: String,
    active: bool,
    /// Whether it is somebody who has sessions.
    logs_in: bool,
    groups: Vec<String>,
    kind: &'static str,
}

fn answer(question: &Question, settings: &Settings, account: Option<&Account>, now: UnixTime) -> Answer {
    let Question { host, path, method, .. } = question;
    let user = account.map(|account @ Account { user, tenant, .. }| UserView {
        username: user.username.to_string(),
        zone: tenant.zone.to_string(),
        active: user.active,
        logs_in: logs_in(account),
        groups: user.groups.clone(),
        kind: user.kind.name(),
    });
    let said = Answer {
        host: host.clone(),
        method: method.to_string(),
        path: path.clone(),
        decision: "refused",
        reason: None,
        status: None,
        forwarded_as: None,
        rule: None,
        client_certificate: false,
        user,
    };
    let target = path.as_bytes();
    if let Err(refused) = hygiene::check_target(method, target) {
        return Answer { reason: Some(refused.reason.name()), status: Some(refused.status.as_u16()), ..said };
    }
    let found = find_host(&settings.zones, host);
    let client_certificate = match found {
        HostMatch::Zone(zone) | HostMatch::Alias(zone) => {
            zone.client_certificates.as_ref().is_some_and(|asked| asked.required)
        }
        HostMatch::Universal | HostMatch::Unknown => false,
    };
    let said = Answer { client_certificate, ..said };
    let asked = Asked::new(found, hygiene::place(target), method, target);
    let session = account.filter(|account| logs_in(account)).map(|account| Arc::new(session(account, now)));
    // A zone that only proxies in front ask about is judged as they would be told.
    let facts = Facts {
        asked,
        way: if asked.is_for_askers_only() { Way::Asked } else { Way::Through },
        client: Client::Program,
        presented: session.as_ref().map_or(Presented::Nothing, Presented::Session),
        store: StoreHealth::Current,
    };
    let view = |rule: &Rule| RuleView { name: rule.name.to_string(), line: rule.line };
    let said = Answer { rule: asked.rule().map(view), ..said };
    match decide(&facts, now) {
        Decision::Forward(grant) if !grant.zone().passes(method) => {
            Answer { reason: Some("method"), status: Some(501), ..said }
        }
        Decision::Forward(grant) => {
            let forwarded_as = match grant.bearer() {
                Bearer::Nobody => None,
                Bearer::Person(session) => Some(session.principal.username().to_owned()),
            };
            Answer { decision: "forward", forwarded_as, ..said }
        }
        Decision::Portal(_) | Decision::Universal => Answer { decision: "portal", ..said },
        Decision::Challenge(challenge) => {
            Answer { decision: "challenge", reason: Some(challenge.reason.name()), status: Some(401), ..said }
        }
        Decision::Canonical(_) => Answer { decision: "canonical", status: Some(308), ..said },
        Decision::Forbid(forbidden) => {
            let rule = Some(view(forbidden.rule));
            Answer { rule, reason: Some(Forbidden::REASON), status: Some(403), ..said }
        }
        Decision::Refuse(refusal) => {
            Answer { reason: Some(refusal.name()), status: Some(refusal.status().as_u16()), ..said }
        }
    }
}

/// Whether the user can have a session.
fn logs_in(Account { user, tenant, .. }: &Account) -> bool {
    user.active && methods(tenant, user) != Methods::Api
}

/// The session that the user would have after a log-in now. It is nowhere but here, and no cookie opens it.
fn session(account: &Account, now: UnixTime) -> Session {
    let Account { user, tenant, .. } = account;
    let record = SessionRecord {
        id: SessionId::from_bytes([0; 16]),
        token: TokenDigest::of(b""),
        flow: FlowId::from_bytes([0; 16]),
        user: user.id,
        tenant: tenant.id,
        zone: tenant.zone.clone(),
        epoch: user.epoch,
        class: Class::Web,
        method: crate::session::Method::Local,
        factors: Factors::default(),
        authenticated_at: Some(now),
        started_at: now,
        last_seen: now,
        lifetimes: Lifetimes::default(),
        device: Device::default(),
    };
    let principal = Principal::of(user, tenant);
    Session::new(&record, &principal, Arc::new(AtomicU64::new(user.epoch)))
}

fn spell(answer: &Answer, file: &str) -> String {
    let Answer { host, method, path, decision, reason, status, forwarded_as, rule, client_certificate, user } =
        answer;
    let code = status.map(|status| format!("{status}")).unwrap_or_default();
    let reason = reason.unwrap_or_default();
    let what = match (*decision, forwarded_as) {
        ("forward", Some(username)) => format!("passed on, as {username}"),
        ("forward", None) => "passed on, as nobody's".to_owned(),
        ("portal", _) => "answered by a page of zonegate's own".to_owned(),
        ("canonical", _) => format!("redirected to the zone's own host ({code})"),
        ("challenge", _) => format!("not passed on: a log-in is needed ({code} {reason})"),
        (_, _) => format!("not passed on ({code} {reason})"),
    };
    let mut lines = vec![format!("{method} https://{host}{path} is {what}.")];
    lines.push(match rule {
        Some(RuleView { name, line: 0 }) => format!("By the rule {name}."),
        Some(RuleView { name, line }) => format!("By the rule {name} ({file}:{line})."),
        None => "By no rule.".to_owned(),
    });
    if *client_certificate {
        lines.push("The zone's connections need a client certificate.".to_owned());
    }
    if let Some(UserView { username, zone, active, logs_in, groups, kind }) = user {
        let groups = if groups.is_empty() { "none".to_owned() } else { groups.join(", ") };
        lines.push(format!("{username}: zone {zone}, kind {kind}, groups {groups}."));
        if !active {
            lines.push(format!("{username} is deactivated and cannot log in."));
        } else if !logs_in {
            lines.push(format!("{username} cannot log in yet: API credentials are not there yet."));
        }
        lines.push("A session keeps the kind and groups that it began with.".to_owned());
    }
    lines.join("\n")
}
