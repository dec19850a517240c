//! The harness of netspan's end-to-end tests: it starts real programs in cgroups of their own, drives them, runs the
//! agent on them, and compares what it says with what happened. It never looks at a process that it did not start.
#![forbid(unsafe_code)]

pub mod agent;
pub mod apps;
pub mod bench;
pub mod c;
pub mod certificate;
pub mod connections;
pub mod demo;
pub mod drive;
pub mod hosts;
pub mod http;
pub mod linking;
pub mod links;
pub mod load;
pub mod nginx;
pub mod node;
pub mod paths;
pub mod ports;
pub mod process;
pub mod python;
pub mod rotel;
pub mod rpc;
pub mod scenario;
pub mod scope;
pub mod shop;
pub mod span;
pub mod translated;
pub mod truth;
pub mod verified;
pub mod wait;
pub mod web;
