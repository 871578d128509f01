-- A log-in in one statement, and with fewer pages to write: what it takes beyond the disk's own sync is mostly these.

-- A session's token is no key here: it is found in memory, and no two digests of 256 random bits are the same. As a
-- unique column it cost each log-in a page of an index that nothing was looked up in.
--
-- A table has to be made anew to lose one. *Why its children with it?* They refer to it with ON DELETE CASCADE, and
-- SQLite deletes a table's rows before it drops it: what came from providers would be gone. Children first, and nobody
-- refers to a table by the time that it is dropped. *Why not with foreign keys switched off?* That cannot be done within a
-- transaction, and a migration outside one can be killed in the middle.
CREATE TABLE session_after (
    id               BLOB,
    token            BLOB NOT NULL,
    flow             BLOB NOT NULL,
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
INSERT INTO session_after (id, token, flow, account, tenant, zone, epoch, class, method, factors, authenticated_at,
    started_at, last_seen, idle_max, absolute_max, device_label, device_address, ended_at, end_reason)
SELECT id, token, flow, account, tenant, zone, epoch, class, method, factors, authenticated_at,
    started_at, last_seen, idle_max, absolute_max, device_label, device_address, ended_at, end_reason
FROM session NOT INDEXED;
-- The keys come after the rows, and are sorted once: in the order of random ids, each row took pages of both.
CREATE UNIQUE INDEX session_id ON session_after (id);
CREATE UNIQUE INDEX session_flow ON session_after (flow);

CREATE TABLE provider_session_after (
    session  BLOB PRIMARY KEY REFERENCES session_after (id) ON DELETE CASCADE,
    audience TEXT NOT NULL,
    issuer   TEXT NOT NULL,
    subject  TEXT NOT NULL,
    sid      TEXT,
    id_token BLOB,
    modules  TEXT
);
INSERT INTO provider_session_after (session, audience, issuer, subject, sid, id_token, modules)
SELECT session, audience, issuer, subject, sid, id_token, modules FROM provider_session NOT INDEXED;

CREATE TABLE provider_logout_after (
    session   BLOB PRIMARY KEY REFERENCES provider_session_after (session) ON DELETE CASCADE,
    queued_at BIGINT NOT NULL,
    due_at    BIGINT NOT NULL,
    attempts  BIGINT NOT NULL
);
INSERT INTO provider_logout_after (session, queued_at, due_at, attempts)
SELECT session, queued_at, due_at, attempts FROM provider_logout NOT INDEXED;

DROP TABLE provider_logout;
DROP TABLE provider_session;
DROP TABLE session;
-- What refers to a table goes with its name.
ALTER TABLE session_after RENAME TO session;
ALTER TABLE provider_session_after RENAME TO provider_session;
ALTER TABLE provider_logout_after RENAME TO provider_logout;
CREATE INDEX session_account ON session (account) WHERE ended_at IS NULL;
CREATE INDEX session_ended_at ON session (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX provider_session_subject ON provider_session (issuer, subject);
CREATE INDEX provider_session_sid ON provider_session (issuer, sid) WHERE sid IS NOT NULL;
CREATE INDEX provider_logout_due_at ON provider_logout (due_at);

-- What a log-in writes, side by side: the session and its line in the log. It is written and never read. The trigger makes
-- one statement of two, so that the engine commits or undoes both by itself. PostgreSQL has such triggers too, with
-- their text in a function.
CREATE VIEW log_in AS
SELECT session.id, session.token, session.flow, session.account, session.tenant, session.zone, session.epoch,
    session.class, session.method, session.factors, session.authenticated_at, session.started_at, session.last_seen,
    session.idle_max, session.absolute_max, session.device_label, session.device_address,
    line.at AS line_at, line.kind AS line_kind, line.actor AS line_actor, line.request AS line_request,
    line.zone AS line_zone, line.tenant AS line_tenant, line.account AS line_account, line.session AS line_session,
    line.class AS line_class, line.address AS line_address, line.reason AS line_reason, line.detail AS line_detail
FROM session JOIN security_event AS line ON line.session = session.id;

CREATE TRIGGER log_in_is_session_and_line INSTEAD OF INSERT ON log_in
BEGIN
    INSERT INTO session (id, token, flow, account, tenant, zone, epoch, class, method, factors, authenticated_at,
        started_at, last_seen, idle_max, absolute_max, device_label, device_address)
    VALUES (NEW.id, NEW.token, NEW.flow, NEW.account, NEW.tenant, NEW.zone, NEW.epoch, NEW.class, NEW.method,
        NEW.factors, NEW.authenticated_at, NEW.started_at, NEW.last_seen, NEW.idle_max, NEW.absolute_max,
        NEW.device_label, NEW.device_address);
    INSERT INTO security_event
        (at, kind, actor, request, zone, tenant, account, session, class, address, reason, detail)
    VALUES (NEW.line_at, NEW.line_kind, NEW.line_actor, NEW.line_request, NEW.line_zone, NEW.line_tenant,
        NEW.line_account, NEW.line_session, NEW.line_class, NEW.line_address, NEW.line_reason, NEW.line_detail);
END;

-- No query used it: the newest lines are read from the log's end, of one user too. It cost every line a page.
-- *Why is the log not made anew without AUTOINCREMENT, which costs one as well?* It may be longer than all the rest, and
-- nothing was measured to come of it.
DROP INDEX security_event_account;
