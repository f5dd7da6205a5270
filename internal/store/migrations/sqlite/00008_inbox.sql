-- +goose Up

-- When a stream's newest notification was made. What comes is never older, so
-- that the order by time is that of the sequence.
ALTER TABLE streams ADD COLUMN last_at BIGINT NOT NULL DEFAULT 0;
UPDATE streams SET last_at = COALESCE((SELECT max(created_at) FROM notifications WHERE stream = streams.name), 0);

-- A page of an inbox, and retention.
CREATE INDEX notifications_time ON notifications (stream, created_at, seq);

-- Who has marked anything: version counts the changes, and its row is locked
-- during each. Personal data: user_id, as that of the tables below.
CREATE TABLE inboxes (
    user_id TEXT   PRIMARY KEY,
    version BIGINT NOT NULL
);

-- Up to where a user has seen, read and archived a stream: archived_seq <=
-- read_seq <= seen_seq.
CREATE TABLE inbox_marks (
    user_id      TEXT   NOT NULL,
    stream       TEXT   NOT NULL,
    seen_seq     BIGINT NOT NULL,
    read_seq     BIGINT NOT NULL,
    archived_seq BIGINT NOT NULL,
    PRIMARY KEY (user_id, stream)
);

-- What is read beyond read_seq, or archived beyond archived_seq.
CREATE TABLE inbox_exceptions (
    user_id  TEXT    NOT NULL,
    stream   TEXT    NOT NULL,
    seq      BIGINT  NOT NULL,
    archived BOOLEAN NOT NULL,
    PRIMARY KEY (user_id, stream, seq)
);
CREATE INDEX inbox_exceptions_stream ON inbox_exceptions (stream, seq);

-- +goose Down
DROP TABLE inbox_exceptions;
DROP TABLE inbox_marks;
DROP TABLE inboxes;
DROP INDEX notifications_time;
ALTER TABLE streams DROP COLUMN last_at;
