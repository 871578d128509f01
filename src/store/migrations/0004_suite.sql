-- The vendor's suite log-in: what a tenant lets its users do with it, and what a session may open there.

ALTER TABLE tenant ADD COLUMN suite_mode TEXT NOT NULL DEFAULT 'off';
ALTER TABLE tenant ADD COLUMN suite_company TEXT;
ALTER TABLE tenant ADD COLUMN suite_provisioning BIGINT NOT NULL DEFAULT 0;
-- Was never anything but 0.
ALTER TABLE tenant DROP COLUMN suite;

ALTER TABLE account ADD COLUMN suite_exempt BIGINT NOT NULL DEFAULT 0;

-- The ids of the suite's modules that the person may open; null where the session is none of the suite's.
ALTER TABLE provider_session ADD COLUMN modules TEXT;

-- A person of the suite may have several accounts of a tenant (R92), one of a tenant's own provider has one.
CREATE TABLE link_of_account (
    tenant    BLOB NOT NULL REFERENCES tenant (id),
    issuer    TEXT NOT NULL,
    subject   TEXT NOT NULL,
    account   BLOB NOT NULL REFERENCES account (id),
    audience  TEXT NOT NULL,
    linked_at BIGINT NOT NULL,
    PRIMARY KEY (account, audience, issuer)
);
INSERT INTO link_of_account (tenant, issuer, subject, account, audience, linked_at)
SELECT tenant, issuer, subject, account, audience, linked_at FROM link;
DROP TABLE link;
ALTER TABLE link_of_account RENAME TO link;
CREATE UNIQUE INDEX link_subject ON link (tenant, issuer, subject) WHERE audience = 'sso';
CREATE INDEX link_suite_subject ON link (issuer, subject) WHERE audience = 'suite';
