-- +goose Up

-- What operators and API keys did, written once: the triggers below refuse to
-- change a record, and to delete one but by retention. Times are milliseconds
-- since 1970 by this database's clock. People whom something was done to, and users
-- of the application who did something, are named by keyed hashes (see secrets), so
-- that erasing a person has nothing to change here; actor and address may name
-- those who operate Postrider.
CREATE TABLE audit (
    seq     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    act     UUID   NOT NULL, -- all records of one act have it
    part    BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    actor   TEXT   NOT NULL,
    address TEXT   NOT NULL, -- that the request came from
    request TEXT   NOT NULL, -- its id
    action  TEXT   NOT NULL,
    target  TEXT   NOT NULL,
    detail  TEXT   NOT NULL,
    count   BIGINT NOT NULL,
    outcome TEXT   NOT NULL,
    UNIQUE (act, part)
);
CREATE INDEX audit_at     ON audit (at);
CREATE INDEX audit_actor  ON audit (actor, seq);
CREATE INDEX audit_action ON audit (action, seq);
CREATE INDEX audit_target ON audit (target, seq) WHERE target <> '';

-- Up to when retention may delete: one row, which never comes nearer than 30 days.
CREATE TABLE audit_horizon (
    one    BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    before BIGINT NOT NULL
);
INSERT INTO audit_horizon (before) VALUES (0);

-- +goose StatementBegin
CREATE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.at < (SELECT before FROM audit_horizon) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_stays();
CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_stays();

-- +goose StatementBegin
CREATE FUNCTION audit_horizon_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.before > floor(extract(epoch FROM now()) * 1000)::bigint - 2592000000 THEN
        RAISE EXCEPTION 'the audit keeps the last 30 days' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_horizon_stays BEFORE INSERT OR UPDATE ON audit_horizon FOR EACH ROW EXECUTE FUNCTION audit_horizon_stays();

-- +goose Down
DROP TABLE audit;
DROP TABLE audit_horizon;
DROP FUNCTION audit_stays;
DROP FUNCTION audit_horizon_stays;
