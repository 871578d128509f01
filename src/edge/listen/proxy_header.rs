//! The PROXY protocol (HAProxy's specification, versions 1 and 2): who is behind a balancer that passes connections on.
//!
//! Only peers that the operator listed are read this way, and from them the header is required. From anybody else it
//! is not looked for ("the receiver MUST not try to guess"): there it is the beginning of a TLS handshake or of a
//! request, and fails as one (M12).

use std::net::{IpAddr, SocketAddr};

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest header of version 1, its line end included (specification, section 2.1).
const TEXT_BYTES_MAX: usize = 107;
/// The longest header of version 2: addresses, and room for what cloud balancers add. The format would allow 64 KiB.
const BINARY_BYTES_MAX: usize = 4096;
/// What a header of version 2 begins with: twelve fixed bytes, version, family, and the length of the rest.
const BINARY_BEGINNING_BYTES: usize = 16;

/// Why a listed peer's connection was not taken.
#[derive(Debug, thiserror::Error)]
pub enum HeaderFault {
    /// It sent something else.
    #[error(
        "a peer of listen.proxy_protocol_from sent no PROXY header that can be read (version 1 or 2, TCP): switch it on \
         there, or take the peer out of the list"
    )]
    Malformed,
    /// It sent nothing, or left.
    #[error("a peer of listen.proxy_protocol_from broke off: {0}")]
    Broken(#[from] std::io::Error),
}

/// Reads the header, and not a byte more. `None`: the balancer itself connects (`LOCAL`), or cannot say who does.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, HeaderFault> {
    let mut header = vec![0; BINARY_BEGINNING_BYTES];
    // Every header of either version is longer than this.
    let beginning = header.get_mut(..1).unwrap_or_default();
    stream.read_exact(beginning).await?;
    match header.first() {
        Some(b'\r') => {
            let rest = header.get_mut(1..).unwrap_or_default();
            stream.read_exact(rest).await?;
            let length = match header.get(BINARY_BEGINNING_BYTES - 2..) {
                Some([high, low]) => usize::from(u16::from_be_bytes([*high, *low])),
                Some(_) | None => return Err(HeaderFault::Malformed),
            };
            if BINARY_BEGINNING_BYTES + length > BINARY_BYTES_MAX {
                return Err(HeaderFault::Malformed);
            }
            header.resize(BINARY_BEGINNING_BYTES + length, 0);
            let rest = header.get_mut(BINARY_BEGINNING_BYTES..).unwrap_or_default();
            stream.read_exact(rest).await?;
        }
        Some(b'P') => {
            header.truncate(1);
            while header.last() != Some(&b'\n') {
                if header.len() == TEXT_BYTES_MAX {
                    return Err(HeaderFault::Malformed);
                }
                header.push(stream.read_u8().await?);
            }
        }
        Some(_) | None => return Err(HeaderFault::Malformed),
    }
    source(&header)
}

/// Whom a whole header names.
fn source(header: &[u8]) -> Result<Option<IpAddr>, HeaderFault> {
    let text = header.first() == Some(&b'P');
    if text && !header.starts_with(b"PROXY ") {
        return Err(HeaderFault::Malformed);
    }
    let config = ParseConfig { include_tlvs: true, allow_v1: text, allow_v2: !text };
    let (parsed, length) = ProxyHeader::parse(header, config).map_err(|_| HeaderFault::Malformed)?;
    if length != header.len() || parsed.tlvs().any(|tlv| tlv.is_err()) {
        return Err(HeaderFault::Malformed);
    }
    match parsed.proxied_address() {
        None => Ok(None),
        Some(address) if address.protocol == Protocol::Stream => Ok(Some(SocketAddr::ip(&address.source))),
        Some(_) => Err(HeaderFault::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        header.extend(rest);
        header
    }

    /// What is read of `sent`, a byte at a time, and what is left of it.
    async fn check(sent: &[u8]) -> (Result<Option<String>, ()>, usize) {
        let (mut client, mut stream) = tokio::io::duplex(1);
        let send = async move {
            // What was refused early is not read to its end.
            let _ = client.write_all(sent).await;
        };
        let receive = async {
            let read = read(&mut stream).await.map(|found| found.map(|address| address.to_string()));
            let mut left = Vec::new();
            stream.read_to_end(&mut left).await.unwrap();
            (read.map_err(|_| ()), left)
        };
        let ((), (read, left)) = tokio::join!(send, receive);
        (read, left.len())
    }

    #[tokio::test]
    async fn m12_both_versions_name_the_client_and_leave_what_follows() {
        let v4 = [203, 0, 113, 7, 192, 0, 2, 1, 0xdc, 4, 1, 0xbb];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        v6[15] = 9;
        let tlv = [&v4[..], &[4, 0, 2, 0, 0]].concat();
        for (header, want) in [
            (b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n".to_vec(), Some("203.0.113.7")),
            (b"PROXY TCP6 2001:db8::9 ::1 56324 443\r\n".to_vec(), Some("2001:db8::9")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (binary(0x21, 0x11, &v4), Some("203.0.113.7")),
            (binary(0x21, 0x11, &tlv), Some("203.0.113.7")),
            (binary(0x21, 0x21, &v6), Some("2001:db8::9")),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ] {
            let sent = [&header[..], b"hello"].concat();
            assert_eq!(check(&sent).await, (Ok(want.map(str::to_owned)), 5), "{}", header.escape_ascii());
        }
    }

    #[tokio::test]
    async fn m12_what_is_not_a_whole_right_header_is_refused() {
        let v4 = [203, 0, 113, 7, 192, 0, 2, 1, 0xdc, 4, 1, 0xbb];
        let long = format!("PROXY TCP4 203.0.113.7 192.0.2.1 56324 {}443\r\n", "0".repeat(80));
        for header in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"\x16\x03\x01\x02\x00\x01",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\n",
            b"PROXY TCP4 203.0.113.300 192.0.2.1 56324 443\r\n",
            b"PROXY TCP4 2001:db8::9 ::1 56324 443\r\n",
            b"PROXYxTCP4 203.0.113.7 192.0.2.1 56324 443\r\n",
            b"PROXY UDP4 203.0.113.7 192.0.2.1 56324 443\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 56324\r\n",
            b"PROXY TCP4 203.0.113.7",
            long.as_bytes(),
            &binary(0x21, 0x12, &v4),
            &binary(0x11, 0x11, &v4),
            &binary(0x22, 0x11, &v4),
            &binary(0x21, 0x41, &v4),
            &binary(0x21, 0x11, &v4[..8]),
            &binary(0x21, 0x11, &[&v4[..], &[4, 0, 9, 0]].concat()),
            &binary(0x21, 0x11, &vec![0; 5000]),
            &binary(0x21, 0x11, &v4)[..20],
            b"",
        ] {
            let (read, _) = check(header).await;
            assert_eq!(read, Err(()), "{}", header.escape_ascii());
        }
    }
}
