-- +goose Up

-- Files that mails carry. Times are milliseconds since 1970 by this database's
-- clock.
CREATE TABLE files (
    id           TEXT   PRIMARY KEY, -- SHA-256 of the content, in hex
    size         BIGINT NOT NULL,
    content_type TEXT   NOT NULL,
    owner        TEXT   NOT NULL, -- the API key that stored it first
    created_at   BIGINT NOT NULL,
    used_at      BIGINT NOT NULL  -- within an hour of the last use
);
CREATE INDEX files_age ON files (used_at);

-- Their content, 256 KiB a row. Personal data: data, whatever a mail may carry.
CREATE TABLE file_chunks (
    file TEXT   NOT NULL,
    n    BIGINT NOT NULL,
    data BYTEA  NOT NULL,
    PRIMARY KEY (file, n)
);

-- Which job's payload names which file. Written before the job is: one that was
-- not accepted in the end leaves rows, which are forgotten like those of a job
-- without a payload.
CREATE TABLE file_uses (
    file   TEXT   NOT NULL,
    job_id UUID   NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (file, job_id)
);

-- +goose Down
DROP TABLE file_uses;
DROP TABLE file_chunks;
DROP TABLE files;
