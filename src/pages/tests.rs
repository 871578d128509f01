//! Every page, rendered in every language, with the worst a stranger could put into its fields.
//!
//! `ZONEGATE_DUMP_PAGES=DIR cargo test pages::` also writes them to a folder, to be looked at.

use super::*;
use crate::directory::{Methods, SsoScope, SuiteMode};
use crate::session::Class;
use crate::zone::Language;

const HOSTILE: &str = "<script>alert(\"'&\")</script>";

/// Renders one page in the surroundings it is given.
type Render<'a> = Box<dyn Fn(&Chrome<'_>) -> String + 'a>;

struct Sample {
    text: &'static str,
}

impl Sample {
    fn rows(&self) -> Vec<SessionRow> {
        let row = |at: u64, class, current| SessionRow {
            id: format!("{at:032x}"),
            device: if self.text == HOSTILE {
                HOSTILE.into()
            } else {
                ["Firefox on Linux", "Chrome on Windows", "Safari on iPad", "Mobile app"]
                    [usize::try_from(at).unwrap() % 4]
                    .into()
            },
            address: if self.text == HOSTILE { HOSTILE.into() } else { format!("192.0.2.{at}") },
            class,
            started_at: UnixTime::from_seconds(1_795_500_000 + at * 3600),
            last_seen: UnixTime::from_seconds(1_795_519_000 + at * 60),
            current,
        };
        vec![
            row(0, Class::Web, true),
            row(1, Class::Web, false),
            row(2, Class::Web, false),
            row(3, Class::Mobile, false),
        ]
    }

    fn links(&self) -> Vec<LinkView> {
        let link = |removable| LinkView {
            name: self.text.into(),
            issuer: self.text.into(),
            subject: self.text.into(),
            linked_at: UnixTime::from_seconds(1_795_500_000),
            removable,
            field: "issuer",
        };
        vec![link(true), link(false)]
    }

    /// The administrator's form with everything in it and something wrong everywhere.
    fn provider(&self, chrome: &Chrome<'_>) -> String {
        let field = |error| Field { value: self.text.into(), error };
        let fields = ProviderFields {
            issuer: field(Some("admin.wrong.issuer")),
            client_id: field(Some("admin.wrong.clientid")),
            secret_error: Some("admin.wrong.secret"),
            scopes: field(Some("admin.wrong.words")),
            username_claim: field(Some("admin.wrong.word")),
            hosts: field(Some("admin.wrong.hosts")),
            acr: field(None),
            amr: field(None),
            max_age: field(Some("admin.wrong.maxage")),
            provisioning: true,
            ..ProviderFields::default()
        };
        let page = ProviderPage {
            company: self.text,
            fields,
            configured: true,
            has_secret: true,
            tested_at: Some(UnixTime::from_seconds(1_795_500_000)),
            address: "https://desk.example/.zonegate/sso/acme",
            scope: SsoScope::Selected,
            administrators: &[(self.text.to_owned(), true)],
            confirm: Confirm::Password(self.text),
            csrf: self.text,
            notice: Some("admin.saved"),
            warns: false,
            error: Some("admin.wrong.form"),
        };
        page.html(chrome)
    }

    fn roster(&self, chrome: &Chrome<'_>) -> String {
        let row = |at: u8| LinkedRow {
            id: format!("{at:032x}"),
            username: self.text.into(),
            subject: self.text.into(),
            linked_at: UnixTime::from_seconds(1_795_500_000),
        };
        let wrong = |text| WrongLine { line: 3, text, value: self.text.into() };
        let page = RosterPage {
            company: self.text,
            issuer: Some(self.text),
            search: self.text,
            rows: (0..4).map(row).collect(),
            found: 1200,
            username: Field { value: self.text.into(), error: Some("admin.wrong.user.other") },
            subject: Field { value: self.text.into(), error: Some("admin.wrong.subject.taken") },
            table: self.text,
            wrong: ["table", "columns", "nobody", "username", "unknown", "subject", "taken", "other", "kind"]
                .map(|name| text_ids().find(|id| *id == format!("admin.line.{name}")).unwrap())
                .map(wrong)
                .into(),
            more_wrong: 7,
            confirm: Confirm::Password(self.text),
            csrf: self.text,
            notice: None,
            error: Some("admin.notimported"),
        };
        page.html(chrome)
    }

    fn suite(&self, chrome: &Chrome<'_>) -> String {
        let row = LinkedRow {
            id: "00ff".into(),
            username: self.text.into(),
            subject: self.text.into(),
            linked_at: UnixTime::from_seconds(1_795_500_000),
        };
        let page = SuitePage {
            company: self.text,
            scope: SsoScope::Selected,
            mode: SuiteMode::Required,
            chosen: None,
            bound: Some(self.text),
            provisioning: true,
            address: "https://desk.example/.zonegate/login?with=password",
            exempt: vec![ExemptRow { id: "0f".into(), username: self.text.into(), has_password: false }],
            exempt_found: 1,
            search: self.text,
            rows: vec![row],
            found: 900,
            username: Field { value: self.text.into(), error: Some("admin.suite.exempt.kind") },
            confirm: Confirm::Password(self.text),
            csrf: self.text,
            notice: Some("admin.suite.exempted"),
            error: Some("admin.wrong.form"),
        };
        page.html(chrome)
    }

    fn users(&self, chrome: &Chrome<'_>) -> String {
        let row = |methods, administers, locked: bool| UserRow {
            username: self.text.into(),
            display_name: self.text.into(),
            administers,
            methods,
            needs_code: !locked,
            has_password: !administers,
            must_use_suite: locked,
            suite_exempt: administers,
            exempt: administers,
            active: methods != Methods::Api,
            locked,
        };
        let rows = vec![
            row(Methods::Local, true, false),
            row(Methods::LocalAndSuite, false, true),
            row(Methods::Sso, false, false),
            row(Methods::Api, false, false),
        ];
        UsersPage { company: self.text, search: self.text, rows, found: 4 }.html(chrome)
    }

    /// Every page, each in the states that look different.
    fn pages(&self) -> Vec<(&'static str, Render<'_>)> {
        let t = self.text;
        let uri = "otpauth://totp/Acme%20Desk:alice%40acme.example?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Acme%20Desk&algorithm=SHA1&digits=6&period=30";
        let zone = |name: &str| ZoneRow {
            name: if t == HOSTILE { t.into() } else { name.into() },
            data_centre: "MUC".into(),
            host: format!("{}.example", if t == HOSTILE { t } else { "desk" }),
            url: "https://desk.example/".into(),
            description: if t == HOSTILE {
                t.into()
            } else {
                "German-language customers in Germany, Austria and Switzerland".into()
            },
        };
        let zones: Vec<_> = (0..6).map(|_| zone("DE 1")).collect();
        let key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        vec![
            ("username", Box::new(move |c| UsernamePage { flow: t, ..UsernamePage::default() }.html(c))),
            (
                "username-error",
                Box::new(move |c| {
                    UsernamePage { flow: t, username: t, error: Some("m1"), ..UsernamePage::default() }.html(c)
                }),
            ),
            (
                "username-notice",
                Box::new(move |c| {
                    let notice = Some(c.fill("m16.idle", &[("hours", &c.duration(8 * 3600))]));
                    UsernamePage { flow: t, notice, ..UsernamePage::default() }.html(c)
                }),
            ),
            (
                "username-provider",
                Box::new(move |c| {
                    let notice = Some(c.t("m16.expired"));
                    let provider = Some(ProviderLink { company: t.into(), address: t.into() });
                    UsernamePage { flow: t, notice, provider, ..UsernamePage::default() }.html(c)
                }),
            ),
            (
                "username-suite",
                Box::new(move |c| {
                    UsernamePage {
                        flow: t,
                        username: t,
                        error: Some("m24"),
                        needs_suite: true,
                        ..UsernamePage::default()
                    }
                    .html(c)
                }),
            ),
            ("password", Box::new(move |c| PasswordPage { flow: t, username: t, back: t, error: None }.html(c))),
            (
                "password-error",
                Box::new(move |c| PasswordPage { flow: t, username: t, back: t, error: Some("m3") }.html(c)),
            ),
            ("code", Box::new(move |c| CodePage { flow: t, username: t, back: t, error: Some("m4") }.html(c))),
            ("enrol", Box::new(move |c| EnrolPage { flow: t, uri, key, back: t, error: None }.html(c))),
            ("enrolled", Box::new(move |c| EnrolledPage { flow: t }.html(c))),
            ("slots", Box::new(move |c| SlotsPage { flow: t, sessions: self.rows() }.html(c))),
            ("logout", Box::new(move |c| LogoutPage { username: t, csrf: t }.html(c))),
            ("hosting", Box::new(move |c| HostingPage { zones: &zones }.html(c))),
            ("forgot", Box::new(move |c| ForgotPage::default().html(c))),
            (
                "account",
                Box::new(move |c| {
                    AccountPage {
                        username: t,
                        display_name: t,
                        email: Some(t),
                        company: t,
                        sessions: self.rows(),
                        slots: (3, 1),
                        enrolled: Some(true),
                        links: self.links(),
                        administers: true,
                        confirm: Confirm::Password(t),
                        csrf: t,
                        notice: Some("account.ended"),
                        error: None,
                    }
                    .html(c)
                }),
            ),
            (
                "account-provider",
                Box::new(move |c| {
                    AccountPage {
                        username: t,
                        company: t,
                        sessions: self.rows(),
                        slots: (3, 1),
                        links: self.links(),
                        confirm: Confirm::LogIn("/.zonegate/sso/acme?anew&return_to=/.zonegate/account"),
                        csrf: t,
                        ..AccountPage::default()
                    }
                    .html(c)
                }),
            ),
            (
                "admin",
                Box::new(move |c| {
                    AdminPage { company: t, scope: SsoScope::Selected, suite: SuiteMode::Allowed, csrf: t }.html(c)
                }),
            ),
            (
                "admin-sso-new",
                Box::new(move |c| ProviderPage { company: t, csrf: t, ..ProviderPage::default() }.html(c)),
            ),
            ("admin-sso", Box::new(move |c| self.provider(c))),
            ("admin-sso-users", Box::new(move |c| self.roster(c))),
            (
                "admin-sso-users-none",
                Box::new(move |c| RosterPage { company: t, csrf: t, ..RosterPage::default() }.html(c)),
            ),
            (
                "admin-suite-new",
                Box::new(move |c| SuitePage { company: t, csrf: t, ..SuitePage::default() }.html(c)),
            ),
            ("admin-suite", Box::new(move |c| self.suite(c))),
            (
                "admin-suite-required",
                Box::new(move |c| {
                    let mode = SuiteMode::Required;
                    SuitePage { company: t, csrf: t, bound: Some(t), mode, ..SuitePage::default() }.html(c)
                }),
            ),
            ("admin-users", Box::new(move |c| self.users(c))),
            (
                "trial",
                Box::new(move |c| {
                    TrialPage {
                        company: t,
                        issuer: t,
                        subject: t,
                        username: Some(t),
                        counts: true,
                        back: Some("/.zonegate/admin/sso"),
                    }
                    .html(c)
                }),
            ),
            ("provider-error", Box::new(move |c| failed(FailedAtProvider::LogIn, t).html(c))),
            ("provider-error-suite", Box::new(move |c| failed(FailedAtProvider::Binding, t).html(c))),
            (
                "provider-error-trial",
                Box::new(move |c| {
                    failed(FailedAtProvider::Trial { reason: "code_refused", detail: Some(t) }, t).html(c)
                }),
            ),
            (
                "new-qr-proof",
                Box::new(move |c| {
                    NewQrPage { username: t, csrf: t, error: Some("m2"), ..NewQrPage::default() }.html(c)
                }),
            ),
            (
                "new-qr-first",
                Box::new(move |c| NewQrPage { username: t, first: true, csrf: t, ..NewQrPage::default() }.html(c)),
            ),
            (
                "new-qr",
                Box::new(move |c| NewQrPage { sealed: t, uri, key, csrf: t, ..NewQrPage::default() }.html(c)),
            ),
            ("forbidden", Box::new(move |c| ForbiddenPage { username: Some(t), reference: "48e9a6c2" }.html(c))),
            ("forbidden-nobody", Box::new(|c| ForbiddenPage { username: None, reference: "48e9a6c2" }.html(c))),
            (
                "error",
                Box::new(move |c| {
                    ErrorPage {
                        texts: ("error.502.title", "error.502.text"),
                        reference: "48e9a6c2c3f6f9420000000000000006",
                        back: Some("/.zonegate/login"),
                    }
                    .html(c)
                }),
            ),
        ]
    }
}

fn failed<'a>(failed: FailedAtProvider<'a>, text: &'a str) -> ProviderErrorPage<'a> {
    ProviderErrorPage { failed, refusal: Refusal::NotConfirmed, reference: "48e9a6c2", again: Some(text) }
}

fn brand() -> Brand {
    let link = |path: &str| Some(format!("https://acme.example/{path}"));
    Brand {
        links: Links { status: link("status"), privacy: link("privacy"), help: link("help") },
        ..Brand::default()
    }
}

#[test]
fn w9_nothing_that_a_stranger_wrote_becomes_markup() {
    let brand = Brand { product: HOSTILE.into(), ..brand() };
    let assets = Assets::of(&brand);
    for language in Language::ALL {
        let chrome =
            Chrome { brand: &brand, assets: &assets.paths, language, zone: Some(HOSTILE), suite: Some(HOSTILE) };
        for (name, page) in (Sample { text: HOSTILE }).pages() {
            let html = page(&chrome);
            assert!(!html.contains("<script>alert"), "{name} {language:?}");
            assert!(!html.contains("alert(\"'"), "{name} {language:?}: an attribute could be left");
        }
    }
}

#[test]
fn every_page_is_whole_and_needs_nothing_inline() {
    let (brand, sample) = (brand(), Sample { text: "alice@acme.example" });
    let assets = Assets::of(&brand);
    for language in Language::ALL {
        let chrome = Chrome {
            brand: &brand,
            assets: &assets.paths,
            language,
            zone: Some("Acme Desk East"),
            suite: Some("AcmeOne"),
        };
        for (name, page) in sample.pages() {
            let html = page(&chrome);
            let what = format!("{name} {language:?}");
            assert!(
                html.ends_with("</html>") && html.contains(&format!("<html lang=\"{}\"", language.tag())),
                "{what}"
            );
            assert_eq!(html.matches("<h1").count(), 1, "{what}: one heading");
            // Each piece but the first begins with an id.
            let mut ids: Vec<_> = html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
            ids.sort_unstable();
            assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{what}: an id is there twice: {ids:?}");
            // Whoever is logged in can log out wherever they are (SEC-R36), and get back to what they came from.
            if name.starts_with("admin") || name.starts_with("account") {
                for way in ["id=\"logout\"", "id=\"back\""] {
                    assert!(html.contains(way), "{what}: {way}");
                }
            }
            for inline in [" style=", "<style", "javascript:", " onclick", " onload"] {
                assert!(!html.contains(inline), "{what}: {inline} is against the policy");
            }
            assert!(html.contains("id=\"link-status\""), "{what}: R42 asks for the status link");
            // An id of a text that does not exist shows itself.
            for id in [
                "footer.",
                "account.",
                "error.4",
                "error.5",
                "m1<",
                "username.t",
                "code.",
                "enrol.",
                "admin.",
                "trial.",
            ] {
                assert!(!html.contains(&format!(">{id}")), "{what}: a text is missing ({id})");
            }
            if let Ok(folder) = std::env::var("ZONEGATE_DUMP_PAGES") {
                dump(&folder, &format!("{name}-{}", language.tag()), &html, &assets);
            }
        }
    }
}

/// What stands around a page of no zone, where there is a suite.
fn beside_suite<'a>(brand: &'a Brand, assets: &'a Assets) -> Chrome<'a> {
    Chrome { brand, assets: &assets.paths, language: Language::En, zone: None, suite: Some("AcmeOne") }
}

#[test]
fn enter_in_a_field_clicks_nothing_that_removes_or_ends_something() {
    let (brand, sample) = (brand(), Sample { text: "alice@acme.example" });
    let assets = Assets::of(&brand);
    let chrome = beside_suite(&brand, &assets);
    let mut tables = 0;
    for (name, page) in sample.pages() {
        let html = page(&chrome);
        for form in html.split("<form").skip(1).map(|rest| rest.split("</form>").next().unwrap()) {
            let typed = ["text", "password", "email", "search"];
            if !typed.iter().any(|kind| form.contains(&format!("type=\"{kind}\""))) {
                continue;
            }
            // What a browser takes Enter for (HTML, "implicit submission").
            let default = form.split("<button").nth(1).map(|rest| rest.split('>').next().unwrap());
            let harmless = default.is_none_or(|tag| !tag.contains("danger") && !tag.contains("end-others"));
            assert!(harmless, "{name}: <button{}>", default.unwrap_or_default());
            tables += usize::from(default == Some(" hidden disabled"));
        }
    }
    assert_eq!(tables, 5, "sessions, links, the provider's people, who is exempt, the suite's people");
}

#[test]
fn m24_where_the_suite_is_required_enter_takes_its_button() {
    let brand = brand();
    let assets = Assets::of(&brand);
    let chrome = beside_suite(&brand, &assets);
    for (needs_suite, order) in [(true, ["suite", "continue"]), (false, ["continue", "suite"])] {
        let html = UsernamePage { needs_suite, ..UsernamePage::default() }.html(&chrome);
        let buttons: Vec<_> = html.split("<button").skip(1).map(|rest| rest.split('>').next().unwrap()).collect();
        assert_eq!(buttons.len(), 2, "{html}");
        for (button, id) in buttons.iter().zip(order) {
            assert!(button.contains(&format!("id=\"{id}\"")), "{needs_suite}: {buttons:?}");
        }
        assert!(buttons[0].contains("class=\"primary\""), "{needs_suite}: {buttons:?}");
        assert_eq!(html.matches("autofocus").count(), 1);
        assert_eq!(buttons[0].contains("autofocus"), needs_suite, "else it is in the username");
    }
}

#[test]
fn one_hour_is_no_hours() {
    let brand = brand();
    let assets = Assets::of(&brand);
    let check = |language, seconds, want: &str| {
        let chrome = Chrome { brand: &brand, assets: &assets.paths, language, zone: None, suite: None };
        assert_eq!(chrome.duration(seconds), want, "{language:?} {seconds}");
    };
    for (seconds, english, german) in [
        (60, "1 minute", "1 Minute"),
        (61, "2 minutes", "2 Minuten"),
        (3600, "1 hour", "1 Stunde"),
        (5400, "90 minutes", "90 Minuten"),
        (8 * 3600, "8 hours", "8 Stunden"),
    ] {
        check(Language::En, seconds, english);
        check(Language::De, seconds, german);
    }
}

#[test]
fn r41_password_managers_find_both_fields_on_both_pages() {
    let brand = brand();
    let assets = Assets::of(&brand);
    let chrome = Chrome { brand: &brand, assets: &assets.paths, language: Language::En, zone: None, suite: None };
    let first = UsernamePage { flow: "f", ..UsernamePage::default() }.html(&chrome);
    let second = PasswordPage { flow: "f", username: "a@b.example", ..PasswordPage::default() }.html(&chrome);
    for (page, html) in [("P1", &first), ("P2", &second)] {
        assert!(
            html.contains("autocomplete=\"username\"") && html.contains("autocomplete=\"current-password\""),
            "{page}"
        );
        assert_eq!(html.matches("<form").count(), 1, "{page}: one form");
    }
    assert!(second.contains("value=\"a@b.example\" readonly"), "P2 shows the username read-only (R40)");
    assert!(CodePage::default().html(&chrome).contains("autocomplete=\"one-time-code\""));
}

#[test]
fn trap_32_wherever_a_password_is_asked_for_a_manager_finds_whose_it_is() {
    let (brand, sample) = (brand(), Sample { text: "alice@acme.example" });
    let assets = Assets::of(&brand);
    let chrome = beside_suite(&brand, &assets);
    let mut asked = 0;
    for (name, page) in sample.pages() {
        let html = page(&chrome);
        for form in html.split("<form").skip(1).map(|rest| rest.split("</form>").next().unwrap()) {
            if !form.contains("autocomplete=\"current-password\"") {
                continue;
            }
            asked += 1;
            let whose = form.split('<').find(|tag| tag.contains("autocomplete=\"username\""));
            let whose = whose.unwrap_or_else(|| panic!("{name} does not say whose password: {form}"));
            assert!(!whose.contains("type=\"hidden\""), "{name}: <{whose}");
            let is_page_1 = name.starts_with("username");
            assert!(is_page_1 || whose.contains("readonly"), "{name}: <{whose}");
            assert!(is_page_1 || whose.contains("value=\"alice@acme.example\""), "{name}: <{whose}");
            // A field of the form's own has that name, and a form has no name twice.
            assert!(form.matches(" name=\"username\"").count() <= 1, "{name}: {form}");
        }
    }
    assert!(asked >= 12, "{asked}");
}

#[test]
fn r42_the_status_link_is_the_last_of_the_page_at_its_right() {
    let (brand, sample) = (brand(), Sample { text: "alice@acme.example" });
    let assets = Assets::of(&brand);
    let chrome = Chrome { brand: &brand, assets: &assets.paths, language: Language::En, zone: None, suite: None };
    for (name, page) in sample.pages() {
        let html = page(&chrome);
        let footer = html.split("<footer>").nth(1).unwrap_or_else(|| panic!("{name} has no footer"));
        let want = "<a class=\"status\" href=\"https://acme.example/status\" id=\"link-status\">System status</a>\n\
                    </footer>\n</body>\n</html>";
        assert!(footer.ends_with(want), "{name}: {footer}");
    }
    let style = assets.find(assets.paths.stylesheet.rsplit('/').next().unwrap()).unwrap();
    let style = std::str::from_utf8(&style.bytes).unwrap();
    assert!(style.contains("footer .status { margin-left: auto; }"), "pushed to the right");
    assert!(style.contains("grid-template: auto 1fr auto"), "and the footer to the bottom");
}

#[test]
fn r120_the_menus_files_keep_their_names_and_whoever_has_an_old_one_can_tell() {
    let before = Assets::of(&brand());
    let after = Assets::of(&Brand { accent: "#7a1f5c".parse().unwrap(), ..brand() });
    let tag = |assets: &Assets, name: &str| assets.find(name).unwrap().tag.clone().unwrap();
    assert_eq!(tag(&before, "menu.js"), tag(&after, "menu.js"));
    assert_ne!(tag(&before, "menu.css"), tag(&after, "menu.css"), "the brand's colours are in it");
    let look = String::from_utf8(after.find("menu.css").unwrap().bytes.clone()).unwrap();
    assert!(look.starts_with(".root{--accent:#7a1f5c;"), "{look}");
    let lasting = |file: &&Asset| file.tag.is_some();
    assert_eq!(before.files.iter().filter(lasting).count(), 2, "of all others the name changes with the content");
}

/// Writes a page beside its assets, so that a browser shows it from the folder.
fn dump(folder: &str, name: &str, html: &str, assets: &Assets) {
    let folder = std::path::Path::new(folder);
    std::fs::create_dir_all(folder).unwrap();
    for asset in &assets.files {
        std::fs::write(folder.join(&asset.name), &asset.bytes).unwrap();
    }
    std::fs::write(folder.join(format!("{name}.html")), html.replace("/.zonegate/assets/", "")).unwrap();
}
