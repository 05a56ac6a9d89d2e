//! Physical operators, optimizer rules and their codecs
