//! The sample provider's pages. Their frame says on every one of them what this is and whom it believes.

use askama::Template;

use super::Client;
use crate::cli::demo::people::Person;

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
<title>{{ title }} · Sample identity provider</title>
<link rel="stylesheet" href="/provider.css">
</head>
<body>
<header><p id="sample"><strong>Sample identity provider.</strong> Part of <code>zonegate demo</code>: it asks for no password and believes anybody.</p></header>
<main id="main">
{{ content|safe }}
</main>
</body>
</html>
"##
)]
struct Frame<'a> {
    title: &'a str,
    content: String,
}

/// Puts content into the frame. `content` is markup that a template of this file rendered.
fn framed(title: &str, content: &impl Template) -> String {
    let frame = content.render().and_then(|content| Frame { title, content }.render());
    // Rendering into a string fails only when a value's own Display does; ours are texts.
    frame.unwrap_or_else(|_| "This page could not be rendered.".into())
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<h1>Who are you?</h1>
<p>{{ company }} sends you here to log in.</p>
<form method="post" action="/authorize?{{ query }}" id="people">
{% for (person, subject, hinted) in people %}<button name="person" value="{{ subject }}"{% if *hinted %} class="hinted" autofocus{% endif %}><strong>{{ person.name }}</strong><span>{{ person.username }}</span></button>
{% endfor %}<button name="person" value="" id="cancel">Cancel</button>
</form>"##
)]
struct Pick<'a> {
    company: &'a str,
    query: &'a str,
    people: Vec<(&'static Person, &'static str, bool)>,
}

/// The people of a client's company to pick from. `query`: the client's request, which the answer belongs to.
pub(super) fn pick(client: &Client, query: &str, hint: Option<&str>) -> String {
    let row = |person: &'static Person| Some((person, person.subject?, hint == Some(person.username)));
    let people = client.people().filter_map(row).collect();
    framed("Log in", &Pick { company: client.company.name, query, people })
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r##"{% if let Some(person) = person %}<h1>Hello, {{ person.name }}</h1>
<p>You are logged in here as {{ person.username }}.</p>
<form method="post" action="/logout"><button id="log-out">Log out, here and in every application</button></form>
{% else %}<h1>Nobody is logged in here</h1>
<p>An application sends people here when it wants to know who they are.</p>
{% endif %}<h2>Applications</h2>
<ul id="tiles">
{% for (name, address) in tiles %}<li><a href="{{ address }}">{{ name }}</a></li>
{% endfor %}</ul>"##
)]
struct Home<'a> {
    person: Option<&'a Person>,
    tiles: Vec<(&'a str, String)>,
}

/// Who is logged in, and what can be opened.
pub(super) fn home(person: Option<&Person>, clients: &[Client], issuer: &str) -> String {
    let issuer: String = url::form_urlencoded::byte_serialize(issuer.as_bytes()).collect();
    let tile = |client: &'_ Client| format!("{}?iss={issuer}", client.address("initiate"));
    let tiles = clients.iter().map(|client| (client.company.name, tile(client))).collect();
    framed("Home", &Home { person, tiles })
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<h1>{{ heading }}</h1>
<p>{{ text }}</p>
<p><a href="/">To the start page</a></p>"##
)]
struct Notice<'a> {
    heading: &'a str,
    text: &'a str,
}

pub(super) fn logged_out() -> String {
    let text = "Every application that this log-in opened was told.";
    framed("Logged out", &Notice { heading: "You are logged out", text })
}

pub(super) fn refused(why: &str) -> String {
    framed("Refused", &Notice { heading: "This request is not answered", text: why })
}
