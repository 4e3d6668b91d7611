-- Audit log, alerts, ended sessions. Times are microseconds since 1970, UTC.

CREATE TABLE audit_log (
    id INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    user_name TEXT NOT NULL,
    address TEXT,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    success INTEGER NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE TABLE alert (
    id INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    topic TEXT NOT NULL,
    identity TEXT NOT NULL,
    alert_key TEXT NOT NULL,
    status TEXT NOT NULL,
    context TEXT NOT NULL
) STRICT;

CREATE TABLE ended_session (
    session TEXT PRIMARY KEY,
    expires_us INTEGER NOT NULL
) STRICT;

CREATE INDEX ended_session_expiry ON ended_session (expires_us);
