//! Our own pages: view models in, HTML out.
//!
//! A page knows what it shows and nothing else: not who asks, not why, not what happens next. Everything is
//! escaped by the template engine; there is no inline script or style, so that the policy the portal sends
//! (`default-src 'none'`) holds. No page needs script: the one file there is adds a "show" switch and nothing more.

mod administration;
mod assets;
mod brand;
mod models;
mod refusal;
mod texts;

pub use administration::{
    AdminPage, ExemptRow, Field, LinkedRow, ProviderFields, ProviderPage, RosterPage, SuitePage, UserRow,
    UsersPage, WrongLine,
};
pub use assets::{Asset, AssetPaths, Assets};
pub use brand::{Brand, Colour, ColourProblem, Links, Logo};
pub use models::{
    AccountPage, AccountsPage, CodePage, Confirm, EnrolPage, EnrolledPage, ErrorPage, FailedAtProvider,
    ForbiddenPage, ForgotPage, HostingPage, InitiatePage, LinkView, LogoutPage, NewQrPage, Page, PasswordPage,
    ProviderErrorPage, ProviderLink, SessionRow, SlotsPage, TrialPage, UsernamePage, ZoneRow,
};
pub use refusal::{Again, Refusal};
pub use texts::{choose_language, is_text_id, text_ids};

use crate::base::UnixTime;
use crate::zone::Language;

/// What surrounds every page.
#[derive(Clone, Copy, Debug)]
pub struct Chrome<'a> {
    /// The installation's face.
    pub brand: &'a Brand,
    /// Where stylesheet, script and logo are.
    pub assets: &'a AssetPaths,
    /// The language the page is in.
    pub language: Language,
    /// The zone's name; none on the universal host.
    pub zone: Option<&'a str>,
    /// What the vendor's suite is called; none where there is none.
    pub suite: Option<&'a str>,
}

impl<'a> Chrome<'a> {
    /// The text of that id, the operator's own wording first, with the names of product and suite filled in.
    pub fn t(&self, id: &'static str) -> String {
        self.fill(id, &[])
    }

    /// The same, with more placeholders filled in.
    pub fn fill(&self, id: &'static str, values: &[(&str, &str)]) -> String {
        let own = self.brand.texts.get(&(self.language, id.to_owned())).map(String::as_str);
        let mut text = own.unwrap_or_else(|| texts::text(self.language, id)).to_owned();
        let always = [("product", self.brand.product.as_str()), ("suite", self.suite.unwrap_or_default())];
        for (name, value) in values.iter().chain(&always) {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        text
    }

    /// A length of time for people: hours where it is whole hours, else minutes.
    pub fn duration(&self, seconds: u32) -> String {
        let (count, one, many) = if seconds.is_multiple_of(3600) {
            (seconds / 3600, "unit.hour", "unit.hours")
        } else {
            (seconds.div_ceil(60), "unit.minute", "unit.minutes")
        };
        self.fill(if count == 1 { one } else { many }, &[("n", &count.to_string())])
    }

    /// A point in time for people: `24 Nov 2026, 09:54 UTC`.
    pub fn time(&self, at: &UnixTime) -> String {
        const MONTHS_EN: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let stamp = i64::try_from(at.seconds()).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
        let Some(stamp) = stamp else { return at.to_string() };
        let civil = jiff::tz::Offset::UTC.to_datetime(stamp);
        let (day, month, year) = (civil.day(), civil.month(), civil.year());
        let (hour, minute) = (civil.hour(), civil.minute());
        match self.language {
            Language::En => {
                let name = usize::try_from(month - 1).ok().and_then(|at| MONTHS_EN.get(at)).copied().unwrap_or("");
                format!("{day} {name} {year}, {hour:02}:{minute:02} UTC")
            }
            Language::De => format!("{day:02}.{month:02}.{year}, {hour:02}:{minute:02} UTC"),
        }
    }

    /// The product's first letter, for the mark where there is no logo.
    pub fn initial(&self) -> String {
        self.brand.product.chars().next().map(|c| c.to_uppercase().to_string()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
