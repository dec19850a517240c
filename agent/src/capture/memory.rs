//! Gives memory back that a standstill of the agent left behind. What waited in the rings meanwhile is taken in one turn, and
//! needs several times the usual memory; glibc keeps it for ever, unless it is asked for it.

use std::time::{Duration, Instant};

/// How often memory is given back.
pub const GIVE_BACK: Duration = Duration::from_secs(30);

/// When memory was given back.
#[derive(Debug)]
pub struct Spare(Instant);

impl Default for Spare {
    /// First due after [`GIVE_BACK`]: what the start took and does not need any more.
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Spare {
    /// Gives memory back, if it is time to.
    pub fn turned(&mut self) {
        if self.0.elapsed() >= GIVE_BACK {
            let begun = Instant::now();
            give_back();
            log::debug!("memory was given back in {} µs", begun.elapsed().as_micros());
            self.0 = Instant::now();
        }
    }
}

/// Gives whole free pages of all heaps back to the kernel (`malloc_trim`); other C libraries do that by themselves.
fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: It takes a number and no pointers, may be called by any thread at any time, and frees only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    const PIECES: usize = 1 << 18;
    const PIECE: usize = 1 << 10;

    /// Resident bytes that are not of files.
    fn anonymous() -> usize {
        let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("there is a /proc");
        let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("a figure");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
    }

    #[test]
    fn what_is_free_between_what_is_not_goes_back() {
        let mut pieces: Vec<Option<Box<[u8; PIECE]>>> = (0..PIECES).map(|_| Some(Box::new([1; PIECE]))).collect();
        for (n, piece) in pieces.iter_mut().enumerate() {
            if !n.is_multiple_of(1000) {
                *piece = None;
            }
        }
        let kept = anonymous();
        give_back();
        // Other tests take memory at the same time.
        assert!(anonymous() + PIECES * PIECE / 2 < kept, "{kept} bytes before");
        assert!(pieces.iter().flatten().all(|piece| piece[PIECE - 1] == 1));
    }

    #[test]
    fn it_is_due_now_and_then() {
        let mut spare = Spare::default();
        let begun = spare.0;
        spare.turned();
        assert_eq!(spare.0, begun);
        spare.0 = begun.checked_sub(GIVE_BACK).expect("this machine runs for longer");
        spare.turned();
        assert!(spare.0 >= begun);
    }
}
