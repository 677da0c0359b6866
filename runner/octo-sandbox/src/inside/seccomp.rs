//! The system call filter of the program: kernel interfaces with a bad record that no tool for writing software needs,
//! and the terminal calls that would type into somebody else's shell.
//!
//! User namespaces stay possible: browsers and nested sandboxes are built on them.

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;
/// Set in the numbers of the x32 interface, a second way to every call.
const X32: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
/// The low half of the second argument (little endian); the kernel looks at no more of a terminal request.
const SECOND_ARGUMENT: u32 = 24;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const NOT_PERMITTED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
/// What a kernel without the call says, so that callers take their other way.
const NOT_THERE: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

const FORBIDDEN: &[libc::c_long] = &[
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_open_by_handle_at,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
];
const ABSENT: &[libc::c_long] = &[libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
const TERMINAL_REQUESTS: &[u32] = &[libc::TIOCSTI as u32, libc::TIOCLINUX as u32];

/// The program for the kernel's filter machine.
pub(super) fn filter() -> Vec<sock_filter> {
    let mut code = vec![
        load(ARCH),
        jump(BPF_JEQ, ARCHITECTURE, 1, 0),
        answer(NOT_THERE), // another architecture's calls would pass by all that follows
        load(NUMBER),
        jump(BPF_JSET, X32, 0, 1),
        answer(NOT_THERE),
    ];
    for (calls, verdict) in [(FORBIDDEN, NOT_PERMITTED), (ABSENT, NOT_THERE)] {
        for call in calls {
            code.extend([jump(BPF_JEQ, *call as u32, 0, 1), answer(verdict)]);
        }
    }
    let requests = TERMINAL_REQUESTS.iter().flat_map(|request| [jump(BPF_JEQ, *request, 0, 1), answer(NOT_PERMITTED)]);
    code.extend([jump(BPF_JEQ, libc::SYS_ioctl as u32, 1, 0), answer(ALLOW), load(SECOND_ARGUMENT)]);
    code.extend(requests);
    code.push(answer(ALLOW));
    code
}

/// Installs it for the calling process and its descendants; privileges must have been given up.
pub(super) fn install(filter: &[sock_filter]) -> nix::Result<()> {
    let program = libc::sock_fprog { len: u16::try_from(filter.len()).unwrap_or(0), filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program; pointer and length belong together.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    nix::Error::result(result).map(drop)
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn answer(verdict: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, verdict)
}

fn jump(test: u32, k: u32, if_true: u8, if_false: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | test | BPF_K) as u16, jt: if_true, jf: if_false, k }
}
