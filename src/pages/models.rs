//! The pages: one view model each. Fields are what the page shows; the template beside it is how.

use askama::Template;

use super::{Chrome, Refusal};
use crate::base::UnixTime;
use crate::session::Class;

/// Something that can be shown.
pub trait Page {
    /// The page's HTML.
    fn html(&self, chrome: &Chrome<'_>) -> String;
}

/// Joins a view model with what surrounds it. Rendering writes to memory and cannot fail.
macro_rules! page {
    ($model:ident, $view:ident, $path:literal) => {
        #[derive(Template)]
        #[template(path = $path)]
        struct $view<'a> {
            c: &'a Chrome<'a>,
            p: &'a $model<'a>,
        }

        impl Page for $model<'_> {
            fn html(&self, chrome: &Chrome<'_>) -> String {
                $view { c: chrome, p: self }.render().unwrap_or_default()
            }
        }
    };
}
pub(super) use page;

/// A link to a company's provider, beside the username.
#[derive(Clone, Debug, Default)]
pub struct ProviderLink {
    /// The company.
    pub company: String,
    /// Where its people log in.
    pub address: String,
}

/// P1: the username.
#[derive(Clone, Debug, Default)]
pub struct UsernamePage<'a> {
    /// The sealed flow.
    pub flow: &'a str,
    /// What was typed before.
    pub username: &'a str,
    /// What was wrong with it: the id of a message.
    pub error: Option<&'static str>,
    /// What the person should know, such as why their session ended.
    pub notice: Option<String>,
    /// The provider at which this browser goes on.
    pub provider: Option<ProviderLink>,
    /// Whether the suite is the way in (M24): its button comes first then.
    pub needs_suite: bool,
}
page!(UsernamePage, UsernameView, "username.html");

impl UsernamePage<'_> {
    fn is_invalid(&self) -> bool {
        self.error.is_some() && !self.needs_suite
    }

    /// Whether another way in than the username comes first.
    fn is_second(&self) -> bool {
        self.needs_suite || self.provider.is_some()
    }
}

/// P2: the password.
#[derive(Clone, Debug, Default)]
pub struct PasswordPage<'a> {
    /// The sealed flow.
    pub flow: &'a str,
    /// Whose password.
    pub username: &'a str,
    /// Where it begins anew.
    pub back: &'a str,
    /// What was wrong: the id of a message.
    pub error: Option<&'static str>,
}
page!(PasswordPage, PasswordView, "password.html");

/// P3: the code.
#[derive(Clone, Debug, Default)]
pub struct CodePage<'a> {
    /// The sealed flow.
    pub flow: &'a str,
    /// Whose code.
    pub username: &'a str,
    /// Where it begins anew.
    pub back: &'a str,
    /// What was wrong: the id of a message.
    pub error: Option<&'static str>,
}
page!(CodePage, CodeView, "code.html");

/// P6: setting up an authenticator.
#[derive(Clone, Debug, Default)]
pub struct EnrolPage<'a> {
    /// The sealed flow, which carries the secret.
    pub flow: &'a str,
    /// The otpauth URI that the QR code says.
    pub uri: &'a str,
    /// The secret in base32, to be typed.
    pub key: &'a str,
    /// Where it begins anew.
    pub back: &'a str,
    /// What was wrong: the id of a message.
    pub error: Option<&'static str>,
}
page!(EnrolPage, EnrolView, "enrol.html");

impl EnrolPage<'_> {
    fn qr(&self) -> String {
        qr_svg(self.uri)
    }

    fn grouped_key(&self) -> String {
        grouped(self.key)
    }
}

/// P6's confirmation (M13).
#[derive(Clone, Debug, Default)]
pub struct EnrolledPage<'a> {
    /// The sealed flow.
    pub flow: &'a str,
}
page!(EnrolledPage, EnrolledView, "enrolled.html");

/// Which of several accounts (D21).
#[derive(Clone, Debug, Default)]
pub struct AccountsPage<'a> {
    /// The sealed flow.
    pub flow: &'a str,
    /// Their ids and usernames.
    pub accounts: Vec<(String, String)>,
    /// What was wrong: the id of a message.
    pub error: Option<&'static str>,
}
page!(AccountsPage, AccountsView, "accounts.html");

/// One session in a list.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Its id.
    pub id: String,
    /// The device, for people.
    pub device: String,
    /// The address it came from.
    pub address: String,
    /// Which slots it takes.
    pub class: Class,
    /// When it began.
    pub started_at: UnixTime,
    /// When it was last used.
    pub last_seen: UnixTime,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// P8: which session shall end?
#[derive(Clone, Debug, Default)]
pub struct SlotsPage<'a> {
    /// The sealed flow.
    pub flow: &'a str,
    /// The sessions of the class that is full.
    pub sessions: Vec<SessionRow>,
}
page!(SlotsPage, SlotsView, "slots.html");

/// The button that logs out.
#[derive(Clone, Debug, Default)]
pub struct LogoutPage<'a> {
    /// Whose session ends.
    pub username: &'a str,
    /// Proof that the form came from this page.
    pub csrf: &'a str,
}
page!(LogoutPage, LogoutView, "logout.html");

/// One zone in the list of zones.
#[derive(Clone, Debug)]
pub struct ZoneRow {
    /// Its name.
    pub name: String,
    /// Its data centre.
    pub data_centre: String,
    /// Its hostname.
    pub host: String,
    /// Its address.
    pub url: String,
    /// Whom it is for.
    pub description: String,
}

/// P15: where am I hosted? (R11)
#[derive(Clone, Debug, Default)]
pub struct HostingPage<'a> {
    /// The zones, in the order of the configuration.
    pub zones: &'a [ZoneRow],
}
page!(HostingPage, HostingView, "hosting.html");

/// What to do about a forgotten password while no mail is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForgotPage<'a> {
    /// Ties the page to the chrome's lifetime.
    pub marker: std::marker::PhantomData<&'a ()>,
}
page!(ForgotPage, ForgotView, "forgot.html");

/// What a form wants besides its own fields before it is believed (SEC-R36).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Confirm<'a> {
    /// Nothing: the person has shown who they are a moment ago.
    #[default]
    Nothing,
    /// The password of whoever has this username.
    Password(&'a str),
    /// A new log-in, at this address: the person has no password that counts.
    LogIn(&'a str),
}

/// Who a person is at a provider.
#[derive(Clone, Debug)]
pub struct LinkView {
    /// What people know the provider by.
    pub name: String,
    /// The provider.
    pub issuer: String,
    /// Who there.
    pub subject: String,
    /// Since when.
    pub linked_at: UnixTime,
    /// Whether the person may remove it themselves.
    pub removable: bool,
    /// The field that names it in the form.
    pub field: &'static str,
}

/// P13: my settings.
#[derive(Clone, Debug, Default)]
pub struct AccountPage<'a> {
    /// `username@domain`.
    pub username: &'a str,
    /// The name people call the user by.
    pub display_name: &'a str,
    /// The e-mail address.
    pub email: Option<&'a str>,
    /// The company's name.
    pub company: &'a str,
    /// All live sessions of the user.
    pub sessions: Vec<SessionRow>,
    /// Slots of the two classes.
    pub slots: (u8, u8),
    /// Whether an authenticator is set up; `None` for somebody who needs none, because a provider says who they are.
    pub enrolled: Option<bool>,
    /// Who the user is at providers (R6).
    pub links: Vec<LinkView>,
    /// Whether there are pages for administrators to see.
    pub administers: bool,
    /// What ending sessions and links wants besides the form.
    pub confirm: Confirm<'a>,
    /// Proof that forms came from this page.
    pub csrf: &'a str,
    /// What was done: the id of a text.
    pub notice: Option<&'static str>,
    /// What was wrong: the id of a message.
    pub error: Option<&'static str>,
}
page!(AccountPage, AccountView, "account.html");

impl AccountPage<'_> {
    fn may_unlink(&self) -> bool {
        self.links.iter().any(|link| link.removable)
    }

    const fn must_log_in(&self) -> bool {
        matches!(self.confirm, Confirm::LogIn(_))
    }
}

/// P13: a new QR code, behind re-authentication.
#[derive(Clone, Debug, Default)]
pub struct NewQrPage<'a> {
    /// Whose password is asked for.
    pub username: &'a str,
    /// Whether there is no authenticator yet, whose code could be asked for.
    pub first: bool,
    /// The sealed new secret; empty while the person still has to prove who they are.
    pub sealed: &'a str,
    /// The otpauth URI that the QR code says.
    pub uri: &'a str,
    /// The secret in base32, to be typed.
    pub key: &'a str,
    /// Proof that the form came from this page.
    pub csrf: &'a str,
    /// What was wrong: the id of a message.
    pub error: Option<&'static str>,
}
page!(NewQrPage, NewQrView, "new_qr.html");

impl NewQrPage<'_> {
    const fn title(&self) -> &'static str {
        if self.first { "account.newqr.first" } else { "account.newqr.title" }
    }

    fn qr(&self) -> String {
        qr_svg(self.uri)
    }

    fn grouped_key(&self) -> String {
        grouped(self.key)
    }
}

/// A request that came to nothing, told without internals (SEC-R77).
#[derive(Clone, Debug, Default)]
pub struct ErrorPage<'a> {
    /// The ids of title and text.
    pub texts: (&'static str, &'static str),
    /// The request's id, by which an operator finds it in the log.
    pub reference: &'a str,
    /// Where the way back leads; none where there is no log-in page.
    pub back: Option<&'a str>,
}
page!(ErrorPage, ErrorView, "error.html");

/// P14: a provider's answer that came to nothing. What was wrong with it is the log's, and the administrator's, to know.
#[derive(Clone, Debug, Default)]
pub struct ProviderErrorPage<'a> {
    /// What did not come off.
    pub failed: FailedAtProvider<'a>,
    /// What people are told.
    pub refusal: Refusal,
    /// The request's id, by which an operator finds it in the log.
    pub reference: &'a str,
    /// Where another try begins; none where it would begin nowhere else than this one.
    pub again: Option<&'a str>,
}
page!(ProviderErrorPage, ProviderErrorView, "provider_error.html");

/// What somebody went to a provider for, in vain.
#[derive(Clone, Copy, Debug, Default)]
pub enum FailedAtProvider<'a> {
    /// To log in. They learn no more than that.
    #[default]
    LogIn,
    /// To connect their company.
    Binding,
    /// To find out whether the settings are right: what is wrong with them is what they came for.
    Trial {
        /// What the log calls it.
        reason: &'a str,
        /// A stranger's words, made harmless.
        detail: Option<&'a str>,
    },
}

impl FailedAtProvider<'_> {
    const fn title(&self) -> &'static str {
        match self {
            Self::LogIn => "provider.error.title",
            Self::Binding => "admin.suite.bind.failed",
            Self::Trial { .. } => "trial.failed",
        }
    }
}

/// Somebody else's page sent the person here to log in: do they want to?
#[derive(Clone, Debug, Default)]
pub struct InitiatePage<'a> {
    /// The company whose provider it is.
    pub company: &'a str,
    /// Where the form goes.
    pub action: &'a str,
    /// Proof that the form came from this page.
    pub csrf: &'a str,
    /// Where the person is going.
    pub return_to: &'a str,
    /// Whom the provider may suggest.
    pub login_hint: &'a str,
    /// A native client's class, as it was sealed.
    pub client: &'a str,
}
page!(InitiatePage, InitiateView, "initiate.html");

/// What a trial of a provider has shown, for the administrator who started it.
#[derive(Clone, Debug, Default)]
pub struct TrialPage<'a> {
    /// The company.
    pub company: &'a str,
    /// Who the provider is.
    pub issuer: &'a str,
    /// What it calls the person.
    pub subject: &'a str,
    /// What stands in the claim that carries the username; `None` when there is no username in it.
    pub username: Option<&'a str>,
    /// Whether it may be enabled now: the settings were still those that were tried.
    pub counts: bool,
    /// Where an administrator who is logged in here goes on.
    pub back: Option<&'a str>,
}
page!(TrialPage, TrialView, "trial.html");

/// What a rule of the zone does not let this person see, or nobody. It offers to log out and not to log in: who is
/// logged in would be led straight back here.
#[derive(Clone, Debug, Default)]
pub struct ForbiddenPage<'a> {
    /// Who is logged in; `None` for nobody, or where it cannot be said.
    pub username: Option<&'a str>,
    /// The request's id, by which an operator finds it in the log.
    pub reference: &'a str,
}
page!(ForbiddenPage, ForbiddenView, "forbidden.html");

/// The QR code as an image of plain attributes: the policy allows no inline style. White with a quiet zone in both
/// themes, or phones do not read it.
fn qr_svg(text: &str) -> String {
    use qrcode::render::svg;
    let Ok(code) = qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::M) else {
        return String::new();
    };
    let svg = code
        .render::<svg::Color<'_>>()
        .min_dimensions(232, 232)
        .dark_color(svg::Color("#000000"))
        .light_color(svg::Color("#ffffff"))
        .build();
    // An XML declaration has no place inside a page.
    svg.find("<svg").and_then(|at| svg.get(at..)).unwrap_or_default().to_owned()
}

/// `ABCDEFGH` → `ABCD EFGH`, as people read it out.
fn grouped(key: &str) -> String {
    let characters: Vec<char> = key.chars().collect();
    let groups: Vec<String> = characters.chunks(4).map(|group| group.iter().collect()).collect();
    groups.join(" ")
}
