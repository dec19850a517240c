//! Masks strings of header blocks in place.
