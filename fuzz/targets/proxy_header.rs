//! A PROXY header is read whole and not a byte further, or refused (SEC-R78, M12).
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonegate::edge::proxy_header::read;

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut rest = bytes;
    let read_once = runtime.block_on(read(&mut rest)).ok();
    let Some(named) = read_once else { return };
    let header = &bytes[..bytes.len() - rest.len()];
    // The same header in front of other bytes says the same, and leaves them all.
    let behind = [header, b"\x16\x03\x01 and more"].concat();
    let mut rest = &behind[..];
    assert_eq!(runtime.block_on(read(&mut rest)).ok(), Some(named));
    assert_eq!(rest, b"\x16\x03\x01 and more");
    // And cut short it says nothing.
    let mut short = &header[..header.len() - 1];
    assert!(runtime.block_on(read(&mut short)).is_err());
});
