//! Every text of the pages, by id, in every language. `{product}` and the like are filled in when a page is made.
//!
//! Ids are stable: operators word texts differently by id (`brand.texts`), and tests address elements by theirs, so
//! a button's label may change (trap 40). Messages carry the number they have in the requirements.

use crate::zone::Language;

/// One text: id, English, German.
type Entry = (&'static str, &'static str, &'static str);

#[rustfmt::skip]
const TEXTS: &[Entry] = &[
    ("account.address", "Address", "Adresse"),
    ("account.authenticator", "Authenticator app", "Authenticator-App"),
    ("account.authenticator.help", "New phone? Set up your authenticator again. The current one works until the new one is confirmed.", "Neues Telefon? Richten Sie Ihre Authenticator-App neu ein. Die bisherige gilt, bis die neue bestätigt ist."),
    ("account.authenticator.none", "No authenticator is set up. You set one up when you log in next.", "Es ist keine Authenticator-App eingerichtet. Das geschieht bei Ihrer nächsten Anmeldung."),
    ("account.back", "Back to {product}", "Zurück zu {product}"),
    ("account.class", "Kind", "Art"),
    ("account.company", "Company", "Firma"),
    ("account.current", "This session", "Diese Sitzung"),
    ("account.email", "E-mail", "E-Mail"),
    ("account.end", "End session", "Sitzung beenden"),
    ("account.end.others", "End all other sessions", "Alle anderen Sitzungen beenden"),
    ("account.ended", "The session was ended.", "Die Sitzung wurde beendet."),
    ("account.ended.others", "All other sessions were ended.", "Alle anderen Sitzungen wurden beendet."),
    ("account.kind.mobile", "Mobile", "Mobil"),
    ("account.kind.web", "Desktop or tablet", "Desktop oder Tablet"),
    ("account.lastactive", "Last active", "Zuletzt aktiv"),
    ("account.newqr", "Request new QR code", "Neuen QR-Code anfordern"),
    ("account.newqr.code", "Current authentication code", "Aktueller Authentifizierungscode"),
    ("account.newqr.confirm", "New authentication code", "Neuer Authentifizierungscode"),
    ("account.newqr.done", "Your new authenticator is set up. The old one no longer works.", "Ihre neue Authenticator-App ist eingerichtet. Die alte gilt nicht mehr."),
    ("account.newqr.title", "Set up a new authenticator", "Neue Authenticator-App einrichten"),
    ("account.profile", "You", "Über Sie"),
    ("account.reauth", "Enter your password to confirm that it is you.", "Geben Sie Ihr Passwort ein, um zu bestätigen, dass Sie es sind."),
    ("account.sessions", "My sessions", "Meine Sitzungen"),
    ("account.sessions.help", "Allowed at a time: {web} on desktop or tablet, {mobile} on mobile.", "Gleichzeitig erlaubt: {web} auf Desktop oder Tablet, {mobile} mobil."),
    ("account.started", "Started", "Begonnen"),
    ("account.title", "My settings", "Meine Einstellungen"),
    ("account.username", "Username", "Benutzername"),
    ("code.cancel", "Cancel", "Abbrechen"),
    ("code.help", "Open your authenticator app and enter the six digits it shows for {product}.", "Öffnen Sie Ihre Authenticator-App und geben Sie die sechs Ziffern ein, die sie für {product} anzeigt."),
    ("code.label", "Authentication code", "Authentifizierungscode"),
    ("code.title", "Enter your code", "Code eingeben"),
    ("code.verify", "Verify", "Bestätigen"),
    ("enrol.code", "Authentication code", "Authentifizierungscode"),
    ("enrol.help", "Scan the QR code with an authenticator app on your phone, then enter the code it shows.", "Scannen Sie den QR-Code mit einer Authenticator-App auf Ihrem Telefon und geben Sie dann den angezeigten Code ein."),
    ("enrol.key", "Cannot scan? Enter this key in the app:", "Scannen nicht möglich? Geben Sie diesen Schlüssel in der App ein:"),
    ("enrol.qr", "QR code for your authenticator app", "QR-Code für Ihre Authenticator-App"),
    ("enrol.title", "Set up two-factor authentication", "Zwei-Faktor-Authentifizierung einrichten"),
    ("enrol.validate", "Validate", "Prüfen"),
    ("enrolled.continue", "Continue", "Weiter"),
    ("enrolled.title", "You are all set", "Alles bereit"),
    ("error.400.text", "The request could not be understood.", "Die Anfrage war nicht verständlich."),
    ("error.400.title", "That did not work", "Das hat nicht geklappt"),
    ("error.401.text", "Your session has ended, and what you sent was not passed on. Log in, go back, and send it again.", "Ihre Sitzung ist beendet; was Sie gesendet haben, wurde nicht weitergegeben. Melden Sie sich an, gehen Sie zurück und senden Sie es noch einmal."),
    ("error.401.title", "Log in to continue", "Bitte melden Sie sich an"),
    ("error.403.text", "This request did not come from this page. Go back, reload and try again.", "Diese Anfrage kam nicht von dieser Seite. Gehen Sie zurück, laden Sie neu und versuchen Sie es noch einmal."),
    ("error.403.title", "Not allowed", "Nicht erlaubt"),
    ("error.404.text", "There is nothing at this address.", "Unter dieser Adresse gibt es nichts."),
    ("error.404.title", "Page not found", "Seite nicht gefunden"),
    ("error.405.text", "This address does not take that kind of request.", "Diese Adresse nimmt diese Art von Anfrage nicht an."),
    ("error.405.title", "Not possible here", "Hier nicht möglich"),
    ("error.408.text", "The request took too long to arrive. Try again.", "Die Anfrage kam zu langsam an. Versuchen Sie es noch einmal."),
    ("error.408.title", "That took too long", "Das hat zu lange gedauert"),
    ("error.413.text", "What you sent is larger than is allowed here.", "Was Sie gesendet haben, ist größer, als hier erlaubt ist."),
    ("error.413.title", "Too large", "Zu groß"),
    ("error.421.text", "This address is not served here. Check it for a typing error.", "Diese Adresse wird hier nicht bedient. Prüfen Sie sie auf Tippfehler."),
    ("error.421.title", "Unknown address", "Unbekannte Adresse"),
    ("error.431.text", "Your browser sent more than is allowed here. Clear the cookies of this site and try again.", "Ihr Browser hat mehr gesendet, als hier erlaubt ist. Löschen Sie die Cookies dieser Seite und versuchen Sie es noch einmal."),
    ("error.431.title", "Request too large", "Anfrage zu groß"),
    ("error.500.text", "Something went wrong on our side. Try again in a moment.", "Auf unserer Seite ist etwas schiefgegangen. Versuchen Sie es gleich noch einmal."),
    ("error.500.title", "Something went wrong", "Etwas ist schiefgegangen"),
    ("error.501.text", "{product} cannot be used in this way at this address.", "{product} kann unter dieser Adresse nicht auf diese Weise benutzt werden."),
    ("error.501.title", "Not possible here", "Hier nicht möglich"),
    ("error.502.text", "{product} is not answering properly at the moment. Try again in a moment.", "{product} antwortet gerade nicht richtig. Versuchen Sie es gleich noch einmal."),
    ("error.502.title", "{product} is not available", "{product} ist nicht erreichbar"),
    ("error.503.text", "The log-in service is busy or cannot check your session at the moment. Try again in a moment.", "Der Anmeldedienst ist ausgelastet oder kann Ihre Sitzung gerade nicht prüfen. Versuchen Sie es gleich noch einmal."),
    ("error.503.title", "One moment, please", "Einen Moment, bitte"),
    ("error.504.text", "{product} took too long to answer. Try again in a moment.", "{product} hat zu lange nicht geantwortet. Versuchen Sie es gleich noch einmal."),
    ("error.504.title", "{product} is slow", "{product} antwortet zu langsam"),
    ("error.back", "Back to the log-in page", "Zur Anmeldeseite"),
    ("error.forbidden.text", "You are logged in as {username}, and this page is not open to you. Ask your administrator if you need it.", "Sie sind angemeldet als {username}; diese Seite ist für Sie nicht freigegeben. Wenn Sie sie brauchen, fragen Sie Ihren Administrator."),
    ("error.forbidden.title", "No access to this page", "Kein Zugang zu dieser Seite"),
    ("error.nobody.text", "This page is not open to anybody from here.", "Diese Seite ist von hier aus für niemanden freigegeben."),
    ("error.reference", "Reference", "Referenz"),
    ("footer.forgot", "Forgot password?", "Passwort vergessen?"),
    ("footer.help", "Help", "Hilfe"),
    ("footer.hosting", "Where am I hosted?", "Wo bin ich gehostet?"),
    ("footer.privacy", "Privacy policy", "Datenschutzerklärung"),
    ("footer.status", "System status", "Systemstatus"),
    ("forgot.text", "Passwords cannot be reset by e-mail here yet. Ask your administrator: they can set a new password and unlock your account.", "Passwörter können hier noch nicht per E-Mail zurückgesetzt werden. Fragen Sie Ihren Administrator: Er kann ein neues Passwort setzen und Ihr Konto entsperren."),
    ("forgot.title", "Forgot your password?", "Passwort vergessen?"),
    ("forgot.username", "Forgot your username? Your administrator knows that, too.", "Benutzernamen vergessen? Auch den kennt Ihr Administrator."),
    ("hosting.centre", "Data centre", "Rechenzentrum"),
    ("hosting.description", "For", "Für"),
    ("hosting.host", "Address", "Adresse"),
    ("hosting.text", "Each customer of {product} lives in one zone. If you do not know yours, enter your username on the log-in page, and you are taken there.", "Jeder Kunde von {product} gehört zu einer Zone. Wenn Sie Ihre nicht kennen, geben Sie auf der Anmeldeseite Ihren Benutzernamen ein; Sie werden dann dorthin geleitet."),
    ("hosting.title", "Where am I hosted?", "Wo bin ich gehostet?"),
    ("hosting.zone", "Zone", "Zone"),
    ("initiate.continue", "Continue", "Weiter"),
    ("initiate.text", "You came here from another page. Do you want to log in to {product} with the account you have at {company}?", "Sie kommen von einer anderen Seite. Möchten Sie sich mit Ihrem Konto bei {company} an {product} anmelden?"),
    ("initiate.title", "Log in to {product}?", "An {product} anmelden?"),
    ("logout.button", "Log out", "Abmelden"),
    ("logout.text", "You are logged in as {username}.", "Sie sind angemeldet als {username}."),
    ("logout.title", "Log out of {product}?", "Von {product} abmelden?"),
    ("m1", "Enter your username as username@domain.com.", "Geben Sie Ihren Benutzernamen in der Form name@firma.de ein."),
    ("m13", "Two-factor authentication is set up.", "Die Zwei-Faktor-Authentifizierung ist eingerichtet."),
    ("m15", "You already have the allowed number of active sessions.", "Sie haben bereits die erlaubte Anzahl aktiver Sitzungen."),
    ("m16.displaced", "Your session was ended because you logged in on another device.", "Ihre Sitzung wurde beendet, weil Sie sich auf einem anderen Gerät angemeldet haben."),
    ("m16.expired", "Your session reached its longest duration. Log in again.", "Ihre Sitzung hat ihre längste Dauer erreicht. Melden Sie sich wieder an."),
    ("m16.idle", "You were logged out after {hours} of inactivity.", "Sie wurden nach {hours} ohne Aktivität abgemeldet."),
    ("m16.replaced", "You logged in again in this browser.", "Sie haben sich in diesem Browser erneut angemeldet."),
    ("m16.revoked", "Your session was ended by you or an administrator.", "Ihre Sitzung wurde von Ihnen oder einem Administrator beendet."),
    ("m17", "You are logged out.", "Sie sind abgemeldet."),
    ("m19.account", "No account is set up for this identity. Ask your administrator.", "Für diese Identität ist kein Konto eingerichtet. Fragen Sie Ihren Administrator."),
    ("m19.expired", "This log-in took too long, or was completed already. Begin again.", "Diese Anmeldung hat zu lange gedauert oder ist schon abgeschlossen. Beginnen Sie noch einmal."),
    ("m19.refused", "Your identity provider did not confirm the log-in.", "Ihr Identitätsanbieter hat die Anmeldung nicht bestätigt."),
    ("m19.required", "Your company uses single sign-on. Continue to your identity provider.", "Ihre Firma verwendet Single Sign-on. Weiter zu Ihrem Identitätsanbieter."),
    ("m19.unreachable", "Your company's identity provider cannot be reached at the moment. Try again in a moment.", "Der Identitätsanbieter Ihrer Firma ist gerade nicht erreichbar. Versuchen Sie es gleich noch einmal."),
    ("m2", "The username or password is incorrect.", "Benutzername oder Passwort ist falsch."),
    ("m25", "Too many people are logging in right now. Wait a moment, then try again.", "Gerade melden sich zu viele an. Warten Sie einen Moment und versuchen Sie es dann noch einmal."),
    ("m3", "Your account is locked. Ask your administrator to unlock it.", "Ihr Konto ist gesperrt. Bitten Sie Ihren Administrator, es zu entsperren."),
    ("m4", "The authentication code is not valid. Enter the current code.", "Der Authentifizierungscode ist nicht gültig. Geben Sie den aktuellen Code ein."),
    ("notice.expired", "That page had expired. Start again here.", "Diese Seite war abgelaufen. Beginnen Sie hier noch einmal."),
    ("password.back", "Not you?", "Nicht Sie?"),
    ("password.hide", "Hide", "Verbergen"),
    ("password.label", "Password", "Passwort"),
    ("password.login", "Login", "Anmelden"),
    ("password.show", "Show", "Anzeigen"),
    ("password.title", "Enter your password", "Passwort eingeben"),
    ("provider.error.again", "Try again", "Noch einmal versuchen"),
    ("provider.error.other", "Log in as somebody else", "Mit einem anderen Konto anmelden"),
    ("provider.error.title", "You are not logged in", "Sie sind nicht angemeldet"),
    ("slots.help", "End one of them to log in here, or keep them all.", "Beenden Sie eine davon, um sich hier anzumelden, oder behalten Sie alle."),
    ("slots.keep", "Continue using my current sessions", "Meine bisherigen Sitzungen weiter nutzen"),
    ("slots.terminate", "Terminate and log in", "Beenden und anmelden"),
    ("slots.title", "Too many active sessions", "Zu viele aktive Sitzungen"),
    ("trial.changed", "The provider answered well, but its settings were changed meanwhile. Try them again.", "Der Anbieter hat richtig geantwortet, aber seine Einstellungen wurden inzwischen geändert. Probieren Sie es noch einmal."),
    ("trial.issuer", "Provider", "Anbieter"),
    ("trial.nousername", "No username: the claim is missing or is no username@domain", "Kein Benutzername: Der Claim fehlt oder ist kein Benutzername@Domain"),
    ("trial.subject", "Unique id", "Eindeutige Kennung"),
    ("trial.text", "The identity provider of {company} answered as it should. Single sign-on may be enabled now.", "Der Identitätsanbieter von {company} hat richtig geantwortet. Single Sign-on kann jetzt eingeschaltet werden."),
    ("trial.title", "Single sign-on works", "Single Sign-on funktioniert"),
    ("unit.hours", "{n} hours", "{n} Stunden"),
    ("unit.minutes", "{n} minutes", "{n} Minuten"),
    ("username.continue", "Continue", "Weiter"),
    ("username.hint", "If you do not know your username, contact your administrator.", "Wenn Sie Ihren Benutzernamen nicht kennen, wenden Sie sich an Ihren Administrator."),
    ("username.label", "Username", "Benutzername"),
    ("username.placeholder", "username@domain.com", "name@firma.de"),
    ("username.title", "Log in to {product}", "Anmelden bei {product}"),
];

fn entry(id: &str) -> Option<&'static Entry> {
    TEXTS.binary_search_by_key(&id, |entry| entry.0).ok().and_then(|at| TEXTS.get(at))
}

/// Every id, in alphabetical order.
pub fn text_ids() -> impl Iterator<Item = &'static str> + Clone {
    TEXTS.iter().map(|(id, _, _)| *id)
}

/// Whether a text of that id exists.
pub fn is_text_id(id: &str) -> bool {
    entry(id).is_some()
}

/// The text as it is shipped. An id that does not exist shows itself: a bug that a test of every page finds.
pub(super) fn text(language: Language, id: &'static str) -> &'static str {
    match (entry(id), language) {
        (Some((_, english, _)), Language::En) => english,
        (Some((_, _, german)), Language::De) => german,
        (None, _) => id,
    }
}

/// The language to answer in: what the browser prefers among those the pages are complete in, else the zone's.
///
/// - Shape: an `Accept-Language` value (RFC 9110 section 12.5.4); one that cannot be read prefers nothing.
pub fn choose_language(zone: Language, accept_language: Option<&str>) -> Language {
    let ranges = accept_language.unwrap_or_default().split(',').take(16).filter_map(|range| {
        let (tag, quality) = range.split_once(";q=").unwrap_or((range, "1"));
        let quality: f32 = quality.trim().parse().ok().filter(|q| (0.0..=1.0).contains(q))?;
        Language::from_tag(tag.trim()).filter(|_| quality > 0.0).map(|language| (language, quality))
    });
    let best = ranges.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or(zone, |(language, _)| language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_sorted_and_complete_and_their_placeholders_agree() {
        assert!(TEXTS.is_sorted_by_key(|entry| entry.0), "ids are looked up by binary search");
        let placeholders = |text: &str| {
            let mut found: Vec<_> =
                text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).map(str::to_owned).collect();
            found.sort();
            found
        };
        for (id, english, german) in TEXTS {
            assert!(!english.is_empty() && !german.is_empty(), "{id}");
            assert_eq!(placeholders(english), placeholders(german), "{id}");
        }
    }

    #[test]
    fn the_browsers_language_wins_where_the_pages_speak_it_else_the_zones() {
        let check = |accept, want| assert_eq!(choose_language(Language::De, accept), want, "{accept:?}");
        check(None, Language::De);
        check(Some("fr-FR,fr;q=0.9"), Language::De);
        check(Some("en-GB,en;q=0.9,de;q=0.5"), Language::En);
        check(Some("fr,de-AT;q=0.8,en;q=0.7"), Language::De);
        check(Some("en;q=0"), Language::De);
        check(Some("\u{0};q=x,,,;q="), Language::De);
    }
}
