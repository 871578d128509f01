//! A right answer, altered in one thing at a time, and the problem that comes out (group O).

mod answers;
mod keys;
mod logout;
mod provider;
mod published;
mod state;
mod tokens;
