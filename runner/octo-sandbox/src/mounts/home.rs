//! What deserves care in a home directory. Paths are relative to it.

use std::path::Path;

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
    ".config/hcloud",
    ".config/doctl",
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
    // Of agents that the user runs without octo: keys of providers, which octo's own agents do not need.
    ".pi/agent/auth.json",
    ".pi/agent/models.json",
    ".claude/.credentials.json",
    ".codex/auth.json",
    ".gemini/oauth_creds.json",
    ".local/share/opencode/auth.json",
    // Whoever has them types into the user's desktop: its socket is reached over the open network.
    ".Xauthority",
    ".ICEauthority",
];

/// Directories from which something is started at the next login, or by name at the next command: read-only, and created
/// when absent. (So is `.ssh`, where a key put into `authorized_keys` would open the account from outside; it is shown empty.)
/// Extensions, hooks and settings of pi and of Claude Code are code that the next session, and the user's own agents, would run.
pub(crate) const PROTECTED_ALWAYS: &[&str] =
    &[".config/autostart", ".config/systemd/user", ".config/environment.d", ".config/git", ".local/bin", ".pi/agent", ".claude"];

/// Files that are obeyed at the next login or command: read-only, and created when absent, with a text that changes nothing.
pub(crate) const PROTECTED_FILES: &[&str] = &[
    ".profile",
    BASH_PROFILE,
    ".bashrc",
    ".bash_logout",
    ".bash_aliases",
    ".inputrc",
    ".gitconfig",
    ".zshenv",
    ".zprofile",
    ".zshrc",
    ".zlogin",
    ".zlogout",
];
const BASH_PROFILE: &str = ".bash_profile";
/// What bash reads in the absence of [`BASH_PROFILE`], the first that there is.
const BASH_LOGIN: &str = ".bash_login";
const BASH_OTHERWISE: &str = ".profile";

/// The text of a protected file that octo creates in `home`.
pub(crate) fn protected_text(name: &str, home: &Path) -> String {
    let why = "octo made this file so that no agent can: agents may read it, and you may change or fill it.\n";
    match name {
        // An empty one would switch off the others; one that looked for `.bash_login` later would run a planted one.
        BASH_PROFILE => {
            let other = if home.join(BASH_LOGIN).exists() { BASH_LOGIN } else { BASH_OTHERWISE };
            format!("# {why}[ -r ~/{other} ] && . ~/{other}\n")
        }
        ".inputrc" => format!("# {why}$include /etc/inputrc\n"),
        _ => format!("# {why}"),
    }
}

/// Run or obeyed outside the sandbox later: read-only when present. (An absent one is not created: an empty one of these
/// changes what the user's programs do.)
pub(crate) const PROTECTED_IF_PRESENT: &[&str] = &[
    BASH_LOGIN,
    ".pam_environment",
    ".xprofile",
    ".xinitrc",
    ".xsession",
    ".xsessionrc",
    ".config/fish",
    ".config/zsh",
    ".config/systemd",
    ".local/share/systemd",
    ".local/share/applications",
    ".oh-my-zsh",
    // Programs in PATH, and scripts that a shell's start reads.
    "bin",
    "go/bin",
    ".cargo/bin",
    ".cargo/env",
    ".cargo/config",
    ".cargo/config.toml",
    ".bun/bin",
    ".deno/bin",
    ".deno/env",
    ".nvm/nvm.sh",
    ".pyenv/bin",
    ".pyenv/libexec",
    ".pyenv/shims",
    ".asdf",
    ".sdkman/bin",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".config/pip",
    ".config/direnv",
    ".config/mise",
    // Editors and multiplexers run what their settings say.
    ".vimrc",
    ".vim",
    ".config/nvim",
    ".emacs",
    ".emacs.d",
    ".config/emacs",
    ".tmux.conf",
    ".config/tmux",
    ".screenrc",
    ".config/Code/User",
    ".vscode/extensions",
    ".vscode-server",
    // Agents that the user runs without octo: hooks, tools, settings.
    ".claude.json",
    ".codex",
    ".gemini",
    ".config/opencode",
];

/// Caches and programs of tools: writable in profile development, read-only in minimal.
pub(crate) const TOOL_DIRECTORIES: &[&str] =
    &[".cache", ".cargo", ".rustup", ".npm", ".nvm", ".bun", ".deno", ".pyenv", ".local/lib", ".local/share/uv", ".local/share/pnpm", "go"];

/// Hidden as a whole in profile strict.
pub(crate) const CONFIGURATION: &str = ".config";
