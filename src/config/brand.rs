//! The face of the pages: the application's name, logo, colours, links and texts.
//!
//! What people could not read or follow is refused with the rest of the file, because whoever writes it does not see the page
//! that it is on.

use std::path::Path;

use super::Surroundings;
use super::section::{Scalar, Section, nearest};
use super::settings::path;
use crate::pages::{Brand, Links, Logo, text_ids};
use crate::zone::Language;

pub(super) fn read(section: Section<'_>, directory: &Path, outside: &dyn Surroundings) -> Brand {
    let mut brand = Brand::default();
    if let Some(product) = section.scalar("product") {
        brand.product = product.text.to_owned();
    }
    brand.logo = section.scalar("logo").and_then(|scalar| logo(&section, &scalar, directory, outside));
    brand.accent = section.parsed("accent", brand.accent);
    brand.accent_dark = section.parsed("accent_dark", brand.accent_dark);
    if !brand.accent.readable_on_light() {
        let text = format!(
            "{} is too pale to read on white (WCAG 2.2 asks for 4.5 to 1): choose a darker colour",
            brand.accent
        );
        section.report(section.scalar("accent").map_or(0, |s| s.line), "accent", text);
    }
    if !brand.accent_dark.readable_on_dark() {
        let text = format!("{} is too dark to read on the dark theme: choose a paler colour", brand.accent_dark);
        section.report(section.scalar("accent_dark").map_or(0, |s| s.line), "accent_dark", text);
    }
    let links = section.section("links");
    brand.links =
        Links { status: link(&links, "status"), privacy: link(&links, "privacy"), help: link(&links, "help") };
    links.finish();
    let texts = section.section("texts");
    for language in Language::ALL {
        let of_language = texts.section(language.tag());
        for scalar in of_language.entries() {
            if text_ids().any(|id| id == scalar.key) {
                brand.texts.insert((language, scalar.key.clone()), scalar.text.to_owned());
            } else {
                let text = match nearest(text_ids(), &scalar.key) {
                    Some(near) => format!("is not the id of a text; did you mean {near:?}?"),
                    None => {
                        format!(
                            "is not the id of a text; the ids are {}",
                            text_ids().collect::<Vec<_>>().join(", ")
                        )
                    }
                };
                of_language.report(scalar.line, &scalar.key, text);
            }
        }
    }
    texts.finish();
    section.finish();
    brand
}

fn link(section: &Section<'_>, name: &str) -> Option<String> {
    web_address(section, &section.scalar(name)?).map(String::from)
}

/// Where people can be sent.
pub(super) fn web_address(section: &Section<'_>, scalar: &Scalar<'_>) -> Option<url::Url> {
    match url::Url::parse(scalar.text) {
        Ok(url) if has_person(&url) => {
            section.report_at(scalar, "has a name or a password before an @, and everybody would read it");
            None
        }
        Ok(url) if matches!(url.scheme(), "https" | "http") => Some(url),
        Ok(_) | Err(_) => {
            section.report_at(
                scalar,
                format!("{:?} is not a web address, like https://status.example.com/", scalar.text),
            );
            None
        }
    }
}

/// Whether an address says as whom it is asked.
pub(super) fn has_person(url: &url::Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn logo(section: &Section<'_>, scalar: &Scalar<'_>, directory: &Path, outside: &dyn Surroundings) -> Option<Logo> {
    const LOGO_BYTES_MAX: usize = 256 * 1024;
    let content_type = match Path::new(scalar.text).extension().and_then(|e| e.to_str()) {
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => {
            section.report_at(scalar, format!("{:?} is neither an .svg nor a .png file", scalar.text));
            return None;
        }
    };
    match outside.read(&path(directory, scalar.text)) {
        Ok(bytes) if bytes.len() <= LOGO_BYTES_MAX => Some(Logo { content_type, bytes }),
        Ok(_) => {
            section.report_at(scalar, "is larger than 256 KiB: every log-in page loads it");
            None
        }
        Err(text) => {
            section.report_at(scalar, text);
            None
        }
    }
}
