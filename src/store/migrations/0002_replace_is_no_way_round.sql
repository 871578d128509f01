-- INSERT OR REPLACE deletes the row in its way without asking the triggers of deletion.
CREATE TRIGGER security_event_is_never_replaced BEFORE INSERT ON security_event
WHEN EXISTS (SELECT 1 FROM security_event WHERE seq = NEW.seq)
BEGIN
    SELECT RAISE(ABORT, 'the security log is append-only');
END;
