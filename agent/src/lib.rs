//! netspan: from what the kernel saw of sockets to linked spans. `ARCHITECTURE.md` has the map.
//!
//! One direction: [`capture`] decodes events, [`conn`] orders them per connection, [`protocol`] makes exchanges of
//! bytes, [`link`] makes spans of exchanges and finds their parents, [`export`] sends them, [`store`] keeps them, [`api`]
//! and the command line show them.

pub mod api;
pub mod capture;
pub mod cli;
pub mod conn;
pub mod control;
pub mod export;
pub mod host;
pub mod link;
pub mod live;
pub mod pipeline;
pub mod probe;
pub mod protocol;
pub mod span;
mod state;
pub mod store;
pub mod tls;
