-- Audit log, alerts, ended sessions. Times are microseconds since 1970, UTC.

CREATE TABLE audit_log (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_us BIGINT NOT NULL,
    user_name TEXT NOT NULL,
    address TEXT,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    success BOOLEAN NOT NULL,
    detail TEXT NOT NULL
);

CREATE TABLE alert (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_us BIGINT NOT NULL,
    topic TEXT NOT NULL,
    identity TEXT NOT NULL,
    alert_key TEXT NOT NULL,
    status TEXT NOT NULL,
    -- JSON as text: jsonb refuses the NUL character, and nothing here looks inside.
    context TEXT NOT NULL
);

CREATE TABLE ended_session (
    session TEXT PRIMARY KEY,
    expires_us BIGINT NOT NULL
);

CREATE INDEX ended_session_expiry ON ended_session (expires_us);
