//! The store, held to its promises.
