//! The ordered mounts of one sandbox, from its plan and what is on the disk.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{
    CONFIGURATION, PROTECTED_ALWAYS, PROTECTED_FILES, PROTECTED_IF_PRESENT, SECRETS, TOOL_DIRECTORIES, passwd, pins, protected_text,
};
use crate::{
    message::{Plan, PlanIsolation},
    spec::{Bind, Profile},
};

/// Directories that may not be a workspace, nor hold one: writable, they would open the machine.
const NO_WORKSPACE_IN: &[&str] =
    &["/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys", "/usr"];
/// Private and empty in every sandbox, with their modes.
const PRIVATE: &[(&str, u32)] = &[("/tmp", 0o1777), ("/run", 0o755), ("/var/tmp", 0o1777)];
/// Where homes are by convention.
const HOME_PARENTS: &[&str] = &["/home", "/root"];
/// System files that are often links into `/run`, which is hidden.
const LINKS_INTO_RUN: &[&str] = &["/etc/resolv.conf", "/etc/hosts", "/etc/localtime"];
/// Run by git, inside and outside.
const GIT_HOOKS: &str = ".git/hooks";

/// Readable only for root, who is not meant to hand them to a program.
const SYSTEM_SECRETS: &[&str] = &[
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/krb5.keytab",
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssh/ssh_host_ecdsa_key",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssl/private",
    "/etc/wireguard",
    "/etc/NetworkManager/system-connections",
];

/// One step of building the sandbox's view, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mount {
    /// A private, writable, empty directory.
    Private { target: PathBuf, mode: u32, bytes: Option<u64> },
    /// A host path at a place.
    Bind(Bind),
    /// An empty directory over a place; made read-only at the very end.
    EmptyDirectory(PathBuf),
    /// An unreadable file over a file.
    NoFile(PathBuf),
}

/// Everything that bubblewrap is told about files, besides the fresh `/proc` and `/dev`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub mounts: Vec<Mount>,
    /// Of the directory that was looked at; `init` compares what was mounted, as the path may have been exchanged for a
    /// link in between.
    pub workspace_identity: String,
}

/// Facts about the account that are not in the plan.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub uid: u32,
    pub passwd: String,
}

impl Account {
    pub fn current() -> Self {
        Self { uid: nix::unistd::getuid().as_raw(), passwd: fs::read_to_string("/etc/passwd").unwrap_or_default() }
    }
}

/// A protection or an opening inside home and workspace; deeper ones are mounted later.
struct Entry {
    rank: u8,
    mount: Mount,
}

impl Layout {
    /// Creates the directories that must exist so that an empty one can be put over them.
    /// Failing is no danger: whoever cannot create it here cannot create it inside either.
    pub fn create_mask_points(plan: &Plan) {
        let absent = |path: &PathBuf| path.is_absolute() && path.symlink_metadata().is_err();
        let mut directories = plan.masked.clone();
        if plan.profile != Profile::Strict && plan.home.is_dir() {
            directories.extend(PROTECTED_ALWAYS.iter().chain(&[".ssh"]).map(|name| plan.home.join(name)));
            for name in PROTECTED_FILES {
                let path = plan.home.join(name);
                if absent(&path) {
                    let _ = create_file(&path, &protected_text(name, &plan.home));
                }
            }
        }
        if plan.workspace.join(".git").is_dir() {
            directories.push(plan.workspace.join(GIT_HOOKS));
        }
        for path in directories.iter().filter(|path| absent(path)) {
            let _ = create_private(path);
        }
    }

    /// The mounts for `plan`, or the sentence that refuses it.
    pub fn new(plan: &Plan, account: &Account) -> Result<Self, String> {
        let workspace = real(&plan.workspace).map_err(|error| describe("workspace", &plan.workspace, &error))?;
        if !workspace.is_dir() {
            return Err(format!("the workspace {} is not a directory", workspace.display()));
        }
        let workspace_identity = identity_without_links(&workspace).map_err(|error| describe("workspace", &workspace, &error))?;
        let home = real(&plan.home).ok().filter(|home| home.is_dir());
        let masked = present(&plan.masked);
        refuse_workspace(&workspace, home.as_deref(), &masked)?;

        let mut mounts = private_directories(plan);
        mounts.extend(links_into_run());
        mounts.extend(system_secrets());
        mounts.extend(other_homes(home.as_deref(), account));
        let mut entries = Vec::new();
        if let Some(home) = &home {
            entries.extend(home_entries(home, plan.profile));
        }
        entries.push(Entry { rank: 1, mount: bind(&workspace, true) });
        entries.extend(workspace_entries(&workspace));
        if let PlanIsolation::Bubblewrap { program, .. } = &plan.isolation {
            // It runs outside, with the rights that everything inside has lost.
            entries.extend(real(program).ok().map(|path| Entry { rank: 3, mount: bind(&path, false) }));
        }
        entries.extend(present(&plan.read_only).iter().map(|path| Entry { rank: 3, mount: bind(path, false) }));
        entries.extend(present(&plan.read_write).iter().map(|path| Entry { rank: 3, mount: bind(path, true) }));
        entries.extend(pinned(&entries, &masked).into_iter().map(|path| Entry { rank: 0, mount: bind(&path, true) }));
        entries.sort_by_key(|entry| (entry.mount.target().components().count(), entry.rank));
        mounts.extend(entries.into_iter().map(|entry| entry.mount));
        mounts.extend(masked.iter().map(|path| hide(path)));
        for bind in &plan.binds {
            let source = real(&bind.source).map_err(|error| describe("source of a bind", &bind.source, &error))?;
            mounts.push(Mount::Bind(Bind { source, ..bind.clone() }));
        }
        Ok(Self { mounts, workspace_identity })
    }
}

impl Mount {
    pub fn target(&self) -> &Path {
        match self {
            Self::Private { target, .. } | Self::EmptyDirectory(target) | Self::NoFile(target) => target,
            Self::Bind(bind) => &bind.target,
        }
    }
}

fn create_file(path: &Path, text: &str) -> std::io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn real(path: &Path) -> std::io::Result<PathBuf> {
    if !path.is_absolute() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path is not absolute"));
    }
    path.canonicalize()
}

fn describe(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("the {what} {} cannot be used: {error}", path.display())
}

/// The real places of those that exist.
fn present(paths: &[PathBuf]) -> Vec<PathBuf> {
    paths.iter().filter_map(|path| real(path).ok()).collect()
}

fn bind(path: &Path, writable: bool) -> Mount {
    Mount::Bind(Bind { source: path.to_owned(), target: path.to_owned(), writable })
}

fn hide(path: &Path) -> Mount {
    if path.is_dir() { Mount::EmptyDirectory(path.to_owned()) } else { Mount::NoFile(path.to_owned()) }
}

/// A workspace is named by clients and agents, so it is the one path that is not trusted.
fn refuse_workspace(workspace: &Path, home: Option<&Path>, masked: &[PathBuf]) -> Result<(), String> {
    let shown = workspace.display();
    let system = NO_WORKSPACE_IN.iter().map(Path::new).find(|system| workspace.starts_with(system));
    if workspace == Path::new("/") || system.is_some() {
        return Err(format!("{shown} is a system directory and cannot be a workspace; choose a directory in your home"));
    }
    if PRIVATE.iter().any(|(private, _)| workspace == Path::new(private)) || workspace == Path::new("/var") {
        return Err(format!("{shown} is shared by the whole machine; choose a directory inside it as the workspace"));
    }
    let Some(home) = home else {
        return refuse_masked(workspace, masked.iter().cloned());
    };
    if home.starts_with(workspace) && home != workspace {
        return Err(format!("the workspace {shown} contains the whole home {}; choose a directory in it", home.display()));
    }
    let secrets = SECRETS.iter().map(|name| home.join(name));
    refuse_masked(workspace, masked.iter().cloned().chain(secrets))
}

fn refuse_masked(workspace: &Path, mut masked: impl Iterator<Item = PathBuf>) -> Result<(), String> {
    match masked.find(|hidden| workspace.starts_with(hidden)) {
        Some(hidden) => Err(format!("the workspace {} is inside {}, which agents may not see", workspace.display(), hidden.display())),
        None => Ok(()),
    }
}

fn private_directories(plan: &Plan) -> Vec<Mount> {
    let existing = PRIVATE.iter().filter(|(path, _)| real(Path::new(path)).is_ok_and(|real| real == Path::new(path)));
    existing.map(|(path, mode)| Mount::Private { target: PathBuf::from(path), mode: *mode, bytes: plan.limits.tmp_bytes }).collect()
}

/// The system's own links into the hidden `/run`, without which names would not resolve.
fn links_into_run() -> Vec<Mount> {
    let mut targets: Vec<PathBuf> = LINKS_INTO_RUN.iter().filter_map(|path| real(Path::new(path)).ok()).collect();
    targets.retain(|target| target.starts_with("/run"));
    targets.sort();
    targets.dedup_by(|inner, outer| inner.starts_with(outer));
    targets.iter().map(|target| bind(target, false)).collect()
}

/// Those that the account can read; for others nothing needs to be hidden.
fn system_secrets() -> Vec<Mount> {
    let readable = |path: &PathBuf| nix::unistd::access(path, nix::unistd::AccessFlags::R_OK).is_ok();
    SYSTEM_SECRETS.iter().filter_map(|path| real(Path::new(path)).ok()).filter(readable).map(|path| hide(&path)).collect()
}

/// Device and inode of a directory on a path that holds no link at this moment.
fn identity_without_links(path: &Path) -> std::io::Result<String> {
    use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    let directory = fs::File::from(openat2(AT_FDCWD, path, how)?);
    Ok(identity(&directory.metadata()?))
}

/// What tells one directory from every other while it exists.
pub(crate) fn identity(directory: &fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{}:{}", directory.dev(), directory.ino())
}

fn other_homes(home: Option<&Path>, account: &Account) -> Vec<Mount> {
    let conventional = HOME_PARENTS.iter().map(PathBuf::from);
    let others = conventional.chain(passwd::other_homes(&account.passwd, account.uid));
    let mut hidden: Vec<PathBuf> = others
        .filter_map(|path| real(&path).ok())
        .filter(|path| path.is_dir() && Some(path.as_path()) != home && !is_system(path))
        .collect();
    hidden.sort();
    hidden.dedup_by(|inner, outer| inner.starts_with(outer));
    // A home that contains ours (or that we are) is hidden only as a parent directory by convention.
    hidden.retain(|path| HOME_PARENTS.iter().any(|parent| path == Path::new(parent)) || home.is_none_or(|own| !own.starts_with(path)));
    hidden.into_iter().map(Mount::EmptyDirectory).collect()
}

fn is_system(path: &Path) -> bool {
    path == Path::new("/") || path == Path::new("/var") || NO_WORKSPACE_IN.iter().any(|system| path.starts_with(system))
}

fn home_entries(home: &Path, profile: Profile) -> Vec<Entry> {
    let existing = |names: &'static [&'static str]| {
        names.iter().filter_map(|name| real(&home.join(name)).ok()).filter(|path| path.starts_with(home) && path != home)
    };
    let mut entries = vec![Entry { rank: 0, mount: bind(home, profile != Profile::Strict) }];
    // In profile strict the directory is hidden whole; mount points for the secrets in it would tell their names.
    let hidden = (profile == Profile::Strict).then(|| real(&home.join(CONFIGURATION)).ok()).flatten();
    entries.extend(
        existing(SECRETS)
            .filter(|path| !hidden.as_ref().is_some_and(|hidden| path.starts_with(hidden)))
            .chain(hidden.clone())
            .map(|path| Entry { rank: 2, mount: hide(&path) }),
    );
    if profile == Profile::Strict {
        return entries;
    }
    let protected = existing(PROTECTED_ALWAYS).chain(existing(PROTECTED_FILES)).chain(existing(PROTECTED_IF_PRESENT));
    entries.extend(protected.map(|path| Entry { rank: 2, mount: bind(&path, false) }));
    if profile == Profile::Minimal {
        entries.extend(existing(TOOL_DIRECTORIES).map(|path| Entry { rank: 2, mount: bind(&path, false) }));
    }
    entries
}

/// See [`pins`].
fn pinned(entries: &[Entry], masked: &[PathBuf]) -> BTreeSet<PathBuf> {
    let is_writable = |mount: &Mount| matches!(mount, Mount::Bind(Bind { writable: true, .. }));
    let places = |writable: bool| {
        let mounts = entries.iter().map(|entry| &entry.mount).filter(move |mount| is_writable(mount) == writable);
        mounts.map(|mount| mount.target().to_owned())
    };
    let guarded: Vec<PathBuf> = places(false).chain(masked.iter().cloned()).collect();
    pins::between(&places(true).collect::<Vec<_>>(), &guarded)
}

/// What is obeyed outside later: git's hooks, octo's own settings. Links are left alone, they may lead anywhere.
fn workspace_entries(workspace: &Path) -> Vec<Entry> {
    let inside = [GIT_HOOKS, ".octo"].map(|name| workspace.join(name));
    let real_ones = inside.into_iter().filter(|path| real(path).is_ok_and(|real| real == *path));
    real_ones.map(|path| Entry { rank: 2, mount: bind(&path, false) }).collect()
}
