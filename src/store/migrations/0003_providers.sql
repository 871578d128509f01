-- Identity providers, whom of their people we know, and what a session keeps of the provider that it came from.

-- The one administrator who logs in locally while the provider is broken (D25).
ALTER TABLE tenant ADD COLUMN sso_exempt BLOB REFERENCES account (id);

CREATE TABLE provider (
    tenant     BLOB PRIMARY KEY REFERENCES tenant (id),
    settings   TEXT NOT NULL,
    secret     BLOB,
    changed_at BIGINT NOT NULL,
    tested_at  BIGINT
);

-- A person is an issuer and a subject, within one tenant: no link reaches over that wall.
CREATE TABLE link (
    tenant    BLOB NOT NULL REFERENCES tenant (id),
    issuer    TEXT NOT NULL,
    subject   TEXT NOT NULL,
    account   BLOB NOT NULL REFERENCES account (id),
    audience  TEXT NOT NULL,
    linked_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, issuer, subject),
    UNIQUE (account, issuer)
);

CREATE TABLE provider_session (
    session  BLOB PRIMARY KEY REFERENCES session (id) ON DELETE CASCADE,
    audience TEXT NOT NULL,
    issuer   TEXT NOT NULL,
    subject  TEXT NOT NULL,
    sid      TEXT,
    id_token BLOB
);
CREATE INDEX provider_session_subject ON provider_session (issuer, subject);
CREATE INDEX provider_session_sid ON provider_session (issuer, sid) WHERE sid IS NOT NULL;

-- Log-outs that a provider has not heard of yet (D19).
CREATE TABLE provider_logout (
    session   BLOB PRIMARY KEY REFERENCES provider_session (session) ON DELETE CASCADE,
    queued_at BIGINT NOT NULL,
    due_at    BIGINT NOT NULL,
    attempts  BIGINT NOT NULL
);
CREATE INDEX provider_logout_due_at ON provider_logout (due_at);
