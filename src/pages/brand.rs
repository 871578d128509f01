//! What an operator makes of the pages: names, colours, a logo, links and texts.

use std::collections::HashMap;

use crate::zone::Language;

/// The face of an installation. Every field has a default, which is the neutral "Acme Desk" of the demo.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Brand {
    /// The application's name, as the pages and authenticator apps show it.
    pub product: String,
    /// The logo; `None` for a plain mark with the product's initial.
    pub logo: Option<Logo>,
    /// The colour of buttons and links on a light ground.
    pub accent: Colour,
    /// The same on a dark ground.
    pub accent_dark: Colour,
    /// Where the links of the footer lead.
    pub links: Links,
    /// Texts that the operator words differently, by language and id.
    pub texts: HashMap<(Language, String), String>,
}

/// An image that is shown in place of the mark.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Logo {
    /// `image/svg+xml` or `image/png`.
    pub content_type: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Where the links of the footer lead; a link without an address is not shown.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Links {
    /// The public status page (R42).
    pub status: Option<String>,
    /// The privacy policy (R77).
    pub privacy: Option<String>,
    /// Where people find help.
    pub help: Option<String>,
}

/// A colour in the sRGB space, `#rrggbb`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Colour {
    red: u8,
    green: u8,
    blue: u8,
}

/// A text that is not `#rrggbb`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is not a colour of the form #rrggbb")]
pub struct ColourProblem;

/// The grounds of the two themes: what the accents must stand out from.
pub(super) const GROUND_LIGHT: Colour = Colour { red: 0xff, green: 0xff, blue: 0xff };
pub(super) const GROUND_DARK: Colour = Colour { red: 0x17, green: 0x1c, blue: 0x24 };

impl Colour {
    /// The contrast ratio against another colour, from 1 to 21 (WCAG 2.2, "contrast ratio").
    pub fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// Whether the colour is readable as text on the light ground (WCAG 2.2, 1.4.3: 4.5 to 1).
    pub fn readable_on_light(self) -> bool {
        self.contrast(GROUND_LIGHT) >= 4.5
    }

    /// The same for the dark ground.
    pub fn readable_on_dark(self) -> bool {
        self.contrast(GROUND_DARK) >= 4.5
    }

    fn luminance(self) -> f64 {
        let linear = |channel: u8| {
            let share = f64::from(channel) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.red) + 0.7152 * linear(self.green) + 0.0722 * linear(self.blue)
    }
}

impl std::str::FromStr for Colour {
    type Err = ColourProblem;

    fn from_str(text: &str) -> Result<Self, ColourProblem> {
        let digits = text.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()));
        let number = digits.and_then(|d| u32::from_str_radix(d, 16).ok()).ok_or(ColourProblem)?;
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Self { red, green, blue })
    }
}

impl std::fmt::Display for Colour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

impl Default for Brand {
    fn default() -> Self {
        Self {
            product: "Acme Desk".into(),
            logo: None,
            accent: Colour { red: 0x0f, green: 0x5c, blue: 0x6e },
            accent_dark: Colour { red: 0x6f, green: 0xd3, blue: 0xe3 },
            links: Links::default(),
            texts: HashMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_is_what_wcag_says() {
        let colour = |text: &str| text.parse::<Colour>().unwrap();
        assert!((colour("#000000").contrast(colour("#ffffff")) - 21.0).abs() < 0.01);
        assert!((colour("#777777").contrast(colour("#ffffff")) - 4.48).abs() < 0.01);
    }

    #[test]
    fn the_neutral_brand_is_readable_in_both_themes() {
        let brand = Brand::default();
        assert!(brand.accent.readable_on_light() && brand.accent_dark.readable_on_dark());
    }

    #[test]
    fn what_is_not_a_colour_is_refused() {
        for text in ["", "0f5c6e", "#0f5c6", "#0f5c6g", "#0f5c6e00", "teal"] {
            assert_eq!(text.parse::<Colour>(), Err(ColourProblem), "{text:?}");
        }
    }
}
