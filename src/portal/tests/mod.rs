//! The portal in process: a real store, real sessions, no socket.

mod account;
mod administration;
mod again;
pub(super) mod fixture;
mod launcher;
mod login;
mod native;
mod slots;
mod suite_administration;
