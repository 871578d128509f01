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
    ("account.anew", "You log in at an identity provider. To make changes here, log in again first.", "Sie melden sich bei einem Identitätsanbieter an. Um hier etwas zu ändern, melden Sie sich zuerst neu an."),
    ("account.anew.link", "Log in again", "Neu anmelden"),
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
    ("account.links", "My accounts elsewhere", "Meine Konten anderswo"),
    ("account.links.help", "Where you can log in, and who you are there. Removing one ends the sessions that began there.", "Wo Sie sich anmelden können und wer Sie dort sind. Wird eine Verbindung entfernt, enden die Sitzungen, die dort begonnen haben."),
    ("account.newqr", "Request new QR code", "Neuen QR-Code anfordern"),
    ("account.newqr.code", "Current authentication code", "Aktueller Authentifizierungscode"),
    ("account.newqr.confirm", "New authentication code", "Neuer Authentifizierungscode"),
    ("account.newqr.done", "Your new authenticator is set up. The old one no longer works.", "Ihre neue Authenticator-App ist eingerichtet. Die alte gilt nicht mehr."),
    ("account.newqr.title", "Set up a new authenticator", "Neue Authenticator-App einrichten"),
    ("account.profile", "You", "Über Sie"),
    ("account.reauth", "Enter your password to confirm that it is you.", "Geben Sie Ihr Passwort ein, um zu bestätigen, dass Sie es sind."),
    ("account.sessions", "My sessions", "Meine Sitzungen"),
    ("account.sessions.help", "Allowed at a time: {web} on desktop or tablet, {mobile} on mobile.", "Gleichzeitig erlaubt: {web} auf Desktop oder Tablet, {mobile} mobil."),
    ("account.since", "Linked", "Verbunden"),
    ("account.started", "Started", "Begonnen"),
    ("account.title", "My settings", "Meine Einstellungen"),
    ("account.unlink", "Remove", "Entfernen"),
    ("account.unlinked", "The link was removed.", "Die Verbindung wurde entfernt."),
    ("account.unlinked.not", "This link is your administrator's to remove.", "Diese Verbindung kann nur Ihr Administrator entfernen."),
    ("account.username", "Username", "Benutzername"),
    ("accounts.help", "Several accounts here are yours at {suite}.", "Bei {suite} gehören Ihnen hier mehrere Konten."),
    ("accounts.title", "Which account?", "Welches Konto?"),
    ("admin.acr", "Authentication contexts (acr)", "Authentifizierungskontexte (acr)"),
    ("admin.acr.help", "Divided by spaces. One of them must come back from the provider. Empty: any will do.", "Durch Leerzeichen getrennt. Einer davon muss vom Anbieter zurückkommen. Leer: jeder genügt."),
    ("admin.add", "Link a user", "Benutzer verbinden"),
    ("admin.add.subject.help", "How the provider names this person (sub), letter by letter.", "Wie der Anbieter diese Person nennt (sub), Zeichen für Zeichen."),
    ("admin.add.username.help", "As the person types it here, like name@company.com.", "Wie die Person ihn hier eingibt, etwa name@firma.de."),
    ("admin.added", "The user is linked.", "Der Benutzer ist verbunden."),
    ("admin.address.backchannel", "Back-channel log-out", "Back-Channel-Abmeldung"),
    ("admin.address.callback", "Redirect URI (callback)", "Redirect-URI (Callback)"),
    ("admin.address.frontchannel", "Front-channel log-out", "Front-Channel-Abmeldung"),
    ("admin.address.initiate", "Log-in initiation (for a tile)", "Anmeldung vom Anbieter aus (für eine Kachel)"),
    ("admin.address.loggedout", "Where people return after logging out", "Rückkehr nach der Abmeldung"),
    ("admin.addresses", "Addresses for your provider", "Adressen für Ihren Anbieter"),
    ("admin.addresses.help", "Register the redirect URI at your provider. The others are for what it offers beyond that.", "Tragen Sie die Redirect-URI bei Ihrem Anbieter ein. Die übrigen dienen dem, was er sonst noch bietet."),
    ("admin.administers", "Administrator", "Administrator"),
    ("admin.algorithm", "Signing algorithm", "Signaturverfahren"),
    ("admin.amr", "Authentication methods (amr)", "Authentifizierungsmethoden (amr)"),
    ("admin.amr.help", "Divided by spaces, like mfa. All of them must have been used. Empty: any will do.", "Durch Leerzeichen getrennt, etwa mfa. Alle müssen verwendet worden sein. Leer: jede genügt."),
    ("admin.apply", "Apply", "Anwenden"),
    ("admin.authentication", "Client authentication", "Client-Authentifizierung"),
    ("admin.claim", "Claim with the username", "Claim mit dem Benutzernamen"),
    ("admin.claim.help", "Used at a person's first log-in, where all users log in at the provider.", "Gilt bei der ersten Anmeldung einer Person, wenn sich alle Benutzer beim Anbieter anmelden."),
    ("admin.clientid", "Client ID", "Client-ID"),
    ("admin.clientid.help", "What your provider calls this application.", "Wie Ihr Anbieter diese Anwendung nennt."),
    ("admin.copied", "Copied", "Kopiert"),
    ("admin.copy", "Copy", "Kopieren"),
    ("admin.emergency", "Emergency administrator", "Notfall-Administrator"),
    ("admin.emergency.help", "Logs in with password and code, also while the provider is broken. Without one, nobody gets in then.", "Meldet sich mit Passwort und Code an, auch wenn der Anbieter ausfällt. Ohne ihn kommt dann niemand hinein."),
    ("admin.emergency.none", "Nobody", "Niemand"),
    ("admin.emergency.wrong", "This user cannot be the emergency administrator: choose an active administrator who has a password.", "Dieser Benutzer kann nicht Notfall-Administrator sein: Wählen Sie einen aktiven Administrator, der ein Passwort hat."),
    ("admin.export", "Export as CSV", "Als CSV exportieren"),
    ("admin.hosts", "Further hosts", "Weitere Hosts"),
    ("admin.hosts.help", "Divided by spaces: hosts besides the issuer's that your provider uses for its endpoints.", "Durch Leerzeichen getrennt: Hosts, die Ihr Anbieter außer dem des Ausstellers für seine Endpunkte verwendet."),
    ("admin.import", "Import from CSV", "Aus CSV importieren"),
    ("admin.import.file", "Choose a file", "Datei wählen"),
    ("admin.import.help", "A table with the columns username and subject. All lines count or none.", "Eine Tabelle mit den Spalten username und subject. Es gelten alle Zeilen oder keine."),
    ("admin.import.table", "Table", "Tabelle"),
    ("admin.imported", "Linked users: {count}.", "Verbundene Benutzer: {count}."),
    ("admin.issuer", "Issuer or discovery document", "Aussteller oder Discovery-Dokument"),
    ("admin.issuer.help", "The address of your provider, like https://login.company.com", "Die Adresse Ihres Anbieters, etwa https://login.firma.de"),
    ("admin.line", "Line {line}", "Zeile {line}"),
    ("admin.line.columns", "the first line must name the columns, username and subject among them", "die erste Zeile muss die Spalten nennen, darunter username und subject"),
    ("admin.line.kind", "{value} is co-managed or a program, whom your provider does not know", "{value} ist mitverwaltet oder ein Programm; Ihr Anbieter kennt diese nicht"),
    ("admin.line.more", "{count} more lines are wrong", "{count} weitere Zeilen sind falsch"),
    ("admin.line.nobody", "no user stands below the columns", "unter den Spalten steht kein Benutzer"),
    ("admin.line.other", "{value} is linked to somebody else already", "{value} ist schon mit jemand anderem verbunden"),
    ("admin.line.subject", "“{value}” is no unique id: 1 to 255 printable ASCII characters", "„{value}“ ist keine eindeutige Kennung: 1 bis 255 druckbare ASCII-Zeichen"),
    ("admin.line.table", "a quotation mark is missing or too many", "ein Anführungszeichen fehlt oder ist zu viel"),
    ("admin.line.taken", "“{value}” is another user already", "„{value}“ ist schon ein anderer Benutzer"),
    ("admin.line.unknown", "there is no user {value}", "es gibt keinen Benutzer {value}"),
    ("admin.line.username", "“{value}” is no username like name@company.com", "„{value}“ ist kein Benutzername wie name@firma.de"),
    ("admin.logout", "Logging out here also logs out at the provider", "Wer sich hier abmeldet, wird auch beim Anbieter abgemeldet"),
    ("admin.maxage", "Longest time since the log-in at the provider", "Längste Zeit seit der Anmeldung beim Anbieter"),
    ("admin.maxage.help", "Like 8h or 15m, at most 720h. Empty: any will do.", "Etwa 8h oder 15m, höchstens 720h. Leer: beliebig."),
    ("admin.method", "Logs in with", "Meldet sich an mit"),
    ("admin.method.api", "API credentials", "API-Zugangsdaten"),
    ("admin.method.local", "Password and code", "Passwort und Code"),
    ("admin.method.password", "Password", "Passwort"),
    ("admin.method.sso", "Single sign-on", "Single Sign-on"),
    ("admin.method.suite", "Password and code, or {suite}", "Passwort und Code oder {suite}"),
    ("admin.method.suite.only", "{suite}", "{suite}"),
    ("admin.name", "Name", "Name"),
    ("admin.notimported", "The table is not imported, and nothing was changed.", "Die Tabelle ist nicht importiert, und nichts wurde geändert."),
    ("admin.provisioning", "Enter people into the directory whom the provider knows and it does not, at the lowest level", "Personen, die der Anbieter kennt und das Verzeichnis nicht, mit der niedrigsten Stufe eintragen"),
    ("admin.remove", "Remove", "Entfernen"),
    ("admin.removed", "The link was removed, and the sessions that began there are ended.", "Die Verbindung wurde entfernt; Sitzungen, die dort begonnen haben, sind beendet."),
    ("admin.roster", "Who is who", "Wer ist wer"),
    ("admin.roster.noprovider", "There is no provider yet.", "Es gibt noch keinen Anbieter."),
    ("admin.roster.text", "Which user is which person at {issuer}. Where selected users use single sign-on, it is those in this table.", "Welcher Benutzer bei {issuer} welche Person ist. Wenn ausgewählte Benutzer Single Sign-on verwenden, sind es die in dieser Tabelle."),
    ("admin.save", "Save", "Speichern"),
    ("admin.saved", "The settings are saved.", "Die Einstellungen sind gespeichert."),
    ("admin.saved.inuse", "The settings are saved, and people log in with them from now on. They are not tested: test them now.", "Die Einstellungen sind gespeichert und gelten ab der nächsten Anmeldung. Sie sind nicht getestet: Testen Sie sie jetzt."),
    ("admin.saved.nosecret", "The settings are saved, but without a client secret: nobody can log in at this provider until you enter it.", "Die Einstellungen sind gespeichert, aber ohne Client-Secret: Bis Sie es eingeben, kann sich bei diesem Anbieter niemand anmelden."),
    ("admin.scope", "Who logs in at the provider", "Wer sich beim Anbieter anmeldet"),
    ("admin.scope.all", "All users", "Alle Benutzer"),
    ("admin.scope.help", "Selected users are those in the table “Who is who”. With all users, the claim with the username says who somebody is at their first log-in. Co-managed users and programs are never among them.", "Ausgewählte Benutzer sind die in der Tabelle „Wer ist wer“. Bei allen Benutzern sagt der Claim mit dem Benutzernamen bei der ersten Anmeldung, wer jemand ist. Mitverwaltete Benutzer und Programme gehören nie dazu."),
    ("admin.scope.legend", "Single sign-on is for", "Single Sign-on gilt für"),
    ("admin.scope.off", "Nobody (off)", "Niemanden (aus)"),
    ("admin.scope.selected", "Selected users", "Ausgewählte Benutzer"),
    ("admin.scope.set", "This holds from each user's next log-in on.", "Das gilt ab der nächsten Anmeldung jedes Benutzers."),
    ("admin.scope.set.alone", "This holds from each user's next log-in on. There is no emergency administrator: if the provider fails, or does not know you, nobody gets in to mend it.", "Das gilt ab der nächsten Anmeldung jedes Benutzers. Es gibt keinen Notfall-Administrator: Wenn der Anbieter ausfällt oder Sie nicht kennt, kommt niemand hinein, um es zu beheben."),
    ("admin.scope.untested", "Test the provider first, as it is configured now. Nobody may depend on one that was not tested.", "Testen Sie zuerst den Anbieter, wie er jetzt eingestellt ist. Niemand darf von einem abhängen, der nicht getestet wurde."),
    ("admin.scopes", "Scopes besides openid", "Scopes außer openid"),
    ("admin.scopes.help", "Divided by spaces, like profile email.", "Durch Leerzeichen getrennt, etwa profile email."),
    ("admin.search", "Search", "Suchen"),
    ("admin.secret", "Client secret", "Client-Secret"),
    ("admin.secret.kept", "A secret is kept, and never shown. Type a new one to replace it; another issuer needs a new one.", "Ein Secret ist gespeichert und wird nie gezeigt. Geben Sie ein neues ein, um es zu ersetzen; ein anderer Aussteller braucht ein neues."),
    ("admin.secret.none", "No secret is kept yet.", "Es ist noch kein Secret gespeichert."),
    ("admin.settings", "Settings", "Einstellungen"),
    ("admin.shown", "{shown} of {found} shown", "{shown} von {found} angezeigt"),
    ("admin.sso", "Single sign-on", "Single Sign-on"),
    ("admin.start", "Overview", "Übersicht"),
    ("admin.state", "State", "Zustand"),
    ("admin.state.active", "Active", "Aktiv"),
    ("admin.state.disabled", "Disabled", "Deaktiviert"),
    ("admin.state.locked", "Locked", "Gesperrt"),
    ("admin.suite", "Log-in with {suite}", "Anmeldung mit {suite}"),
    ("admin.suite.address", "Where exempt users log in", "Wo sich ausgenommene Benutzer anmelden"),
    ("admin.suite.alone", "Nobody is exempt: while {suite} is broken, nobody gets in who must use it.", "Niemand ist ausgenommen: Wenn {suite} ausfällt, kommt niemand hinein, der es verwenden muss."),
    ("admin.suite.bind", "Connect your company", "Firma verbinden"),
    ("admin.suite.bind.again", "Connect another company", "Andere Firma verbinden"),
    ("admin.suite.bind.failed", "Your company was not connected", "Ihre Firma wurde nicht verbunden"),
    ("admin.suite.bind.help", "You are sent to {suite} and show there that you manage your company. People of that company, and of no other, can then log in with {suite}.", "Sie werden zu {suite} geleitet und zeigen dort, dass Sie Ihre Firma verwalten. Personen dieser Firma, und keiner anderen, können sich dann mit {suite} anmelden."),
    ("admin.suite.bound", "Your company at {suite}", "Ihre Firma bei {suite}"),
    ("admin.suite.bound.again", "Your company is connected, in place of another one. People of the other one do not get in with {suite} any more.", "Ihre Firma ist verbunden, anstelle einer anderen. Personen der anderen kommen mit {suite} nicht mehr hinein."),
    ("admin.suite.bound.done", "Your company is connected.", "Ihre Firma ist verbunden."),
    ("admin.suite.bound.none", "Not connected yet.", "Noch nicht verbunden."),
    ("admin.suite.exempt", "Exempt users", "Ausgenommene Benutzer"),
    ("admin.suite.exempt.add", "Exempt a user", "Benutzer ausnehmen"),
    ("admin.suite.exempt.badge", "Exempt", "Ausgenommen"),
    ("admin.suite.exempt.help", "Where {suite} is required, they log in with password and code all the same, at this address. So do contractors, co-managed users and dashboards, whom {suite} does not let in. No page leads there: tell them.", "Wo {suite} verlangt wird, melden sie sich dennoch mit Passwort und Code an, unter dieser Adresse; ebenso Externe, mitverwaltete Benutzer und Anzeigen, für die es {suite} nicht gibt. Keine Seite führt dorthin: Teilen Sie sie ihnen mit."),
    ("admin.suite.exempt.kind", "Users of this kind cannot log in with {suite} anyway.", "Benutzer dieser Art können sich mit {suite} ohnehin nicht anmelden."),
    ("admin.suite.exempt.none", "Nobody is exempt.", "Niemand ist ausgenommen."),
    ("admin.suite.exempt.nopassword", "No password yet", "Noch kein Passwort"),
    ("admin.suite.exempted", "The user is exempt from the next log-in on.", "Der Benutzer ist ab der nächsten Anmeldung ausgenommen."),
    ("admin.suite.linked", "Linked users", "Verbundene Benutzer"),
    ("admin.suite.linked.text", "Which user is which person at {suite}. Somebody is linked when they log in with {suite} for the first time.", "Welcher Benutzer bei {suite} welche Person ist. Verbunden wird jemand, wenn er sich zum ersten Mal mit {suite} anmeldet."),
    ("admin.suite.mode", "Who uses {suite}", "Wer {suite} verwendet"),
    ("admin.suite.mode.allowed", "Allowed, beside password and code", "Erlaubt, neben Passwort und Code"),
    ("admin.suite.mode.legend", "Log-in with {suite} is", "Die Anmeldung mit {suite} ist"),
    ("admin.suite.mode.off", "Off", "Aus"),
    ("admin.suite.mode.required", "Required, in place of password and code", "Verlangt, anstelle von Passwort und Code"),
    ("admin.suite.place", "{suite}", "{suite}"),
    ("admin.suite.provisioning", "Enter people of your company into the directory whom {suite} knows and it does not, at the lowest level", "Personen Ihrer Firma, die {suite} kennt und das Verzeichnis nicht, mit der niedrigsten Stufe eintragen"),
    ("admin.suite.sso", "All users of your company log in at its own provider, so that nobody but the emergency administrator can use {suite}.", "Alle Benutzer Ihrer Firma melden sich bei deren eigenem Anbieter an, daher kann außer dem Notfall-Administrator niemand {suite} verwenden."),
    ("admin.suite.unexempted", "The user is not exempt any more, from the next log-in on.", "Der Benutzer ist ab der nächsten Anmeldung nicht mehr ausgenommen."),
    ("admin.test", "Test", "Testen"),
    ("admin.test.help", "You are sent to the provider and come back to what it said. It logs you in nowhere, and changes nothing for others.", "Sie werden zum Anbieter geleitet und sehen danach, was er gesagt hat. Sie werden dadurch nirgends angemeldet, und für andere ändert sich nichts."),
    ("admin.tested", "Tested as it is configured now: {time}", "Getestet, wie es jetzt eingestellt ist: {time}"),
    ("admin.title", "Administration", "Verwaltung"),
    ("admin.unchanged", "Nothing was changed.", "Es wurde nichts geändert."),
    ("admin.untested", "Not tested as it is configured now.", "Noch nicht getestet, wie es jetzt eingestellt ist."),
    ("admin.users", "Users", "Benutzer"),
    ("admin.wrong.clientid", "Enter what your provider calls this application: printable ASCII characters.", "Geben Sie an, wie Ihr Anbieter diese Anwendung nennt: druckbare ASCII-Zeichen."),
    ("admin.wrong.form", "Something in the form is not right. Nothing was changed.", "Etwas im Formular stimmt nicht. Es wurde nichts geändert."),
    ("admin.wrong.hosts", "Enter hostnames, like graph.company.com, at most 16 of them.", "Geben Sie Hostnamen an, etwa graph.firma.de, höchstens 16."),
    ("admin.wrong.issuer", "Enter an address that begins with https:// and has a host and a path at most.", "Geben Sie eine Adresse an, die mit https:// beginnt und höchstens Host und Pfad hat."),
    ("admin.wrong.maxage", "Enter a length of time like 8h or 15m, at most 720h.", "Geben Sie eine Dauer wie 8h oder 15m an, höchstens 720h."),
    ("admin.wrong.secret", "That is no client secret: one line of at most 2048 bytes.", "Das ist kein Client-Secret: eine Zeile von höchstens 2048 Bytes."),
    ("admin.wrong.subject", "That is no unique id: 1 to 255 printable ASCII characters.", "Das ist keine eindeutige Kennung: 1 bis 255 druckbare ASCII-Zeichen."),
    ("admin.wrong.subject.taken", "This unique id is another user already.", "Diese Kennung ist schon ein anderer Benutzer."),
    ("admin.wrong.user.kind", "This user is co-managed or a program, whom your provider does not know.", "Dieser Benutzer ist mitverwaltet oder ein Programm; Ihr Anbieter kennt diese nicht."),
    ("admin.wrong.user.other", "This user is linked to somebody else already. Remove that link first.", "Dieser Benutzer ist schon mit jemand anderem verbunden. Entfernen Sie zuerst diese Verbindung."),
    ("admin.wrong.user.unknown", "Your company has no such user.", "Ihre Firma hat keinen solchen Benutzer."),
    ("admin.wrong.word", "Enter words of printable ASCII characters, without quotation marks.", "Geben Sie Wörter aus druckbaren ASCII-Zeichen ohne Anführungszeichen an."),
    ("admin.wrong.words", "Enter words of printable ASCII characters with spaces between them, at most 16.", "Geben Sie Wörter aus druckbaren ASCII-Zeichen mit Leerzeichen dazwischen an, höchstens 16."),
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
    ("m11", "Your account is not set up yet and cannot be linked to {suite}. Log in with your username and password first.", "Ihr Konto ist noch nicht eingerichtet und kann nicht mit {suite} verbunden werden. Melden Sie sich zuerst mit Benutzername und Passwort an."),
    ("m12.kind", "Log-in with {suite} is not available for your type of account.", "Die Anmeldung mit {suite} gibt es für Ihre Art von Konto nicht."),
    ("m12.master", "Only whoever manages your company at {suite} can connect it here.", "Nur wer Ihre Firma bei {suite} verwaltet, kann sie hier verbinden."),
    ("m12.mismatch", "Your {suite} account does not match this username.", "Ihr Konto bei {suite} passt nicht zu diesem Benutzernamen."),
    ("m12.off", "Log-in with {suite} is not enabled for your company.", "Die Anmeldung mit {suite} ist für Ihre Firma nicht eingeschaltet."),
    ("m13", "Two-factor authentication is set up.", "Die Zwei-Faktor-Authentifizierung ist eingerichtet."),
    ("m15", "You already have the allowed number of active sessions.", "Sie haben bereits die erlaubte Anzahl aktiver Sitzungen."),
    ("m16.displaced", "Your session was ended because you logged in on another device.", "Ihre Sitzung wurde beendet, weil Sie sich auf einem anderen Gerät angemeldet haben."),
    ("m16.expired", "Your session reached its longest duration. Log in again.", "Ihre Sitzung hat ihre längste Dauer erreicht. Melden Sie sich wieder an."),
    ("m16.idle", "You were logged out after {hours} of inactivity.", "Sie wurden nach {hours} ohne Aktivität abgemeldet."),
    ("m16.replaced", "You logged in again in this browser.", "Sie haben sich in diesem Browser erneut angemeldet."),
    ("m16.revoked", "Your session was ended by you or an administrator.", "Ihre Sitzung wurde von Ihnen oder einem Administrator beendet."),
    ("m17", "You are logged out.", "Sie sind abgemeldet."),
    ("m17.unreached", "You are logged out here. The service that you logged in with could not be reached: you may still be logged in there. It will be told as soon as it answers.", "Sie sind hier abgemeldet. Ihr Anmeldedienst war nicht erreichbar: Dort sind Sie vielleicht noch angemeldet. Er erfährt es, sobald er wieder antwortet."),
    ("m19.account", "No account is set up for this identity. Ask your administrator.", "Für diese Identität ist kein Konto eingerichtet. Fragen Sie Ihren Administrator."),
    ("m19.expired", "This log-in took too long, or was completed already. Begin again.", "Diese Anmeldung hat zu lange gedauert oder ist schon abgeschlossen. Beginnen Sie noch einmal."),
    ("m19.refused", "The identity provider did not confirm the log-in.", "Der Identitätsanbieter hat die Anmeldung nicht bestätigt."),
    ("m19.required", "Your company uses single sign-on. Continue to your identity provider.", "Ihre Firma verwendet Single Sign-on. Weiter zu Ihrem Identitätsanbieter."),
    ("m19.unreachable", "The identity provider cannot be reached at the moment. Try again in a moment.", "Der Identitätsanbieter ist gerade nicht erreichbar. Versuchen Sie es gleich noch einmal."),
    ("m2", "The username or password is incorrect.", "Benutzername oder Passwort ist falsch."),
    ("m24", "Your company requires log-in with {suite}.", "Ihre Firma verlangt die Anmeldung mit {suite}."),
    ("m25", "Too many people are logging in right now. Wait a moment, then try again.", "Gerade melden sich zu viele an. Warten Sie einen Moment und versuchen Sie es dann noch einmal."),
    ("m3", "Your account is locked. Ask your administrator to unlock it.", "Ihr Konto ist gesperrt. Bitten Sie Ihren Administrator, es zu entsperren."),
    ("m4", "The authentication code is not valid. Enter the current code.", "Der Authentifizierungscode ist nicht gültig. Geben Sie den aktuellen Code ein."),
    ("menu.home", "Open {suite}", "{suite} öffnen"),
    ("menu.label", "Your account", "Ihr Konto"),
    ("menu.modules", "Modules of {suite}", "Module von {suite}"),
    ("notice.expired", "That page had expired. Start again here.", "Diese Seite war abgelaufen. Beginnen Sie hier noch einmal."),
    ("password.back", "Not you?", "Nicht Sie?"),
    ("password.hide", "Hide", "Verbergen"),
    ("password.label", "Password", "Passwort"),
    ("password.login", "Login", "Anmelden"),
    ("password.show", "Show", "Anzeigen"),
    ("password.title", "Enter your password", "Passwort eingeben"),
    ("provider.error.again", "Try again", "Noch einmal versuchen"),
    ("provider.error.local", "Log in with your password", "Mit Passwort anmelden"),
    ("provider.error.other", "Log in as somebody else", "Mit einem anderen Konto anmelden"),
    ("provider.error.title", "You are not logged in", "Sie sind nicht angemeldet"),
    ("slots.help", "End one of them to log in here, or keep them all.", "Beenden Sie eine davon, um sich hier anzumelden, oder behalten Sie alle."),
    ("slots.keep", "Continue using my current sessions", "Meine bisherigen Sitzungen weiter nutzen"),
    ("slots.terminate", "Terminate and log in", "Beenden und anmelden"),
    ("slots.title", "Too many active sessions", "Zu viele aktive Sitzungen"),
    ("trial.back", "Back to single sign-on", "Zurück zu Single Sign-on"),
    ("trial.changed", "The provider answered well, but its settings were changed meanwhile. Try them again.", "Der Anbieter hat richtig geantwortet, aber seine Einstellungen wurden inzwischen geändert. Probieren Sie es noch einmal."),
    ("trial.failed", "The test failed", "Der Test ist fehlgeschlagen"),
    ("trial.failed.text", "Nothing was changed by it. What was wrong:", "Es wurde dadurch nichts geändert. Das war falsch:"),
    ("trial.issuer", "Provider", "Anbieter"),
    ("trial.nousername", "No username: the claim is missing or is no username@domain", "Kein Benutzername: Der Claim fehlt oder ist kein Benutzername@Domain"),
    ("trial.subject", "Unique id", "Eindeutige Kennung"),
    ("trial.text", "The identity provider of {company} answered as it should. Single sign-on can be used as it is set up now.", "Der Identitätsanbieter von {company} hat richtig geantwortet. Single Sign-on kann so verwendet werden, wie es jetzt eingestellt ist."),
    ("trial.title", "Single sign-on works", "Single Sign-on funktioniert"),
    ("unit.hours", "{n} hours", "{n} Stunden"),
    ("unit.minutes", "{n} minutes", "{n} Minuten"),
    ("username.continue", "Continue", "Weiter"),
    ("username.hint", "If you do not know your username, contact your administrator.", "Wenn Sie Ihren Benutzernamen nicht kennen, wenden Sie sich an Ihren Administrator."),
    ("username.label", "Username", "Benutzername"),
    ("username.placeholder", "username@domain.com", "name@firma.de"),
    ("username.suite", "Log in with {suite}", "Mit {suite} anmelden"),
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
