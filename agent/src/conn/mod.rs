//! Connections: who holds them, between which addresses, and the bytes of each direction in order and without silent
//! gaps. It knows no protocol but for asking which one a connection speaks.
#![forbid(unsafe_code)]

mod choice;
mod hellos;
mod lru;
mod reader;
mod socket;
mod stream;
mod table;

pub(crate) use choice::{Choice, Undecided};
pub use hellos::HELLOS_MAX;
pub(crate) use lru::Lru;
pub use socket::{Family, Origin, Role, Sequences, Socket, SocketEnd};
pub(crate) use stream::Stream;
pub use table::{Closed, Counts, DEFAULT_CAPACITY, EXPIRE_NS, IDLE_NS, Report, Table, Tcp};
