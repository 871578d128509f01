//! Hexadecimal digits, read in either case.

/// What a digit stands for.
pub fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The bytes that twice as many digits are.
pub fn hex_bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_bytes_as_were_asked_for_or_none() {
        assert_eq!(hex_bytes(b"00fFa9"), Some([0x00, 0xff, 0xa9]));
        assert_eq!(hex_bytes(b""), Some([]));
        for digits in ["0", "00f", "00ff", "00ffa9b", "00ffa9bc", "0xffa9", "00 fa9", "00ffg9", "00ff9\u{e9}"] {
            assert_eq!(hex_bytes::<3>(digits.as_bytes()), None, "{digits:?}");
        }
    }
}
