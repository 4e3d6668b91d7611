#!/usr/bin/env bash
# The whole suite, `short` or `long`: every step runs even when an earlier one failed (a failed build excepted), and the last lines say how each ended.
source "$(dirname "$0")/lib.sh"
source tests/support/postgres.sh

length="${1:?short or long}"
exec </dev/null
started=$SECONDS
steps=()
failed=0
logs="$target_dir/test-logs"
rm -rf "$logs"
mkdir -p "$logs"
child=""
cleanup() {
    [ -z "$child" ] || kill "$child" 2>/dev/null || true
    stop_postgres
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# step NAME COMMAND...: runs it, keeps its output in a file as well, and remembers how it ended.
step() {
    local name="$1" begun=$SECONDS state=ok copy log
    shift
    printf '\n== %s: %s\n' "$name" "$*"
    exec {log}> >(exec tee "$logs/$name.log")
    copy=$!
    # In the background, so that Ctrl-C is seen at once; `timeout` makes a process group and ends all of it, also when a step hangs.
    timeout --kill-after=30 "$limit" "$@" >&"$log" 2>&1 {log}>&- &
    child=$!
    exec {log}>&-
    wait "$child" || state=FAILED
    child=""
    wait "$copy" || true
    [ "$state" = ok ] || failed=1
    steps+=("$(printf '%-10s %-7s %5d s' "$name" "$state" "$((SECONDS - begun))")")
    [ "$state" = ok ]
}

# The last lines of what the runners themselves said, and one line per step.
finish() {
    printf '\n== closing lines\n'
    if [ -f "$logs/tests.log" ]; then
        grep -E '^(test result:|error: test failed|    [a-z_0-9:]+$)' "$logs/tests.log" | sort | uniq -c | sort -rn | head -60 || true
        awk '/^test result:/ { passed += $4; bad += $6; ignored += $8 } END { printf "cargo test: %d passed, %d failed, %d ignored\n", passed, bad, ignored }' "$logs/tests.log"
    fi
    [ ! -f "$logs/browser.log" ] || grep -E '^[^ ]* (tests|pass|fail|skipped|duration_ms) ' "$logs/browser.log" || true
    printf '%s\n' "${steps[@]}"
    if [ "$failed" -eq 0 ]; then
        printf 'all passed in %d s\n' "$((SECONDS - started))"
    else
        printf 'FAILED after %d s\n' "$((SECONDS - started))"
    fi
    exit "$failed"
}

limit=45m
features=()
if [ "$length" = long ]; then
    export VT_LONG=1
    limit=6h
    features=(--features vt-tests/compat)
fi
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"

step prepare tests/support/prepare.sh || finish
export VT_TEST_PYTHON="$target_dir/test-venv/bin/python"
export VT_TEST_VOLTTRON="$target_dir/volttron-venv"
export VT_TEST_VOLTTRON10="$target_dir/volttron10-venv"
export VT_TEST_WHEELS="$target_dir/volttron-wheels"
VT_TEST_CHROMIUM="$(command -v chromium)"
export VT_TEST_CHROMIUM

step format cargo fmt --all --check || true
step lint cargo clippy --workspace --all-targets --locked "${features[@]}" -- -D warnings || true
# Tests and binaries in one go, so that both share one resolution of features and nothing is built twice.
step build cargo build --workspace --lib --bins --tests --locked "${features[@]}" || finish
start_postgres
step tests cargo test --workspace --locked --no-fail-fast "${features[@]}" || true
stop_postgres
step browser node --test --test-concurrency=1 --test-reporter=spec tests/browser/*.test.mjs || true
finish
