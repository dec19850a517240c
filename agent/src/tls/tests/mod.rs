//! Analyses of real files, of files made here, and of broken ones.

mod broken;
mod forged;
mod go;
mod made;
mod system;
