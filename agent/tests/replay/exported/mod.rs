//! What becomes of exported spans when the program itself is killed, or its disk is full: nothing is lost that is not
//! counted.
//!
//! Standing tests run `netspan replay` with a queue on the disk. `storm` is for a longer run by hand.

mod killed;
mod receiver;
mod storm;
