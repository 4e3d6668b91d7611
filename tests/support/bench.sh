#!/usr/bin/env bash
# All measurements: the benches of the crates and of the whole platform, as one table and as one JSON file. Arguments select platform rows:
# start, memory, rest, viewers, python, devices.
source "$(dirname "$0")/lib.sh"

"$repository/tests/support/prepare.sh"
export VT_TEST_VOLTTRON="$target_dir/volttron-venv"
mkdir -p bench-results
failed=0
rows="$(mktemp)"
trap 'rm -f "$rows"' EXIT

# One JSON object a line is a row; everything else is for the person who watches.
measure() {
    say "== $*"
    local output
    output="$(mktemp)"
    "$@" </dev/null | tee "$output" >&2 || { say "FAILED: $*"; failed=1; }
    grep '^{"row"' "$output" >>"$rows" || true
    rm -f "$output"
}

cargo build --release --locked --package vt-cli
if [ "$#" -eq 0 ]; then
    for package in vt-bus vt-historians vt-transport-zmq; do
        if compgen -G "server/${package#vt-}/benches/*" >/dev/null; then measure cargo bench --locked --package "$package"; fi
    done
fi
measure cargo bench --locked --package vt-tests --bench platform -- "$@"
[ -s "$rows" ] || fail "nothing was measured"
python3 tests/support/bench_table.py "$rows" bench-results
exit "$failed"
