//! A path that everybody reads the same way, or none; and whether it is one of ours.

use http::StatusCode;

use super::{Reason, Refused};
use crate::base::{hex_digit, is_gateway_path};
use crate::gate::{Place, Refusal};

/// A path that everybody reads the same way, or none (M9).
///
/// Refused: bytes that are not visible ASCII, a fragment, backslashes, empty or dot segments (also before `;`), and
/// escapes of any of these or of what is not UTF-8.
pub fn check_path(raw: &[u8]) -> Result<(), Refused> {
    if is_simple_path(raw) || is_unambiguous(raw) {
        Ok(())
    } else {
        Err(Refused::new(StatusCode::BAD_REQUEST, Reason::Refusal(Refusal::AmbiguousPath)))
    }
}

/// What a byte is in a path that needs no second look.
#[derive(Clone, Copy)]
enum PathByte {
    /// Of a name.
    Plain,
    /// A slash or a dot: odd behind a slash.
    Separator,
    /// The query begins.
    Query,
    /// It may be there, in some places.
    Doubtful,
    /// It may be nowhere.
    Never,
}

const PATH_BYTES: [PathByte; 256] = {
    let mut table = [PathByte::Never; 256];
    let mut byte = 0;
    while byte < table.len() {
        #[expect(clippy::indexing_slicing, reason = "the loop ends with the table")]
        {
            table[byte] = match byte as u8 {
                b'/' | b'.' => PathByte::Separator,
                b'?' => PathByte::Query,
                b'\\' | b'%' | b';' => PathByte::Doubtful,
                b'#' | 0..0x21 | 0x7f.. => PathByte::Never,
                _ => PathByte::Plain,
            };
        }
        byte += 1;
    }
    table
};

fn path_byte(byte: u8) -> PathByte {
    PATH_BYTES.get(usize::from(byte)).copied().unwrap_or(PathByte::Never)
}

/// Whether a path is so plain that one look at each byte settles it, as nearly all are. Of any other one
/// [`is_unambiguous`] decides: this only spares its passes, and says yes to nothing that it would refuse.
fn is_simple_path(raw: &[u8]) -> bool {
    let mut bytes = raw.iter().copied();
    if bytes.next() != Some(b'/') {
        return false;
    }
    let mut behind_slash = true;
    while let Some(byte) = bytes.next() {
        match path_byte(byte) {
            PathByte::Plain => behind_slash = false,
            PathByte::Separator if behind_slash => return false,
            PathByte::Separator => behind_slash = byte == b'/',
            PathByte::Query => return bytes.all(|byte| !matches!(path_byte(byte), PathByte::Never)),
            PathByte::Doubtful | PathByte::Never => return false,
        }
    }
    true
}

/// [`check_path`] in full.
fn is_unambiguous(raw: &[u8]) -> bool {
    let path = raw.split(|byte| *byte == b'?').next().unwrap_or_default();
    let visible = raw.iter().all(|byte| (0x21..=0x7e).contains(byte) && *byte != b'#');
    if !visible || path.first() != Some(&b'/') || path.contains(&b'\\') {
        // `OPTIONS *` asks about the server, and the server is not the application.
        return false;
    }
    // Before the first slash stands nothing.
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        let empty_inside = segment.is_empty() && segments.peek().is_some();
        if empty_inside || name == b"." || name == b".." {
            return false;
        }
    }
    !path.contains(&b'%') || escapes_are_harmless(path)
}

fn escapes_are_harmless(path: &[u8]) -> bool {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(hex_digit);
        let (Some(high), Some(low)) = (digit(), digit()) else { return false };
        let byte = high << 4 | low;
        if byte < 0x20 || matches!(byte, b'/' | b'\\' | b'.' | b'%' | 0x7f) {
            return false;
        }
        decoded.push(byte);
    }
    std::str::from_utf8(&decoded).is_ok()
}

/// Whether a path that was refused has a control byte in it, or its escape: pingora has made the one of the other, and to
/// others the target ends there, and what they take for the version and the next lines is in doubt (M1).
pub(super) fn has_control(target: &[u8]) -> bool {
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let escaped = |three: &[u8]| matches!(three, [b'%', b'0' | b'1', _] | [b'%', b'7', b'f' | b'F']);
    path.iter().any(u8::is_ascii_control) || path.windows(3).any(escaped)
}

/// Whose path it is. `raw` has passed [`check_path`].
pub fn place(raw: &[u8]) -> Place {
    if is_gateway_path(raw) { Place::Ours } else { Place::Application }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn m9_paths_that_somebody_could_read_differently_are_refused() {
        for path in [
            "",
            "*",
            "x",
            "//",
            "/a//b",
            "/./a",
            "/a/..",
            "/a/../b",
            "/a/.;x/b",
            "/..;/a",
            "/a\\b",
            "/a#b",
            "/a b",
            "/%2e%2e/a",
            "/a%2fb",
            "/a%5Cb",
            "/a%00",
            "/a%0ab",
            "/a%7f",
            "/%c0%ae",
            "/a%",
            "/a%2",
            "/a%zz",
            "/%252e/",
            "/\u{e9}",
            "/a\tb",
        ] {
            assert!(check_path(path.as_bytes()).is_err(), "{path:?}");
        }
        for path in [
            "/",
            "/a/b",
            "/a/",
            "/a/b?x=/../&y=%2e",
            "/caf%C3%A9",
            "/a%20b",
            "/a;v=1/b",
            "/.hidden",
            "/a..b",
            "/...",
            "/~a",
        ] {
            assert_eq!(check_path(path.as_bytes()), Ok(()), "{path:?}");
        }
    }

    proptest! {
        /// The short way says yes to nothing that the whole check refuses.
        #[test]
        fn m9_a_simple_path_is_one_in_full(
            odd in "[/.?%;#\\\\a2e\t\u{e9}]{0,12}", plain in "/[a-z/.]{0,9}(\\?[a-z%=/]{0,5})?",
        ) {
            for path in [odd, plain] {
                prop_assert!(!is_simple_path(path.as_bytes()) || is_unambiguous(path.as_bytes()), "{:?}", path);
            }
        }
    }

    #[test]
    fn most_paths_are_simple() {
        for path in ["/", "/tickets/42?view=full", "/a/", "/a.b/c_d-e~f", "/a?b=/../%2e;c"] {
            assert!(is_simple_path(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn our_paths_are_ours_in_every_spelling() {
        for path in [
            "/.zonegate",
            "/.zonegate/",
            "/.zonegate/login?x",
            "/.ZoneGate/login",
            "/%2Ezonegate/login",
            "/.zone%67ate/login",
            "/.zonegate;x=y/login",
            "/.zonegate./login",
            "/.zonegate%20/x",
            "/.well-known/zonegate/jwks.json",
            "/.Well-Known/ZONEGATE/jwks.json",
        ] {
            assert_eq!(place(path.as_bytes()), Place::Ours, "{path:?}");
        }
        for path in ["/", "/zonegate", "/.zonegated", "/a/.zonegate/", "/.well-known/security.txt", "/.zonegate-x"]
        {
            assert_eq!(place(path.as_bytes()), Place::Application, "{path:?}");
        }
    }

    #[test]
    fn m1_a_control_byte_in_a_path_is_seen() {
        for path in ["/a\tb", "/\u{7f}", "/a%09b", "/%00", "/%1F?x", "/%7f"] {
            assert!(has_control(path.as_bytes()), "{path:?}");
        }
        for path in ["/a%20b", "/%2e", "/a?b=%0d%0a", "/%7e", "/%"] {
            assert!(!has_control(path.as_bytes()), "{path:?}");
        }
    }
}
