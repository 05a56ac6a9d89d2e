//! URLs to object stores, listings and formats
