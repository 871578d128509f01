//! The command line.

pub mod demo;
mod disk;
