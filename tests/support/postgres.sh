# A private PostgreSQL for one run of the tests: its own data folder, a free loopback port, gone afterwards. Sourced after lib.sh.

postgres_dir=""
postgres_user=()

start_postgres() {
    local bin port password
    bin="$(postgres_bin)"
    # Under /tmp, because the unprivileged user has to reach it and a socket's path is limited to 107 bytes.
    postgres_dir="$(mktemp -d /tmp/vt-postgres.XXXXXX)"
    if [ "$(id -u)" -eq 0 ]; then
        # initdb refuses root.
        local user=postgres
        id -u "$user" >/dev/null 2>&1 || user=nobody
        postgres_user=(setpriv --reuid="$user" --regid="$(id -gn "$user")" --clear-groups --inh-caps=-all)
        chown "$user" "$postgres_dir"
    fi
    password="$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
    port="$("$(venv_python)" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
    echo "$password" >"$postgres_dir/password"
    [ "${#postgres_user[@]}" -eq 0 ] || chown "$user" "$postgres_dir/password"
    (
        cd "$postgres_dir"
        HOME="$postgres_dir" "${postgres_user[@]}" "$bin/initdb" --pgdata="$postgres_dir/data" --username=vt --pwfile="$postgres_dir/password" \
            --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 >"$postgres_dir.log" 2>&1 &&
            HOME="$postgres_dir" "${postgres_user[@]}" "$bin/pg_ctl" --pgdata="$postgres_dir/data" --log="$postgres_dir/server.log" --wait --timeout=60 \
                --options="-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories=$postgres_dir -c fsync=on -c max_connections=200" \
                start >>"$postgres_dir.log" 2>&1 </dev/null
    ) || {
        cat "$postgres_dir.log" "$postgres_dir/server.log" >&2 || true
        stop_postgres
        fail "the private PostgreSQL did not start"
    }
    export VT_TEST_POSTGRES_URL="postgres://vt:$password@127.0.0.1:$port/postgres"
}

stop_postgres() {
    [ -n "$postgres_dir" ] || return 0
    if [ -e "$postgres_dir/data/postmaster.pid" ]; then
        (cd "$postgres_dir" && "${postgres_user[@]}" "$(postgres_bin)/pg_ctl" --pgdata="$postgres_dir/data" --mode=immediate stop >/dev/null 2>&1) || true
    fi
    rm -rf "$postgres_dir" "$postgres_dir.log"
    postgres_dir=""
}
