# Building, installing, starting and describing the server. Sourced by setup.sh, after lib.sh.

LIB_DIR="${OCTO_PREFIX:-$HOME/.local}/lib/octo"
BIN_DIR="${OCTO_PREFIX:-$HOME/.local}/bin"
CONFIG_FILE="$XDG_CONFIG_HOME/octo/config.toml"
STATE_DIR="$XDG_STATE_HOME/octo"
PID_FILE="$STATE_DIR/octo.pid"
URL_FILE="$STATE_DIR/octo.url"
PROGRAMS=(octo octo-runner octo-eavs octo-sandbox pi-bridge octoctl)

build_octo() {
  local profile="$1"
  step "Building octo ($profile; a few minutes the first time)"
  (cd "$ROOT" && cargo build --workspace --exclude octo-e2e --exclude octo-bench --bins --profile "$profile" --quiet) || die "octo does not build" "Look at the lines above."
}

# The programs lie in one folder: they find each other there.
install_octo() {
  local profile="$1" from program changed=''
  from="$TARGET_DIR/$([ "$profile" = dev ] && echo debug || echo "$profile")"
  mkdir -p "$LIB_DIR" "$BIN_DIR"
  for program in "${PROGRAMS[@]}"; do
    cmp -s "$from/$program" "$LIB_DIR/$program" && continue
    changed=yes
    # A rename, so that programs that run keep what they run.
    install -m 0755 "$from/$program" "$LIB_DIR/.$program.new"
    mv "$LIB_DIR/.$program.new" "$LIB_DIR/$program"
  done
  ln -sf "$LIB_DIR/octo" "$BIN_DIR/octo"
  ln -sf "$LIB_DIR/octoctl" "$BIN_DIR/octoctl"
  if [ -n "$changed" ]; then
    note "installed in $LIB_DIR, with $BIN_DIR/octo and $BIN_DIR/octoctl"
    stop_octo
  fi
}

# The pid of our server if it lives, proved by its executable: a pid alone may belong to somebody else by now.
running_pid() {
  local pid exe
  pid="$(cat "$PID_FILE" 2>/dev/null)" || return 1
  [[ "$pid" =~ ^[0-9]+$ ]] || return 1
  exe="$(readlink "/proc/$pid/exe" 2>/dev/null)" || return 1
  [ "${exe% (deleted)}" = "$LIB_DIR/octo" ] && printf '%s' "$pid"
}

stop_octo() {
  local pid
  pid="$(running_pid)" || return 0
  step "Stopping the server that runs (agents go on)"
  kill -TERM "$pid"
  for _ in $(seq 100); do
    [ -d "/proc/$pid" ] || return 0
    sleep 0.1
  done
  die "the server (pid $pid) does not stop" "Its log is $STATE_DIR/logs/octo.log."
}

choose_port() {
  [ -z "$port" ] || return 0
  if [ -f "$CONFIG_FILE" ]; then
    port="$(sed -n '/^\[server\]/,/^\[/s/^ *port *= *\([0-9]*\).*/\1/p' "$CONFIG_FILE" | head -n 1)"
    [ -z "$port" ] || return 0
  fi
  for port in $(seq 8080 8099); do
    ! port_is_free 127.0.0.1 "$port" || return 0
  done
  die "ports 8080 to 8099 are all in use" "Name a free one with --port."
}

start_octo() {
  local pid url
  if pid="$(running_pid)" && url="$(cat "$URL_FILE" 2>/dev/null)" && http_get "$url/api/health" >/dev/null; then
    if [ -z "$port" ] || [ "$url" = "http://127.0.0.1:$port" ]; then
      note "octo runs already (pid $pid)"
      return
    fi
    stop_octo
  fi
  choose_port
  url="http://127.0.0.1:$port"
  step "Starting octo"
  mkdir -p "$STATE_DIR/logs"
  chmod 0700 "$STATE_DIR"
  # In a session of its own: it outlives this terminal.
  setsid nohup "$LIB_DIR/octo" serve --port "$port" >>"$STATE_DIR/logs/serve.out" 2>&1 </dev/null &
  pid=$!
  printf '%s\n' "$pid" >"$PID_FILE"
  printf '%s\n' "$url" >"$URL_FILE"
  for _ in $(seq 300); do
    http_get "$url/api/health" >/dev/null && return
    if ! [ -d "/proc/$pid" ]; then
      die "octo did not start; its last words:" "$(tail -n 5 "$STATE_DIR/logs/serve.out")"
    fi
    sleep 0.1
  done
  die "octo does not answer at $url" "Its output is in $STATE_DIR/logs/serve.out."
}

tell_how_to_log_in() {
  local url credentials="$STATE_DIR/initial-admin"
  url="$(cat "$URL_FILE")"
  printf '\n%s  octo serves at %s%s\n\n' "$green$bold" "$url" "$plain"
  if [ -f "$credentials" ]; then
    printf '  username  %s\n' "$(sed -n 's/^username=//p' "$credentials")"
    printf '  password  %s\n' "$(sed -n 's/^password=//p' "$credentials")"
    note "kept in $credentials until you change it"
  else
    note "log in with the password that you chose"
  fi
  printf '\n'
  note "No key is needed: the demo model answers without one. For a real model, put a key into"
  note "$CONFIG_FILE (docs/configuration.md says how), or run ./setup.sh."
  note "Look inside: $BIN_DIR/octoctl status     Stop: kill -TERM \$(cat $PID_FILE)"
}
