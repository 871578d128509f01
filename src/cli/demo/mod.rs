//! `zonegate demo`: everything on loopback, in one command.

mod announce;
mod certs;
mod code;
mod desk;
mod people;
mod place;
mod seed;
