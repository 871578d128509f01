//! A head that passes means one path, to whoever decodes and normalises it, and one length (M3, M9).
#![no_main]

use libfuzzer_sys::fuzz_target;
use pingora::http::RequestHeader;
use zonegate::config::Limits;
use zonegate::edge::hygiene::{check_head, host, place};
use zonegate::gate::Place;

/// Decodes until nothing changes, drops parameters and cases, and resolves dots: the most that somebody might do.
fn most_normalised(path: &[u8]) -> Vec<Vec<u8>> {
    let mut bytes = path.to_vec();
    loop {
        let mut decoded = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
            match hex.filter(|_| bytes[at] == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                Some(byte) => {
                    decoded.push(byte);
                    at += 3;
                }
                None => {
                    decoded.push(bytes[at]);
                    at += 1;
                }
            }
        }
        if decoded == bytes {
            break;
        }
        bytes = decoded;
    }
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in bytes.split(|byte| matches!(byte, b'/' | b'\\')) {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default().to_ascii_lowercase();
        match name.as_slice() {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            _ => segments.push(name),
        }
    }
    segments
}

fn is_ours(segments: &[Vec<u8>]) -> bool {
    let plain = |segment: &[u8]| -> Vec<u8> {
        let end = segment.iter().rposition(|byte| !matches!(byte, b'.' | b' ')).map_or(0, |end| end + 1);
        segment[..end].to_vec()
    };
    match segments {
        [first, ..] if plain(first) == b".zonegate" => true,
        [first, second, ..] => plain(first) == b".well-known" && plain(second) == b"zonegate",
        _ => false,
    }
}

fuzz_target!(|input: (&str, &[u8], Vec<(&str, &[u8])>)| {
    let (method, target, fields) = input;
    let Ok(mut head) = RequestHeader::build(method, target, None) else { return };
    for (name, value) in fields {
        // Names must live as long as the program; a few hundred letters a run are no leak that matters.
        let _ = head.append_header(name.to_owned(), value);
    }
    head.set_version(http::Version::HTTP_11);
    let Ok(fields) = check_head(&head, || Vec::new().into(), &Limits::default()) else { return };
    let _ = host(&head, &fields);
    let raw = head.raw_path();
    let path = raw.split(|byte| *byte == b'?').next().unwrap_or_default();
    let segments = most_normalised(path);
    // Nothing was resolved away: as many segments as slashes say.
    let named = path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()).count();
    let parameters_alone = path.split(|byte| *byte == b'/').filter(|segment| segment.first() == Some(&b';')).count();
    assert_eq!(segments.len() + parameters_alone, named, "{:?}", path.escape_ascii().to_string());
    assert_eq!(place(raw) == Place::Ours, is_ours(&segments), "{:?}", path.escape_ascii().to_string());
    let lengths: Vec<_> = head.headers.get_all("content-length").iter().collect();
    assert!(lengths.len() < 2 && lengths.iter().all(|length| length.as_bytes().iter().all(u8::is_ascii_digit)));
    assert!(lengths.is_empty() || head.headers.get("transfer-encoding").is_none());
});
