//! Every page, rendered.
