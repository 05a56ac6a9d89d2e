//! Config: see registry.
