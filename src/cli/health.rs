//! `zonegate health`: whether the running gateway does its work, for containers, scripts and people in a hurry.
//!
//! Ends with 0 when it is ready, with 1 when it is not or does not answer, and with 2 when nobody can be asked.

use super::admin::Admin;
use super::operator::Configuration;
use super::{CommandProblem, say};

pub(super) fn run(configuration: &Configuration) -> Result<(), CommandProblem> {
    let admin = Admin::of(configuration, None)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    say(runtime.block_on(admin.health())?.trim_end())
}
