//! Master URLs.
