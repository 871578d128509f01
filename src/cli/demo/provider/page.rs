//! The sample provider's pages. Their frame says on every one of them what this is and whom it believes.

use askama::Template;

use super::face::{Client, Face, Known};

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
<title>{{ title }} · {{ face.name }}</title>
<link rel="stylesheet" href="/provider.css">
</head>
<body>
<header><p id="sample"><strong>{{ face.name }}.</strong> Part of <code>zonegate demo</code>: it asks for no password and believes anybody.</p></header>
<main id="main">
{{ content|safe }}
</main>
</body>
</html>
"##
)]
struct Frame<'a> {
    face: &'a Face,
    title: &'a str,
    content: String,
}

/// Puts content into the frame. `content` is markup that a template of this file rendered.
fn framed(face: &Face, title: &str, content: &impl Template) -> String {
    let frame = content.render().and_then(|content| Frame { face, title, content }.render());
    // Rendering into a string fails only when a value's own Display does; ours are texts.
    frame.unwrap_or_else(|_| "This page could not be rendered.".into())
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<h1>Who are you?</h1>
<p>{{ company }} sends you here to log in.</p>
<form method="post" action="{{ face.path }}/authorize?{{ query }}" id="people">
{% for (known, hinted) in people %}<button name="person" value="{{ known.subject }}"{% if *hinted %} class="hinted" autofocus{% endif %}><strong>{{ known.person.name }}</strong><span>{{ known.person.username }}</span></button>
{% endfor %}<button name="person" value="" id="cancel">Cancel</button>
</form>"##
)]
struct Pick<'a> {
    face: &'a Face,
    company: &'a str,
    query: &'a str,
    people: Vec<(&'a Known, bool)>,
}

/// The people whom a client may be told of, to pick from. `query`: the client's request, which the answer belongs to.
pub(super) fn pick(face: &Face, client: &Client, query: &str, hint: Option<&str>) -> String {
    let people = client.people.iter().map(|known| (known, hint == Some(known.person.username))).collect();
    framed(face, "Log in", &Pick { face, company: &client.name, query, people })
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r##"{% if let Some(known) = known %}<h1>Hello, {{ known.person.name }}</h1>
<p>You are logged in here as {{ known.person.username }}.</p>
<form method="post" action="{{ face.path }}/logout"><button id="log-out">Log out, here and in every application</button></form>
{% else %}<h1>Nobody is logged in here</h1>
<p>An application sends people here when it wants to know who they are.</p>
{% endif %}<h2>Applications</h2>
<ul id="tiles">
{% for (name, address) in tiles %}<li><a href="{{ address }}">{{ name }}</a></li>
{% endfor %}</ul>"##
)]
struct Home<'a> {
    face: &'a Face,
    known: Option<&'a Known>,
    tiles: Vec<(&'a str, String)>,
}

/// Who is logged in, and what can be opened.
pub(super) fn home(face: &Face, known: Option<&Known>, clients: &[Client], issuer: &str) -> String {
    let issuer: String = url::form_urlencoded::byte_serialize(issuer.as_bytes()).collect();
    let tile = |client: &'_ Client| format!("{}?iss={issuer}", client.address("initiate"));
    let academy = face.academy.map(|name| (name, format!("{}/academy", face.path)));
    let tiles = clients.iter().map(|client| (client.name.as_str(), tile(client))).chain(academy).collect();
    framed(face, "Home", &Home { face, known, tiles })
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<h1>{{ name }}</h1>
{% if let Some(known) = known %}<p id="student">You are {{ known.person.name }}: this module of the suite asked the suite, and you typed nothing.</p>
{% else %}<p id="student">The suite knows nobody in this browser, so neither does this module of it.</p>
{% endif %}<p><a href="{{ face.home() }}">To the start page</a></p>"##
)]
struct Academy<'a> {
    face: &'a Face,
    name: &'a str,
    known: Option<&'a Known>,
}

/// The suite's own module.
pub(super) fn academy(face: &Face, known: Option<&Known>) -> String {
    let name = face.academy.unwrap_or(face.name);
    framed(face, name, &Academy { face, name, known })
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<h1>{{ heading }}</h1>
<p>{{ text }}</p>
<p><a href="{{ face.home() }}">To the start page</a></p>"##
)]
struct Notice<'a> {
    face: &'a Face,
    heading: &'a str,
    text: &'a str,
}

pub(super) fn logged_out(face: &Face) -> String {
    let text = "Every application that this log-in opened was told.";
    framed(face, "Logged out", &Notice { face, heading: "You are logged out", text })
}

pub(super) fn refused(face: &Face, why: &str) -> String {
    framed(face, "Refused", &Notice { face, heading: "This request is not answered", text: why })
}
