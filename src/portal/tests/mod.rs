//! The portal in process: a real store, real sessions, no socket.

pub(super) mod fixture;
