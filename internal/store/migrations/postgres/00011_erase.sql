-- +goose Up

-- The key of the hashes that stand for erased people on the list of who gets no
-- mail. It is in the database, and not among the settings, so that nobody can
-- lose it: without it these people would get mail again. No personal data.
CREATE TABLE secrets (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Which uses of files are old enough to be forgotten.
CREATE INDEX file_uses_age ON file_uses (at);
-- Whose files an erasure may delete.
CREATE INDEX file_uses_job ON file_uses (job_id);

-- A category's mails, the newest first, however many they are.
CREATE INDEX mails_category_job ON mails (category, job_id) WHERE category <> '';

-- +goose Down
DROP INDEX mails_category_job;
DROP INDEX file_uses_job;
DROP INDEX file_uses_age;
DROP TABLE secrets;
