//! netspan: from what the kernel saw of sockets to linked spans. `ARCHITECTURE.md` has the map.
//!
//! One direction: [`capture`] decodes events, [`conn`] orders them per connection, [`protocol`] makes exchanges of
//! bytes, [`link`] makes spans of exchanges and finds their parents, [`route`] names them, [`sample`] decides which leave, [`export`] sends them, [`metrics`] counts them, [`store`] keeps them, [`api`]
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
pub mod metrics;
pub mod pipeline;
pub mod privilege;
pub mod probe;
pub mod protocol;
pub mod route;
pub mod sample;
pub mod span;
mod state;
pub mod store;
pub mod tls;
