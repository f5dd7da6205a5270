-- +goose Up

-- What operators and API keys did, written once: the triggers below refuse to
-- change a record, and to delete one but by retention. Times are milliseconds
-- since 1970 by this database's clock. People whom something was done to, and users
-- of the application who did something, are named by keyed hashes (see secrets), so
-- that erasing a person has nothing to change here; actor and address may name
-- those who operate Postrider.
CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    act     TEXT    NOT NULL, -- all records of one act have it
    part    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    address TEXT    NOT NULL, -- that the request came from
    request TEXT    NOT NULL, -- its id
    action  TEXT    NOT NULL,
    target  TEXT    NOT NULL,
    detail  TEXT    NOT NULL,
    count   INTEGER NOT NULL,
    outcome TEXT    NOT NULL,
    UNIQUE (act, part)
);
CREATE INDEX audit_at     ON audit (at);
CREATE INDEX audit_actor  ON audit (actor, seq);
CREATE INDEX audit_action ON audit (action, seq);
CREATE INDEX audit_target ON audit (target, seq) WHERE target <> '';

-- Up to when retention may delete: one row, which never comes nearer than 30 days.
CREATE TABLE audit_horizon (
    one    INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    before INTEGER NOT NULL
);
INSERT INTO audit_horizon (before) VALUES (0);

-- +goose StatementBegin
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
WHEN OLD.at >= COALESCE((SELECT before FROM audit_horizon), 0) BEGIN
    SELECT RAISE(ABORT, 'the audit is append-only');
END;
-- +goose StatementEnd
-- INSERT OR REPLACE deletes without asking the trigger above.
-- +goose StatementBegin
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq OR act = NEW.act AND part = NEW.part) BEGIN
    SELECT RAISE(IGNORE);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_horizon_is_not_moved BEFORE UPDATE ON audit_horizon
WHEN NEW.before >= (CAST(strftime('%s', 'now') AS INTEGER) + 1) * 1000 - 2592000000 BEGIN
    SELECT RAISE(ABORT, 'the audit keeps the last 30 days');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_horizon_is_not_replaced BEFORE INSERT ON audit_horizon BEGIN
    SELECT RAISE(ABORT, 'the audit keeps the last 30 days');
END;
-- +goose StatementEnd

-- +goose Down
DROP TABLE audit;
DROP TABLE audit_horizon;
