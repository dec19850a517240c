//! HTTP/2 as seen from the middle (RFC 9113).

pub mod hpack;
