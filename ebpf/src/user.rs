//! Reads of user memory. They may fail: memory that is paged out or not there is not waited for.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_user;

/// Reads the first `len` bytes, at most `N`; the rest is zero.
///
/// # Safety
/// None beyond that of a read that may fail.
#[inline(always)]
pub unsafe fn read_up_to<const N: usize>(address: u64, len: u32) -> Option<[u8; N]> {
    let mut value = [0u8; N];
    let len = if len as usize > N { N as u32 } else { len };
    // SAFETY: a read into a local of at least that size.
    if unsafe { bpf_probe_read_user(value.as_mut_ptr().cast(), len, address as *const _) } != 0 {
        return None;
    }
    Some(value)
}

/// Reads a value; nothing where that fails.
///
/// Into memory that is not initialised first: to do so, the compiler would call a function for each byte.
///
/// # Safety
/// All bit patterns of `T` must be valid.
#[inline(always)]
pub unsafe fn read<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: a read into a local of that size; the caller answers for the bit patterns.
    unsafe {
        if bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _) != 0 {
            return None;
        }
        Some(value.assume_init())
    }
}
