-- +goose Up

-- The timetable. Times are milliseconds since 1970 by this database's clock.
CREATE TABLE schedules (
    name         TEXT    PRIMARY KEY,
    type         TEXT    NOT NULL,
    payload      TEXT    NOT NULL, -- JSON
    queue        TEXT    NOT NULL,
    cron         TEXT    NOT NULL,
    time_zone    TEXT    NOT NULL,
    missed       TEXT    NOT NULL CHECK (missed IN ('skip', 'once', 'all')),
    missed_limit BIGINT  NOT NULL,
    overlap      TEXT    NOT NULL CHECK (overlap IN ('allow', 'skip')),
    paused       BOOLEAN NOT NULL,
    source       TEXT    NOT NULL CHECK (source IN ('builtin', 'file', 'api')),
    created_at   BIGINT  NOT NULL,
    updated_at   BIGINT  NOT NULL,
    next_at      BIGINT, -- first slot that was not seen to; NULL while paused
    last_slot    BIGINT,
    last_at      BIGINT,
    last_job     TEXT
);
CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at IS NOT NULL;

-- Its history. The row of a slot is the claim to it: who cannot insert it makes
-- no job. A run by hand has no slot.
CREATE TABLE schedule_runs (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    name    TEXT   NOT NULL,
    slot    BIGINT,
    at      BIGINT NOT NULL,
    outcome TEXT   NOT NULL,
    job_id  TEXT,
    actor   TEXT   NOT NULL DEFAULT '',
    reason  TEXT   NOT NULL DEFAULT '',
    UNIQUE (name, slot),
    UNIQUE (job_id)
);
CREATE INDEX schedule_runs_name ON schedule_runs (name, seq);
CREATE INDEX schedule_runs_age  ON schedule_runs (at);

-- +goose Down
DROP TABLE schedule_runs;
DROP TABLE schedules;
