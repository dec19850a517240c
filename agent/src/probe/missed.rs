//! How often the kernel skipped a program because it was already running on that CPU (`bpf_prog_info.recursion_misses`,
//! from 5.12). aya does not tell it.

use std::{
    mem::offset_of,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use aya::Ebpf;

/// `struct bpf_prog_info` (`linux/bpf.h`) as far as what is read here; what lies before it is not looked at.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    before: [u64; 26],
    recursion_misses: u64,
}
const _: () = assert!(offset_of!(Info, recursion_misses) == 208);

/// The part of `union bpf_attr` for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct Attributes {
    fd: u32,
    info_len: u32,
    info: u64,
}

const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// The programs that are loaded.
pub struct Programs {
    fds: Vec<(String, OwnedFd)>,
}

impl Programs {
    /// Those of an object that are loaded.
    pub fn of(ebpf: &Ebpf) -> Self {
        let loaded = ebpf.programs().filter_map(|(name, program)| Some((name, program.fd().ok()?)));
        let owned = loaded.filter_map(|(name, fd)| Some((name.to_owned(), fd.as_fd().try_clone_to_owned().ok()?)));
        Self { fds: owned.collect() }
    }

    /// Runs that were skipped, over all programs.
    pub fn missed(&self) -> u64 {
        let mut sum = 0;
        for (name, fd) in &self.fds {
            let missed = missed(fd.as_fd());
            if missed > 0 {
                log::debug!("{name} was skipped {missed} times");
            }
            sum += missed;
        }
        sum
    }
}

fn missed(program: BorrowedFd<'_>) -> u64 {
    let mut info = Info { before: [0; 26], recursion_misses: 0 };
    let mut attributes = Attributes {
        fd: program.as_raw_fd().cast_unsigned(),
        info_len: size_of::<Info>() as u32,
        info: (&raw mut info).addr() as u64,
    };
    // SAFETY: the attributes and what they point to are valid for as many bytes as they say, and stay so during the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw mut attributes, size_of::<Attributes>()) };
    if result == 0 { info.recursion_misses } else { 0 }
}
