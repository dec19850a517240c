//! Memory that is needed once.

/// Gives the memory that was freed back to the kernel. Loading programs and analysing libraries takes some 15 MB for a moment,
/// which glibc would keep, in pieces, for as long as the agent runs.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time from any thread, and changes nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
