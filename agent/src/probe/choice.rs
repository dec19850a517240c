//! What may be loaded, in order of preference. What is loaded then depends on what the kernel takes.

/// Which family of hooks to load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FamilyChoice {
    /// The socket family, else the system calls'.
    #[default]
    Auto,
    /// The system calls' family only.
    Syscall,
    /// The socket family only.
    Socket,
}

/// Which kind of hook the socket family attaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    /// Trampolines, else kprobes, function by function.
    #[default]
    Auto,
    /// Trampolines only.
    Fentry,
    /// Kprobes only.
    Kprobe,
}
