//! What a client says of its trace is one that an application can be told, or none (W3C Trace Context, level 1).
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonegate::telemetry::TraceParent;

fuzz_target!(|value: &[u8]| {
    let Some(trace) = TraceParent::parse(value) else { return };
    assert!(trace.trace != 0 && trace.span.to_bytes() != [0; 8], "{value:?}");
    let written = trace.to_string();
    assert_eq!(TraceParent::parse(written.as_bytes()), Some(trace), "{value:?}");
    // Behind the version, and before the flags that we do not know.
    assert_eq!(written.as_bytes()[2..52], value[2..52], "{value:?}");
});
