//! What TLS says in the clear: the first message of each side. Everything after it is ciphertext here; plaintext comes from
//! hooks on libraries, and goes to the other protocols.
//!
//! Nothing here keeps random values, session ids or key shares.

mod handshake;
pub mod hello;
mod input;
