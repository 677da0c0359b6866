#!/usr/bin/env bash
# Installs what the tests need, then runs all that CI runs.
#
#   ./test.sh          everything that must be green
#   ./test.sh --full   the same with the long loops (hours); their figures are printed
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/lib.sh"

full=''
for argument in "$@"; do
  case "$argument" in
    --full) full=yes ;;
    -h | --help)
      sed -n '2,6p' "$0" | cut -c3-
      exit 0
      ;;
    *) die "unknown option $argument" "./test.sh knows only --full." ;;
  esac
done

began=$SECONDS
cd "$ROOT"
require_basics
ensure_bwrap
ensure_chromium
ensure_agents
ensure_old_agents
ensure_acp_clients
ensure_bun
export OCTO_AGENTS_DIR="$AGENTS_DIR"
export OCTO_TEST_OLD_AGENTS_DIR="$OLD_AGENTS_DIR"
export OCTO_TEST_ACP_SDK="$ACP_SDK_DIR"
export OCTO_TEST_ACP_PYTHON="$ACP_PYTHON_DIR"
export OCTO_TEST_NODE="$(node_bin_dir)/node"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"

# ensure_cargo_tool NAME VERSION : a cargo subcommand, beside the tools, when the machine does not have it.
ensure_cargo_tool() {
  have "$1" && return
  [ -x "$TOOLS_DIR/bin/$1" ] && return
  step "Installing $1"
  CARGO_TARGET_DIR="$TARGET_DIR/tools" cargo install --quiet --locked --root "$TOOLS_DIR" "$1" --version "$2"
}
export PATH="$PATH:$TOOLS_DIR/bin"
ensure_cargo_tool cargo-nextest 0.9.143
ensure_cargo_tool cargo-deny 0.20.2

step "Formatting"
cargo fmt --all --check
cargo fmt --manifest-path fuzz/engine/Cargo.toml --check

step "Web: packages, lint, types, tests, build"
install_web
web run lint
web run check
web run test
build_web

step "Lints"
cargo clippy --workspace --all-targets --quiet -- -D warnings

step "Build"
cargo build --workspace --all-targets --quiet

step "Licences, bans, sources"
cargo deny --log-level error check licenses bans sources
cargo deny --log-level error --manifest-path fuzz/engine/Cargo.toml --config deny.toml check licenses bans sources
if timeout 60 cargo deny --log-level error fetch db >/dev/null 2>&1; then
  cargo deny --log-level error check advisories
else
  note "advisories not checked: their database is out of reach from here"
fi

step "Documentation examples"
cargo test --workspace --doc --quiet

step "Tests"
profile="${CI:+ci}"
if [ -n "$full" ]; then
  export OCTO_FULL=1
  profile=full
fi
cargo nextest run --workspace ${profile:+--profile "$profile"}

if [ -n "$full" ]; then
  step "A thousand kill rounds"
  OCTO_ROUNDS="${OCTO_ROUNDS:-1000}" cargo nextest run --workspace --profile full --no-capture -E 'package(octo-e2e) and binary(kill_rounds) and test(seeded_rounds)'
  for target in $(fuzz/run.sh --targets); do fuzz/run.sh "$target"; done
fi

printf '%s✓ all green in %d min %d s%s\n' "$green" $(((SECONDS - began) / 60)) $(((SECONDS - began) % 60)) "$plain"
