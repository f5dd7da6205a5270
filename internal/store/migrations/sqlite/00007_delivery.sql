-- +goose Up

-- When a job was to run first, which run_at no longer says once an attempt has
-- failed; 0 of jobs from before.
ALTER TABLE jobs ADD COLUMN due_at BIGINT NOT NULL DEFAULT 0;

-- What a job is about, for people who search. Beside jobs and not in it: every
-- change of a job writes its row, and its entry in each index, anew; this is
-- written once. Personal data: subject and subject_key.
CREATE TABLE mails (
    job_id      TEXT   PRIMARY KEY,
    subject     TEXT   NOT NULL,
    subject_key TEXT NOT NULL, -- its beginning, lower case
    template    TEXT   NOT NULL,
    category    TEXT   NOT NULL,
    due_at      BIGINT NOT NULL
);
CREATE INDEX mails_subject  ON mails (subject_key, job_id) WHERE subject_key <> '';
CREATE INDEX mails_template ON mails (template, job_id)    WHERE template <> '';
CREATE INDEX mails_category ON mails (category, due_at)    WHERE category <> '';

-- How many mails of a category were to be out within this minute, by their
-- objective, and how many were.
CREATE TABLE objective_minutes (
    category TEXT   NOT NULL,
    minute   BIGINT NOT NULL, -- since 1970
    total    BIGINT NOT NULL,
    good     BIGINT NOT NULL,
    PRIMARY KEY (category, minute)
);

-- +goose Down
DROP TABLE objective_minutes;
DROP TABLE mails;
ALTER TABLE jobs DROP COLUMN due_at;
