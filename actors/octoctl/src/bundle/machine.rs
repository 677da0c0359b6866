//! Facts of this machine that octo and its sandbox depend on. Read from the kernel's own files; nothing is started.

use std::path::Path;

/// Files of the kernel that say what sandboxing may do, and what there is of everything.
const FILES: [&str; 20] = [
    "/proc/version",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/sys/kernel/yama/ptrace_scope",
    "/proc/sys/kernel/seccomp/actions_avail",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/threads-max",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/user/max_pid_namespaces",
    "/proc/sys/fs/file-nr",
    "/proc/sys/fs/inotify/max_user_watches",
    "/proc/sys/vm/overcommit_memory",
    "/proc/loadavg",
    "/proc/pressure/cpu",
    "/proc/pressure/io",
    "/proc/pressure/memory",
    "/proc/self/cgroup",
    "/proc/self/limits",
    "/sys/kernel/mm/transparent_hugepage/enabled",
];
/// Lines of these files that say how much there is.
const SOME_LINES: [(&str, &[&str]); 3] = [
    ("/etc/os-release", &["NAME", "VERSION", "ID"]),
    ("/proc/meminfo", &["MemTotal", "MemAvailable", "SwapTotal", "SwapFree"]),
    ("/proc/self/status", &["NoNewPrivs", "Seccomp", "CapEff", "Uid"]),
];
/// Programs that octo needs, looked for in PATH.
const PROGRAMS: [&str; 4] = ["bwrap", "octo", "octo-runner", "octo-eavs"];
/// Of one file.
const MAX_BYTES: usize = 16 * 1024;

/// All of it, as text.
pub fn facts() -> String {
    let mut text = format!("{} {}\n", std::env::consts::OS, std::env::consts::ARCH);
    text.push_str(&format!("processors: {}\n", std::thread::available_parallelism().map_or(0, usize::from)));
    for path in FILES {
        match read(path) {
            Some(content) if content.trim().contains('\n') => text.push_str(&format!("{path}:\n{}", indented(&content))),
            Some(content) => text.push_str(&format!("{path}: {}\n", content.trim())),
            None => text.push_str(&format!("{path}: absent\n")),
        }
    }
    for (path, names) in SOME_LINES {
        let content = read(path).unwrap_or_default();
        let wanted = content.lines().filter(|line| names.contains(&line.split([':', '=']).next().unwrap_or_default().trim()));
        text.push_str(&format!("{path}:\n{}", indented(&wanted.collect::<Vec<_>>().join("\n"))));
    }
    for program in PROGRAMS {
        text.push_str(&format!("{program}: {}\n", found(program)));
    }
    text
}

fn read(path: &str) -> Option<String> {
    let mut content = std::fs::read_to_string(path).ok()?;
    content.truncate(content.floor_char_boundary(MAX_BYTES));
    Some(content)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// Where a program is, and whether it runs as its owner: bubblewrap does where namespaces need that.
fn found(program: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let place = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|place| place.is_file());
    place
        .map_or_else(|| "not in PATH".to_owned(), |place| format!("{}{}", place.display(), if is_setuid(&place) { ", setuid" } else { "" }))
}

fn is_setuid(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o4000 != 0)
}
