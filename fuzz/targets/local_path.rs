//! A return target that passes stays on its host, whoever resolves it (W1).
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonegate::base::{LocalPath, is_gateway_path};

fuzz_target!(|text: &str| {
    let Ok(path) = text.parse::<LocalPath>() else { return };
    assert_eq!(path.as_str().parse::<LocalPath>().as_ref(), Ok(&path));
    let base = url::Url::parse("https://desk.example:8443/deep/page?x").unwrap();
    let resolved = base.join(path.as_str()).unwrap();
    assert_eq!(resolved.origin(), base.origin(), "{text:?}");
    assert!(resolved.username().is_empty() && resolved.fragment().is_none(), "{text:?}");
    // To one of ours only in that very spelling.
    let ours = is_gateway_path(resolved.path().as_bytes());
    assert!(!ours || resolved.path() == text && text.starts_with("/.zonegate/a"), "{text:?} leads to {resolved}");
});
