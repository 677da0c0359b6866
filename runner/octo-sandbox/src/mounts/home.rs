//! What deserves care in a home directory. Paths are relative to it.

/// Shown empty in every profile: keys, credentials, browser profiles.
pub(crate) const SECRETS: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".password-store",
    ".mozilla",
    ".thunderbird",
    ".config/gcloud",
    ".config/gh",
    ".config/hub",
    ".config/op",
    ".config/sops",
    ".config/age",
    ".config/rclone",
    ".config/git/credentials",
    ".config/containers/auth.json",
    ".config/google-chrome",
    ".config/chromium",
    ".config/BraveSoftware",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".terraform.d/credentials.tfrc.json",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".gem/credentials",
    ".git-credentials",
    ".netrc",
    ".pgpass",
    ".my.cnf",
    ".pypirc",
    ".vault-token",
];

/// Directories from which something is started at the next login: read-only, and created when absent. (So is `.ssh`,
/// where a key put into `authorized_keys` would open the account from outside; it is shown empty.)
pub(crate) const PROTECTED_ALWAYS: &[&str] = &[".config/autostart", ".config/systemd/user", ".config/environment.d", ".config/git"];

/// Run or obeyed outside the sandbox later: read-only when present. (An absent one is not created: an empty
/// `.bash_profile` would switch off `.profile`.)
pub(crate) const PROTECTED_IF_PRESENT: &[&str] = &[
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bash_aliases",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".zlogout",
    ".inputrc",
    ".gitconfig",
    ".pam_environment",
    ".xprofile",
    ".xinitrc",
    ".xsession",
    ".xsessionrc",
    ".config/fish",
    ".config/systemd",
    ".local/share/systemd",
];

/// Caches and programs of tools: writable in profile development, read-only in minimal.
pub(crate) const TOOL_DIRECTORIES: &[&str] = &[
    ".cache",
    ".cargo",
    ".rustup",
    ".npm",
    ".nvm",
    ".bun",
    ".deno",
    ".pyenv",
    ".local/bin",
    ".local/lib",
    ".local/share/uv",
    ".local/share/pnpm",
    "bin",
    "go",
];

/// Hidden as a whole in profile strict.
pub(crate) const CONFIGURATION: &str = ".config";
