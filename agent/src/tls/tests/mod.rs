//! Analyses of real files, of files made here, and of broken ones.

mod system;
