//! Broken files and whole ones.
