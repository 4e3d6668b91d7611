#!/usr/bin/env bash
# Checks what building needs: Rust, a C compiler, Node and npm. Installs the compiler when it can.
source "$(dirname "$0")/lib.sh"

command -v cargo >/dev/null || fail "cargo is missing. Install Rust 1.95 or newer with rustup, then run this again."
rust_minor="$(rustc --version | sed -E 's/^rustc 1\.([0-9]+).*/\1/')"
[ "$rust_minor" -ge 95 ] || fail "Rust 1.95 or newer is needed, this is $(rustc --version). Run: rustup toolchain install 1.95"
command -v cc >/dev/null || install_packages gcc libc6-dev
command -v npm >/dev/null || fail "Node 20 or newer with npm is needed for the browser libraries; no npm was found."
node_major="$(node --version | sed -E 's/^v([0-9]+).*/\1/')"
[ "$node_major" -ge 20 ] || fail "Node 20 or newer is needed, this is $(node --version)."
