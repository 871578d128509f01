//! What the program tells of itself: the names and fields of security events, and what is counted.
//!
//! A field's type says what may stand in it. There is no field for a password, code, token, cookie or query, so
//! none can be logged (K1). Free text from strangers is cut and escaped here, once (A5).

mod event;
mod meter;
mod trace;

pub use event::{Actor, EventKind, SecurityEvent, Snippet};
pub use meter::{BOUNDS_MICROS, Durations, EventTally};
pub use trace::{SpanName, TraceParent, child, is_sampled};
