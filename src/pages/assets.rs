//! Stylesheet, script and logo: made once, served under names that change with their content, so that a browser
//! may keep them for ever.

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
        let files = [Some(stylesheet), Some(script), Some(icon), logo].into_iter().flatten().collect();
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

fn asset(stem: &str, ending: &str, content_type: &'static str, bytes: Vec<u8>) -> Asset {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    let mut name = format!("{stem}-");
    for byte in digest.as_ref().iter().take(6) {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name.push('.');
    name.push_str(ending);
    Asset { name, content_type, bytes }
}

/// The stylesheet with the brand's colours put in front.
fn stylesheet(brand: &Brand) -> String {
    format!(
        ":root{{--accent:{};--accent-dark:{};--on-accent:{};--on-accent-dark:{}}}\n{}",
        brand.accent,
        brand.accent_dark,
        "#ffffff",
        "#0d1218",
        include_str!("assets/style.css"),
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
