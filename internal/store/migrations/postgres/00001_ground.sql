-- +goose Up

-- A job's row is the truth about it. Times are milliseconds since 1970 by
-- this database's clock; zero counters and empty texts stand for "none yet".
CREATE TABLE jobs (
    id               UUID  PRIMARY KEY,
    type             TEXT    NOT NULL,
    queue            TEXT    NOT NULL,
    state            TEXT    NOT NULL CHECK (state IN
        ('waiting', 'running', 'held', 'done', 'failed', 'cancelled', 'expired', 'suppressed')),
    recipient        TEXT    NOT NULL DEFAULT '',
    batch            UUID,
    accepted_by      TEXT    NOT NULL DEFAULT '',

    created_at       BIGINT  NOT NULL,
    updated_at       BIGINT  NOT NULL,
    run_at           BIGINT  NOT NULL,
    expires_at       BIGINT,
    started_at       BIGINT,
    finished_at      BIGINT,
    cancel_requested BOOLEAN NOT NULL DEFAULT FALSE,

    runs             BIGINT  NOT NULL DEFAULT 0, -- claims; the last one's number is the fence
    attempts         BIGINT  NOT NULL DEFAULT 0, -- charged at settle
    max_attempts     BIGINT  NOT NULL,
    deaths           BIGINT  NOT NULL DEFAULT 0, -- dead leases
    on_ambiguous     TEXT    NOT NULL,

    worker           TEXT    NOT NULL DEFAULT '',
    token            TEXT    NOT NULL DEFAULT '', -- of the last claim
    lease_until      BIGINT,
    no_return_run    BIGINT  NOT NULL DEFAULT 0,  -- last run past its point of no return
    settled_run      BIGINT  NOT NULL DEFAULT 0,  -- last run whose outcome was recorded

    dispatches       BIGINT  NOT NULL DEFAULT 1,
    dispatched       BOOLEAN NOT NULL DEFAULT FALSE,
    dispatch_at      BIGINT  NOT NULL,

    code             TEXT    NOT NULL DEFAULT '',
    message          TEXT    NOT NULL DEFAULT '',
    reply_code       BIGINT  NOT NULL DEFAULT 0,

    payload          TEXT -- JSON; NULL once retention took it
);

-- Reconcile's questions; each index holds only the rows that can answer.
CREATE INDEX jobs_unclaimed    ON jobs (queue, run_at, id) WHERE state = 'waiting';
CREATE INDEX jobs_undispatched ON jobs (dispatch_at) WHERE state = 'waiting' AND NOT dispatched;
CREATE INDEX jobs_leases       ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_expiry       ON jobs (expires_at) WHERE state = 'waiting' AND expires_at IS NOT NULL;
-- Retention's.
CREATE INDEX jobs_done         ON jobs (finished_at) WHERE state = 'done';
CREATE INDEX jobs_over         ON jobs (finished_at) WHERE finished_at IS NOT NULL AND state <> 'done';
CREATE INDEX jobs_bodies       ON jobs (finished_at) WHERE state = 'done' AND payload IS NOT NULL;
-- People's.
CREATE INDEX jobs_recipient    ON jobs (recipient, id) WHERE recipient <> '';
CREATE INDEX jobs_batch        ON jobs (batch, id) WHERE batch IS NOT NULL;
CREATE INDEX jobs_troubled     ON jobs (state, id)
    WHERE state IN ('held', 'failed', 'cancelled', 'expired', 'suppressed');

CREATE TABLE job_events (
    seq        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id     UUID  NOT NULL,
    at         BIGINT  NOT NULL,
    kind       TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    run        BIGINT  NOT NULL DEFAULT 0,
    worker     TEXT    NOT NULL DEFAULT '',
    actor      TEXT    NOT NULL DEFAULT '',
    code       TEXT    NOT NULL DEFAULT '',
    reply_code BIGINT  NOT NULL DEFAULT 0,
    message    TEXT    NOT NULL DEFAULT ''
);
CREATE INDEX job_events_job ON job_events (job_id, seq);

-- What a caller named a request, so that its repeat is answered and not done
-- again. base is the id that the request's jobs are numbered from.
CREATE TABLE idempotency_keys (
    owner      TEXT   NOT NULL,
    key        TEXT   NOT NULL,
    hash       BYTEA  NOT NULL,
    base       UUID NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);

-- What one process at a time does.
CREATE TABLE leases (
    name   TEXT   PRIMARY KEY,
    holder TEXT   NOT NULL,
    until  BIGINT NOT NULL
);

-- Notifications: a stream's sequence is dense and taken in the transaction
-- that inserts the notification.
CREATE TABLE streams (
    name     TEXT   PRIMARY KEY,
    last_seq BIGINT NOT NULL
);
CREATE TABLE notifications (
    stream     TEXT   NOT NULL,
    seq        BIGINT NOT NULL,
    id         UUID NOT NULL UNIQUE, -- the job's
    type       TEXT   NOT NULL,
    message    TEXT   NOT NULL,
    data       TEXT, -- JSON
    created_at BIGINT NOT NULL,
    PRIMARY KEY (stream, seq)
);

-- +goose Down
DROP TABLE notifications;
DROP TABLE streams;
DROP TABLE leases;
DROP TABLE idempotency_keys;
DROP TABLE job_events;
DROP TABLE jobs;
