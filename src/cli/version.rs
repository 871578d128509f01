//! `zonegate version`: which one this is, and whether it may stand in front of an application that matters.

use super::{CommandProblem, say};

pub(super) fn run() -> Result<(), CommandProblem> {
    say(format_args!("zonegate {}", env!("CARGO_PKG_VERSION")))?;
    let clock = if cfg!(feature = "test-clock") {
        "test (whoever reaches the admin listener sets the time: not for production)"
    } else {
        "the system's"
    };
    say(format_args!("clock: {clock}"))?;
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    say(format_args!("build: {build}, {}-{}", std::env::consts::ARCH, std::env::consts::OS))?;
    Ok(())
}
