#!/usr/bin/env bash
# Fuzzes one of the places where octo reads bytes that nobody vouches for.
#
#   fuzz/run.sh TARGET [-runs=N] [libFuzzer option...]   10 million executions unless said otherwise (journal_file: 100 000)
#   fuzz/run.sh TARGET FILE...                           runs these inputs once, to see one fail
#   fuzz/run.sh --merge TARGET                           keeps, of what was found and what is kept, the least that covers as much
#   fuzz/run.sh --build TARGET                           builds it
#   fuzz/run.sh --targets                                names them
#
# What is found goes to target/fuzz/work/TARGET; what is kept is fuzz/corpus/TARGET, and ./test.sh replays it.
# It needs a C++ compiler, and no other toolchain than the one octo is built with.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
cd "$ROOT"

BUILD="${CARGO_TARGET_DIR:-$ROOT/target}/fuzz"
targets() { sed -n 's/^replays! { \(.*\) }$/\1/p' fuzz/tests/replay.rs | tr ' ' '\n'; }

runs() { [ "$1" = journal_file ] && echo 100000 || echo 10000000; }

# Longest input in bytes: what is longer costs time and finds no more.
longest() {
  case "$1" in
    pi | claude | mux) echo 4096 ;;
    link | peer | config | llm) echo 2048 ;;
    journal) echo 1024 ;;
    *) echo 512 ;;
  esac
}

# What a target needs built beside the protocol and the harness.
features() {
  case "$1" in
    peer | config | llm) echo server ;;
    *) echo runner ;;
  esac
}

# build TARGET
build() {
  have c++ || apt_install g++ || true
  have c++ || die "there is no C++ compiler" "libFuzzer is C++. Install one (Debian: apt-get install g++), then run this again."
  local host flags
  host="$(rustc -vV | sed -n 's/^host: //p')"
  # What cargo-fuzz asks of the compiler, without a sanitizer: those need a nightly, and octo has next to no unsafe code to watch.
  flags=(--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0)
  CARGO_TARGET_DIR="$BUILD" CARGO_INCREMENTAL=0 RUSTFLAGS="${flags[*]}" \
    cargo build --quiet --locked --release --manifest-path fuzz/engine/Cargo.toml --target "$host" --features "$(features "$1")" --bin "$1"
  ENGINE="$BUILD/$host/release"
}

target_named() { targets | grep -qx -- "$1" || die "there is no target ${1:-(none named)}" "Targets: $(targets | tr '\n' ' ')"; }

case "${1:-}" in
  '' | -h | --help)
    sed -n '2,12p' "${BASH_SOURCE[0]}" | cut -c3-
    exit 0
    ;;
  --targets)
    targets
    exit 0
    ;;
  --build)
    target_named "${2:-}"
    build "$2"
    exit 0
    ;;
  --merge)
    target_named "${2:-}"
    build "$2"
    kept="fuzz/corpus/$2" work="$BUILD/work/$2" least="$BUILD/least/$2"
    mkdir -p "$work" "$kept"
    rm -rf "$least"
    mkdir -p "$least"
    "$ENGINE/$2" -merge=1 -max_len="$(longest "$2")" "$least" "$kept" "$work" 2>&1 | tail -n 3
    rm -rf "$kept" "$work"
    cp -r "$least" "$kept"
    mkdir -p "$work"
    note "$(find "$kept" -type f | wc -l) inputs of $(du -sb "$kept" | cut -f1) bytes are kept for $2"
    exit 0
    ;;
esac

target="$1"
shift
target_named "$target"
build "$target"
if [ $# -gt 0 ] && [ -e "$1" ]; then
  exec "$ENGINE/$target" "$@"
fi
work="$BUILD/work/$target"
mkdir -p "$work" "fuzz/corpus/$target"
log="$BUILD/$target.log"
step "Fuzzing $target"
if ! "$ENGINE/$target" "$work" "fuzz/corpus/$target" -runs="$(runs "$target")" -max_len="$(longest "$target")" -timeout=20 -rss_limit_mb=2048 \
  -reload=0 -print_final_stats=1 -artifact_prefix="$work/../$target-" "$@" >"$log" 2>&1; then
  grep -v '^#' "$log" | tail -n 40 >&2
  die "$target found something" "The whole log is $log; the input is named in it. fuzz/run.sh $target INPUT runs it alone."
fi
stat() { sed -n "s/^stat::$1: *//p" "$log"; }
covered="$(grep -oE 'cov: [0-9]+ ft: [0-9]+ corp: [0-9]+' "$log" | tail -n 1)"
seconds="$(sed -n 's/^Done [0-9]* runs in \([0-9]*\) second.*/\1/p' "$log")"
note "$target: $(stat number_of_executed_units) executions in ${seconds} s, $(stat average_exec_per_sec) a second, ${covered}, peak $(stat peak_rss_mb) MiB, nothing found"
