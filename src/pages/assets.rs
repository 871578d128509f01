//! Stylesheet, script and logo: made once, served under names that change with their content, so that a browser
//! may keep them for ever.
//!
//! The user menu is for pages that are not ours: an application names its script once and for all, so its two files keep
//! their names, and browsers ask now and then whether they are still the same.

use std::fmt::Write as _;

use super::Brand;

/// A file that pages refer to.
#[derive(Clone, Debug)]
pub struct Asset {
    /// The name below `/.zonegate/assets/`.
    pub name: String,
    /// Its media type.
    pub content_type: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
    /// What tells this content from another under the same name (RFC 9110 section 8.8.3), quotation marks and all. `None`
    /// where the name does.
    pub tag: Option<String>,
}

/// Where pages find them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AssetPaths {
    /// The stylesheet's path.
    pub stylesheet: String,
    /// The script's path.
    pub script: String,
    /// The icon's path.
    pub icon: String,
    /// The logo's path, where the brand has one.
    pub logo: Option<String>,
}

/// All of them, for one brand.
#[derive(Clone, Debug)]
pub struct Assets {
    /// Where pages find them.
    pub paths: AssetPaths,
    /// The files.
    pub files: Vec<Asset>,
    /// The files of the brand before this one: pages that were sent a moment ago still ask for them.
    former: Vec<Asset>,
}

impl Assets {
    /// Makes the files of a brand.
    pub fn of(brand: &Brand) -> Self {
        let stylesheet = asset("style", "css", "text/css; charset=utf-8", stylesheet(brand).into_bytes());
        let script =
            asset("app", "js", "text/javascript; charset=utf-8", include_bytes!("assets/app.js").to_vec());
        let icon = asset("icon", "svg", "image/svg+xml", icon(brand).into_bytes());
        let logo = brand.logo.as_ref().map(|logo| {
            let ending = if logo.content_type == "image/png" { "png" } else { "svg" };
            asset("logo", ending, logo.content_type, logo.bytes.clone())
        });
        let path = |asset: &Asset| format!("/.zonegate/assets/{}", asset.name);
        let paths = AssetPaths {
            stylesheet: path(&stylesheet),
            script: path(&script),
            icon: path(&icon),
            logo: logo.as_ref().map(path),
        };
        let menu_script = include_bytes!("assets/menu.js").to_vec();
        let menu = [
            lasting("menu.js", "text/javascript; charset=utf-8", menu_script),
            lasting("menu.css", "text/css; charset=utf-8", menu_stylesheet(brand).into_bytes()),
        ];
        let files = [stylesheet, script, icon].into_iter().chain(logo).chain(menu).collect();
        Self { paths, files, former: Vec::new() }
    }

    /// Makes the files of a brand that takes the place of another.
    pub fn after(before: &Self, brand: &Brand) -> Self {
        let after = Self::of(brand);
        let former = if after.paths == before.paths { &before.former } else { &before.files };
        Self { former: former.clone(), ..after }
    }

    /// The file of that name.
    pub fn find(&self, name: &str) -> Option<&Asset> {
        self.files.iter().chain(&self.former).find(|file| file.name == name)
    }
}

/// A file whose name changes with its content.
fn asset(stem: &str, ending: &str, content_type: &'static str, bytes: Vec<u8>) -> Asset {
    let name = format!("{stem}-{}.{ending}", fingerprint(&bytes));
    Asset { name, content_type, bytes, tag: None }
}

/// A file that pages of others name.
fn lasting(name: &str, content_type: &'static str, bytes: Vec<u8>) -> Asset {
    let tag = Some(format!("\"{}\"", fingerprint(&bytes)));
    Asset { name: name.into(), content_type, bytes, tag }
}

/// Twelve hexadecimal digits that another content does not have.
fn fingerprint(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut digits = String::new();
    for byte in digest.as_ref().iter().take(6) {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// The stylesheet with the brand's colours put in front.
fn stylesheet(brand: &Brand) -> String {
    format!(":root{{{}}}\n{}", colours(brand), include_str!("assets/style.css"))
}

/// The user menu's, where they are the menu's own and no page's.
fn menu_stylesheet(brand: &Brand) -> String {
    format!(".root{{{}}}\n{}", colours(brand), include_str!("assets/menu.css"))
}

fn colours(brand: &Brand) -> String {
    format!(
        "--accent:{};--accent-dark:{};--on-accent:{};--on-accent-dark:{}",
        brand.accent, brand.accent_dark, "#ffffff", "#0d1218",
    )
}

/// The mark with the product's initial.
fn icon(brand: &Brand) -> String {
    let initial: String = brand
        .product
        .chars()
        .next()
        .filter(|c| c.is_alphanumeric())
        .map(|c| c.to_uppercase().collect())
        .unwrap_or_default();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 64 64\"><rect width=\"64\" height=\"64\" rx=\"16\" \
         fill=\"{}\"/><text x=\"32\" y=\"44\" font-family=\"system-ui,sans-serif\" font-size=\"36\" \
         font-weight=\"700\" text-anchor=\"middle\" fill=\"#fff\">{initial}</text></svg>",
        brand.accent
    )
}
