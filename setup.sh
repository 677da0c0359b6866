#!/usr/bin/env bash
# Sets octo up on this machine.
#
#   ./setup.sh           asks a few questions, says what it will do, does it
#   ./setup.sh --quick   asks nothing: installs what is missing, builds, starts octo with its defaults
#
# Options (for both):
#   --port PORT          listen there (default: server.port of the config file, else 8080 or the next free one)
#   --no-start           build and install, but do not start
#   --profile NAME       cargo profile: release (default) or dev (builds faster, runs slower)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/lib.sh"
source "$ROOT/scripts/server.sh"

quick='' port='' start=yes profile="${OCTO_BUILD_PROFILE:-release}"
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) quick=yes ;;
    --port)
      port="${2:-}"
      [[ "$port" =~ ^[0-9]+$ ]] && [ "$port" -ge 1 ] && [ "$port" -le 65535 ] || die "--port needs a number from 1 to 65535"
      shift
      ;;
    --no-start) start='' ;;
    --profile)
      profile="${2:-}"
      [ "$profile" = release ] || [ "$profile" = dev ] || die "--profile is release or dev"
      shift
      ;;
    -h | --help)
      sed -n '2,10p' "$0" | cut -c3-
      exit 0
      ;;
    *) die "unknown option $1" "./setup.sh --help lists the options." ;;
  esac
  shift
done

require_basics
if [ -z "$quick" ]; then
  [ -t 0 ] || die "./setup.sh asks questions and needs a terminal" "Use ./setup.sh --quick to set up with defaults."
  source "$ROOT/scripts/wizard.sh"
  wizard
fi

ensure_bwrap
ensure_agents
ensure_bun
install_web
build_web
build_octo "$profile"
install_octo "$profile"
if [ -n "$start" ]; then
  start_octo
  tell_how_to_log_in
else
  note "not started; start it with: $BIN_DIR/octo serve"
fi
