//! The two calls of the C library by which randomness and time come into a process. In this binary they ask the simulation first, and the kernel when the
//! calling thread is none of a simulation's.

use octo_e2e::sim::ground::{Clock, fill, now};

/// # Safety
/// As `getrandom(2)`: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut libc::c_void, length: libc::size_t, flags: libc::c_uint) -> libc::ssize_t {
    if length > 0 {
        // SAFETY: the caller gives a buffer of this length; it is written here and read by nobody else meanwhile.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
        if fill(bytes) {
            return isize::try_from(length).unwrap_or(isize::MAX);
        }
    }
    // SAFETY: the arguments are the caller's, as the kernel wants them.
    unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as libc::ssize_t }
}

/// # Safety
/// As `clock_gettime(2)`: `time` is a timespec of the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    let simulated = match clock {
        libc::CLOCK_REALTIME => now(Clock::Wall),
        libc::CLOCK_MONOTONIC => now(Clock::Monotonic),
        _ => None,
    };
    if let Some(nanoseconds) = simulated {
        // SAFETY: the pointer is to a timespec of the caller's.
        unsafe {
            (*time).tv_sec = i64::try_from(nanoseconds / 1_000_000_000).unwrap_or_default();
            (*time).tv_nsec = i64::try_from(nanoseconds % 1_000_000_000).unwrap_or_default();
        }
        return 0;
    }
    // SAFETY: the arguments are the caller's, as the kernel wants them.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as libc::c_int }
}

/// Where the system's own monotonic clock stands, in nanoseconds.
pub fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
