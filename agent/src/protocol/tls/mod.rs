//! What TLS says in the clear: the first message of each side. Everything after it is ciphertext here; plaintext comes from
//! hooks on libraries, and goes to the other protocols.
//!
//! Nothing here keeps random values, session ids or key shares.

mod beginning;
mod handshake;
pub mod hello;
mod input;
mod mask;

pub use beginning::Beginning;
pub use mask::mask;

use hello::{Hello, Version};

/// What the hellos of a connection say that its spans show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hellos {
    /// The server's name by which the client asks for it (SNI), in lower case.
    pub server_name: Option<String>,
    /// The version that the server chose.
    pub version: Option<Version>,
    /// The protocol that the server chose (ALPN), where that is in the clear: up to TLS 1.2.
    pub protocol: Option<String>,
}

impl Hellos {
    /// Takes over what one side says.
    pub fn learn(&mut self, hello: Hello) {
        match hello {
            Hello::Client(hello) => self.server_name = hello.server_name,
            Hello::Server(hello) => (self.version, self.protocol) = (hello.version, hello.protocol),
        }
    }
}
