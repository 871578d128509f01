//! What passes never folds to a protected name, and folding never un-protects one (H1, H2).
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonegate::assertion::{ASSERTION_HEADER, PRESET_HEADERS, is_protected};
use zonegate::zone::{HeaderPreset, IdentityField};

fuzz_target!(|name: &str| {
    let Ok(name) = http::HeaderName::from_bytes(name.as_bytes()) else { return };
    let custom = HeaderPreset::Custom(vec![(http::HeaderName::from_static("my-app-user"), IdentityField::Username)].into());
    for preset in [HeaderPreset::Default, custom] {
        let passes = !is_protected(name.as_str(), &preset);
        // What CGI, WSGI and their stricter kin make of a name, each in its own way.
        let folds: [fn(char) -> char; 3] = [
            |c| if c == '_' { '-' } else { c.to_ascii_lowercase() },
            |c| if matches!(c, '_' | '.' | ' ') { '-' } else { c.to_ascii_lowercase() },
            |c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' },
        ];
        for fold in folds {
            let folded: String = name.as_str().chars().map(fold).collect();
            let trimmed = folded.trim_end_matches('-');
            let known = PRESET_HEADERS.iter().chain([&ASSERTION_HEADER]).any(|known| known.as_str() == trimmed);
            let own = matches!(preset, HeaderPreset::Custom(_)) && trimmed == "my-app-user";
            assert!(!(passes && (known || own)), "{name} passes and is {trimmed}");
            assert_eq!(passes, !is_protected(&folded, &preset), "{name} and {folded}");
        }
    }
});
