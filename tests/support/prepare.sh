#!/usr/bin/env bash
# Installs what the tests need and this machine lacks: Debian packages, rustfmt and clippy, a Python environment, node modules.
# Quick when everything is there already.
source "$(dirname "$0")/lib.sh"

"$repository/tests/support/toolchain.sh"

missing=()
command -v chromium >/dev/null || missing+=(chromium)
[ -n "$(postgres_bin)" ] || missing+=(postgresql)
[ -n "$(venv_python)" ] || missing+=(python3 python3-venv)
command -v sqlite3 >/dev/null || missing+=(sqlite3)
command -v ip >/dev/null || missing+=(iproute2)
command -v nft >/dev/null || [ -x /usr/sbin/nft ] || missing+=(nftables)
{ command -v fc-list >/dev/null && fc-list 2>/dev/null | grep -q .; } || missing+=(fontconfig fonts-dejavu-core)
[ "${#missing[@]}" -eq 0 ] || install_packages "${missing[@]}"

for component in fmt clippy; do
    if ! cargo "$component" --version >/dev/null 2>&1; then
        name="${component/#fmt/rustfmt}"
        command -v rustup >/dev/null || fail "cargo $component is missing; install the Rust component $name"
        rustup component add "$name" >&2
    fi
done

venv="$target_dir/test-venv"
requirements=tests/compat/requirements.txt
stamp="$( (venv_python; cat "$requirements") | sha256sum)"
if [ "$(cat "$venv/.requirements" 2>/dev/null)" != "$stamp" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
    say "making the Python environment of the tests"
    rm -rf "$venv"
    "$(venv_python)" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" >&2
    echo "$stamp" >"$venv/.requirements"
fi

# Real VOLTTRON, one environment per generation. Its packages have wheels for CPython 3.11 at most; uv finds one, or fetches it.
for generation in volttron volttron10; do
    environment="$target_dir/$generation-venv"
    requirements="tests/compat/$generation-requirements.txt"
    stamp="$(sha256sum <"$requirements")"
    if [ "$(cat "$environment/.requirements" 2>/dev/null)" != "$stamp" ] || ! "$environment/bin/python" -c '' 2>/dev/null; then
        say "making the environment of unmodified VOLTTRON ($generation)"
        rm -rf "$environment"
        "$venv/bin/uv" venv --quiet --python 3.11 "$environment" >&2
        # Pre-releases that name each other loosely, and one that names a dependency wrongly: the list is complete, nothing is resolved.
        "$venv/bin/uv" pip install --quiet --python "$environment/bin/python" --no-deps --requirement "$requirements" >&2
        echo "$stamp" >"$environment/.requirements"
    fi
done

# Wheels of modular VOLTTRON, so that its agents can be installed into a server without a network; pip is what volttron-core asks for.
wheels="$target_dir/volttron-wheels"
stamp="$(sha256sum <tests/compat/volttron-requirements.txt)"
if [ "$(cat "$wheels/.requirements" 2>/dev/null)" != "$stamp" ]; then
    say "collecting the wheels of modular VOLTTRON"
    rm -rf "$wheels"
    "$venv/bin/uv" venv --quiet --seed --python 3.11 "$wheels/.environment" >&2
    "$wheels/.environment/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$wheels" \
        --requirement tests/compat/volttron-requirements.txt pip==24.3.1 >&2
    rm -rf "$wheels/.environment"
    echo "$stamp" >"$wheels/.requirements"
fi

modules=tests/browser/node_modules
stamp="$(sha256sum <tests/browser/package-lock.json)"
if [ "$(cat "$modules/.lock" 2>/dev/null)" != "$stamp" ]; then
    say "installing the node modules of the browser tests"
    (cd tests/browser && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
    echo "$stamp" >"$modules/.lock"
fi
