//! Acme Desk's pages: server-rendered, in the look of an application that somebody uses all day.
//!
//! The frame is one template and each page's content another; whatever came with a request is escaped by them.

use askama::Template;
use serde_json::Value;

use super::{Received, Verdict};

/// The frame of every page.
#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ title }} · Acme Desk</title>
<link rel="stylesheet" href="/desk.css">
<script src="/desk.js" defer></script>
{% if known %}<script src="/.zonegate/assets/menu.js" defer></script>
{% endif %}</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header class="bar">
<a class="mark" href="/"><svg viewBox="0 0 24 24" width="26" height="26" aria-hidden="true"><rect x="2" y="4" width="20" height="13" rx="3.5" fill="currentColor" opacity=".28"/><path d="M6 9.2h12M6 12.6h7" stroke="currentColor" stroke-width="2" stroke-linecap="round"/><path d="M9 17l-2.5 4M15 17l2.5 4" stroke="currentColor" stroke-width="2" stroke-linecap="round"/></svg><span>Acme Desk</span></a>
<nav aria-label="Main">
{% for (href, name) in links %}<a href="{{ href }}"{% if *name == active %} aria-current="page"{% endif %}>{{ name }}</a>
{% endfor %}</nav>
{% if known %}<zonegate-menu><noscript><a href="/.zonegate/account">My settings</a></noscript></zonegate-menu>{% endif %}
</header>
<main id="main">
{{ content|safe }}
</main>
<footer><p>A sample application. It keeps nothing, and it never sees a password.</p></footer>
</body>
</html>
"##
)]
struct Frame<'a> {
    title: &'a str,
    active: &'a str,
    links: &'a [(&'a str, &'a str)],
    known: bool,
    content: String,
}

const LINKS: [(&str, &str); 4] =
    [("/", "Home"), ("/tickets", "Tickets"), ("/live", "Live"), ("/status", "Status")];

/// Puts content into the frame. `content` is markup that a template of this file rendered.
fn framed(received: &Received, title: &str, active: &str, content: Result<String, askama::Error>) -> String {
    // Who it is, the gateway's menu says itself. For a stranger, and past the gateway, there is none.
    let known = received.assertion.claim("username").is_some();
    let frame = content.and_then(|content| Frame { title, active, links: &LINKS, known, content }.render());
    // Rendering into a string fails only when a value's own Display does; ours are texts and numbers.
    frame.unwrap_or_else(|_| "This page could not be rendered.".into())
}

/// The person's name as the verified assertion has it.
fn name(verdict: &Verdict) -> String {
    let username = verdict.claim("username").unwrap_or_default();
    let local = username.split('@').next().unwrap_or_default();
    verdict.claim("name").map_or_else(|| capitalised(local), str::to_owned)
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// The start page: who is asking, and the request as it arrived.
#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<section class="hero">
<p class="zone" id="zone">{{ zone }}</p>
<h1>Hello, {{ name }}</h1>
{% if verdict.verified %}<p class="badge good" id="verdict"><svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true"><path d="M10 1.5l7 2.6v5.3c0 4.3-2.9 7.6-7 9.1-4.1-1.5-7-4.8-7-9.1V4.1z" fill="currentColor" opacity=".22"/><path d="M6.4 10.2l2.5 2.5 4.8-5.2" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></svg>Identity verified with the zone’s published keys</p>
{% else %}<p class="badge bad" id="verdict">Identity not verified: {{ problem }}</p>{% endif %}
<p class="lead">This application has no log-in of its own. The gateway in front of it let this request through and said who is asking; below is everything that arrived.</p>
</section>
<div class="columns">
<section class="card" aria-labelledby="claims-title">
<h2 id="claims-title">Who is asking</h2>
<p class="note">Claims of the signed assertion. The application checked the signature, the issuer, the audience and the time.</p>
<dl id="claims">
{% for (name, value, meaning) in claims %}<div><dt><code>{{ name }}</code><span>{{ meaning }}</span></dt><dd>{{ value }}</dd></div>
{% endfor %}</dl>
</section>
<section class="card" aria-labelledby="request-title">
<h2 id="request-title">The request as it arrived</h2>
<p class="note"><code>{{ received.method }} {{ received.path }}</code>, {{ received.headers.len() }} headers. Those marked <span class="tag">gateway</span> were set by the gateway; a client’s own of that name never get this far.</p>
<table id="headers">
<thead><tr><th scope="col">Header</th><th scope="col">Value</th></tr></thead>
<tbody>
{% for (name, value, ours) in headers %}<tr{% if *ours %} class="ours"{% endif %}><th scope="row">{{ name }}{% if *ours %} <span class="tag">gateway</span>{% endif %}</th><td>{{ value }}</td></tr>
{% endfor %}</tbody>
</table>
<h2 class="second">Signed with</h2>
<p class="note">The assertion’s own header. The key of that name is published at <code>/.well-known/zonegate/jwks.json</code> of the zone.</p>
<pre id="jws-header">{{ header }}</pre>
</section>
</div>"##
)]
struct Home<'a> {
    received: &'a Received,
    verdict: &'a Verdict,
    problem: &'a str,
    name: &'a str,
    zone: &'a str,
    claims: Vec<(String, String, &'static str)>,
    headers: Vec<(&'a str, &'a str, bool)>,
    header: String,
}

/// The start page.
pub(super) fn home(received: &Received) -> String {
    let verdict = &received.assertion;
    let name = name(verdict);
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
    let content = Home {
        received,
        verdict,
        problem: verdict.problem.as_deref().unwrap_or("no reason was given"),
        name: if verdict.verified { &name } else { "stranger" },
        zone: verdict.claim("zone").unwrap_or("unknown zone"),
        claims: claims(verdict),
        headers: received.headers.iter().map(|(name, value)| (&**name, &**value, is_ours(name))).collect(),
        header: verdict.header.as_ref().map_or_else(|| "none".into(), pretty),
    };
    framed(received, "Home", "Home", content.render())
}

/// Whether a header of this name comes from the gateway: it drops what a client sends under these names.
fn is_ours(name: &str) -> bool {
    ["x-zonegate-", "x-forwarded-", "remote-"].iter().any(|prefix| name.starts_with(prefix))
        || name == "x-request-id"
}

/// The claims with what each means: first what a person looks for, then what only the check needs.
fn claims(verdict: &Verdict) -> Vec<(String, String, &'static str)> {
    let Some(Value::Object(claims)) = &verdict.claims else { return Vec::new() };
    let place = |name: &str| MEANINGS.iter().position(|(known, _)| *known == name).unwrap_or(MEANINGS.len());
    let mut shown: Vec<_> = claims
        .iter()
        .map(|(name, value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) if is_time(name) => clock(number.as_i64()),
                Value::Array(items) if items.is_empty() => "none".into(),
                Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
            };
            let meaning = MEANINGS.get(place(name)).map_or("", |(_, meaning)| meaning);
            (name.clone(), text, meaning)
        })
        .collect();
    shown.sort_by_key(|(name, _, _)| place(name));
    shown
}

fn is_time(claim: &str) -> bool {
    matches!(claim, "iat" | "exp" | "nbf" | "auth_time")
}

fn clock(seconds: Option<i64>) -> String {
    let stamp = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    stamp.map_or_else(|| "?".into(), |stamp| stamp.to_string())
}

/// What each claim means, in the order in which they are shown.
const MEANINGS: [(&str, &str); 18] = [
    ("name", "the name people say"),
    ("username", "the name that was typed"),
    ("email", "primary e-mail address"),
    ("tenant", "the customer company"),
    ("groups", "what they belong to"),
    ("kind", "sort of account"),
    ("zone", "the hosted instance"),
    ("method", "how the person logged in"),
    ("amr", "what was proved (RFC 8176)"),
    ("auth_time", "when it was proved"),
    ("exp", "valid until"),
    ("iat", "issued at"),
    ("iss", "issued by"),
    ("aud", "meant for"),
    ("sub", "the user’s stable id"),
    ("sid", "the session’s id"),
    ("jti", "the assertion’s own id"),
    ("nbf", "valid from"),
];

/// A sample ticket: number, title, state, who waits, age.
type Ticket = (&'static str, &'static str, &'static str, &'static str, &'static str);

const TICKETS: [Ticket; 6] = [
    ("T-1042", "Printer on floor 3 prints only the first page", "open", "Northwind Bakery", "12 min"),
    ("T-1041", "New starter needs a laptop by Monday", "waiting", "Harbour Clinic", "48 min"),
    ("T-1039", "Backup report says 0 bytes since Tuesday", "open", "Northwind Bakery", "2 h"),
    ("T-1036", "Conference room screen shows last week’s agenda", "open", "Blue Ridge Law", "5 h"),
    ("T-1031", "Mail to one supplier bounces", "waiting", "Harbour Clinic", "1 d"),
    ("T-1024", "Move phone extensions to the new office", "done", "Blue Ridge Law", "3 d"),
];

/// The list of sample tickets.
#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<h1>Tickets</h1>
{% if let Some(note) = note %}<p class="badge good" role="status" id="note-received">Received: {{ note }}</p>{% endif %}
<section class="card">
<table class="list">
<thead><tr><th scope="col">Number</th><th scope="col">Title</th><th scope="col">Customer</th><th scope="col">State</th><th scope="col">Age</th></tr></thead>
<tbody>
{% for (number, title, state, customer, age) in tickets %}<tr><td><a href="/tickets/{{ number }}">{{ number }}</a></td><td>{{ title }}</td><td>{{ customer }}</td><td><span class="state {{ state }}">{{ state }}</span></td><td>{{ age }}</td></tr>
{% endfor %}</tbody>
</table>
</section>
<section class="card" aria-labelledby="note-title">
<h2 id="note-title">Leave a note</h2>
<p class="note">A plain form post through the gateway. The text is shown again and kept nowhere.</p>
<form class="row" method="post" action="/tickets"><label for="note">Note</label><input id="note" name="note" autocomplete="off" required maxlength="200"><button type="submit" id="send-note">Send</button></form>
</section>"##
)]
struct Tickets<'a> {
    tickets: &'a [Ticket],
    note: Option<&'a str>,
}

/// The list, with the note that was just sent.
pub(super) fn tickets(received: &Received, note: Option<&str>) -> String {
    framed(received, "Tickets", "Tickets", Tickets { tickets: &TICKETS, note }.render())
}

/// One ticket.
#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<p class="zone"><a href="/tickets">Tickets</a></p>
<h1>{{ title }}</h1>
<section class="card">
<dl>
<div><dt>Number</dt><dd>{{ number }}</dd></div>
<div><dt>Customer</dt><dd>{{ customer }}</dd></div>
<div><dt>State</dt><dd><span class="state {{ state }}">{{ state }}</span></dd></div>
<div><dt>Age</dt><dd>{{ age }}</dd></div>
<div><dt>You asked for</dt><dd><code id="address">{{ path }}</code></dd></div>
</dl>
</section>"##
)]
struct TicketPage<'a> {
    number: &'a str,
    title: &'a str,
    state: &'a str,
    customer: &'a str,
    age: &'a str,
    path: &'a str,
}

/// The ticket of this number (`T-1042` or `1042`), if there is one.
pub(super) fn ticket(received: &Received, number: &str) -> Option<String> {
    let same = |ticket: &&Ticket| ticket.0 == number || ticket.0.strip_prefix("T-") == Some(number);
    let (number, title, state, customer, age) = *TICKETS.iter().find(same)?;
    let content = TicketPage { number, title, state, customer, age, path: &received.path };
    Some(framed(received, number, "Tickets", content.render()))
}

/// An event stream and a WebSocket, to see them work and to see them end with the session.
#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<h1>Live</h1>
<div class="columns">
<section class="card" aria-labelledby="events-title">
<h2 id="events-title">Event stream</h2>
<p class="note">One event a second from <code>/events</code>, until the session ends.</p>
<p class="big"><span id="tick">…</span></p>
<p><span class="state" id="events-state">connecting</span></p>
</section>
<section class="card" aria-labelledby="socket-title">
<h2 id="socket-title">WebSocket</h2>
<p class="note">What is sent to <code>/socket</code> comes back.</p>
<form class="row" id="socket-form"><label for="message">Message</label><input id="message" autocomplete="off"><button type="submit">Send</button></form>
<p><span class="state" id="socket-state">connecting</span> <span id="socket-answer"></span></p>
</section>
</div>"##
)]
struct Live;

/// The page of open connections.
pub(super) fn live(received: &Received) -> String {
    framed(received, "Live", "Live", Live.render())
}

/// The application's own state.
#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<h1>Status</h1>
<section class="card"><dl>
<div><dt>Application</dt><dd><span class="state done">up</span></dd></div>
<div><dt>Answers as</dt><dd>{{ host }}</dd></div>
</dl></section>"##
)]
struct Status<'a> {
    host: &'a str,
}

/// The status page.
pub(super) fn status(received: &Received) -> String {
    let host = received.headers.iter().find(|(name, _)| name == "host").map_or("", |(_, value)| value);
    framed(received, "Status", "Status", Status { host }.render())
}

/// What the log-in pages link to as the privacy policy.
#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<h1>Privacy policy</h1>
<p class="lead">Acme Desk is a sample. It keeps nothing of what you do here, sets no cookie, and loads nothing from anywhere else.</p>
<p>The gateway in front of it keeps your username, a hash of your password, your authenticator’s secret under seal, and a list of your log-ins, in a folder on this computer that you can delete.</p>"##
)]
struct Privacy;

/// The privacy policy.
pub(super) fn privacy(received: &Received) -> String {
    framed(received, "Privacy policy", "", Privacy.render())
}

/// For addresses that lead nowhere.
#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<h1>Nothing here</h1>
<p class="lead">Acme Desk has no page at <code id="address">{{ path }}</code>. The gateway passed the request on; the answer is the application’s.</p>
<p><a href="/">Home</a></p>"##
)]
struct NothingHere<'a> {
    path: &'a str,
}

/// The application's own "not found".
pub(super) fn nothing_here(received: &Received) -> String {
    framed(received, "Nothing here", "", NothingHere { path: &received.path }.render())
}
