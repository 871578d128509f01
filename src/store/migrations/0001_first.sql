-- Times are whole seconds since 1970-01-01T00:00:00Z. Ids are 16 random bytes. Secrets are digests or sealed.
-- The text keeps to what SQLite and PostgreSQL share, but for BLOB and AUTOINCREMENT.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
);

CREATE TABLE tenant (
    id        BLOB PRIMARY KEY,
    slug      TEXT NOT NULL UNIQUE,
    name      TEXT NOT NULL,
    zone      TEXT NOT NULL,
    suite     BIGINT NOT NULL,
    sso       TEXT NOT NULL,
    overrides TEXT NOT NULL
);

CREATE TABLE tenant_domain (
    domain   TEXT PRIMARY KEY,
    tenant   BLOB NOT NULL REFERENCES tenant (id),
    position BIGINT NOT NULL
);

CREATE TABLE account (
    id           BLOB PRIMARY KEY,
    tenant       BLOB NOT NULL REFERENCES tenant (id),
    username     TEXT NOT NULL UNIQUE,
    email        TEXT,
    display_name TEXT NOT NULL,
    kind         TEXT NOT NULL,
    level        TEXT NOT NULL,
    groups       TEXT NOT NULL,
    active       BIGINT NOT NULL,
    sso_selected BIGINT NOT NULL,
    start_page   TEXT,
    epoch        BIGINT NOT NULL,
    flow_epoch   BIGINT NOT NULL
);

-- The newest row of an account is the password in force; the others are its history (R45, D10).
CREATE TABLE password (
    account BLOB NOT NULL REFERENCES account (id),
    serial  BIGINT NOT NULL,
    hash    TEXT NOT NULL,
    set_at  BIGINT NOT NULL,
    PRIMARY KEY (account, serial)
);

CREATE TABLE totp (
    account     BLOB PRIMARY KEY REFERENCES account (id),
    secret      BLOB NOT NULL,
    period      BIGINT NOT NULL,
    last_step   BIGINT NOT NULL,
    enrolled_at BIGINT NOT NULL
);

CREATE TABLE attempts (
    account   BLOB PRIMARY KEY REFERENCES account (id),
    used      BIGINT NOT NULL,
    locked_at BIGINT
);

-- Budgets of names nobody has, so that they lock alike (E5). Apart, and capped: a stranger who invents names
-- cannot push out a real user's count.
CREATE TABLE shadow_attempts (
    subject    BLOB PRIMARY KEY,
    used       BIGINT NOT NULL,
    touched_at BIGINT NOT NULL
);
CREATE INDEX shadow_attempts_touched_at ON shadow_attempts (touched_at);

-- What may happen once: hand-overs and flows that ended without a session.
CREATE TABLE spent (
    id         BLOB PRIMARY KEY,
    expires_at BIGINT NOT NULL
);

CREATE TABLE session (
    id               BLOB PRIMARY KEY,
    token            BLOB NOT NULL UNIQUE,
    flow             BLOB NOT NULL UNIQUE,
    account          BLOB NOT NULL REFERENCES account (id),
    tenant           BLOB NOT NULL REFERENCES tenant (id),
    zone             TEXT NOT NULL,
    epoch            BIGINT NOT NULL,
    class            TEXT NOT NULL,
    method           TEXT NOT NULL,
    factors          TEXT NOT NULL,
    authenticated_at BIGINT NOT NULL,
    started_at       BIGINT NOT NULL,
    last_seen        BIGINT NOT NULL,
    idle_max         BIGINT NOT NULL,
    absolute_max     BIGINT NOT NULL,
    device_label     TEXT NOT NULL,
    device_address   TEXT NOT NULL,
    ended_at         BIGINT,
    end_reason       TEXT
);
CREATE INDEX session_account ON session (account) WHERE ended_at IS NULL;
CREATE INDEX session_ended_at ON session (ended_at) WHERE ended_at IS NOT NULL;

-- Every ending, in order: a running gateway tails it, so that commands and other nodes are obeyed at once.
CREATE TABLE revocation (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    account BLOB NOT NULL,
    session BLOB,
    epoch   BIGINT NOT NULL,
    reason  TEXT NOT NULL,
    at      BIGINT NOT NULL
);

CREATE TABLE signing_key (
    kid        TEXT PRIMARY KEY,
    algorithm  TEXT NOT NULL,
    secret     BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT
);

CREATE TABLE security_event (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      BIGINT NOT NULL,
    kind    TEXT NOT NULL,
    actor   TEXT NOT NULL,
    request TEXT,
    zone    TEXT,
    tenant  BLOB,
    account BLOB,
    session BLOB,
    class   TEXT,
    address TEXT,
    reason  TEXT,
    detail  TEXT
);
CREATE INDEX security_event_account ON security_event (account);

CREATE TRIGGER security_event_is_never_changed BEFORE UPDATE ON security_event
BEGIN
    SELECT RAISE(ABORT, 'the security log is append-only');
END;
CREATE TRIGGER security_event_is_never_deleted BEFORE DELETE ON security_event
BEGIN
    SELECT RAISE(ABORT, 'the security log is append-only');
END;
