-- +goose Up

-- What is wrong with the fleet. Times are milliseconds since 1970 by this
-- database's clock. No personal data, here or in the tables below: what an alert
-- says names queues, providers and numbers.
CREATE TABLE alerts (
    rule       TEXT   NOT NULL,
    subject    TEXT   NOT NULL, -- the queue or provider; '' where the rule is about one thing
    summary    TEXT   NOT NULL,
    since      INTEGER NOT NULL,
    fired_at   INTEGER, -- NULL while it has not lasted
    noticed_at INTEGER,
    clear_at   INTEGER, -- since when it is not so any more
    PRIMARY KEY (rule, subject)
);

-- What is still to be told, to whom. A row goes when it has been.
CREATE TABLE alert_notices (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT   NOT NULL UNIQUE, -- as the receiver sees it
    target   TEXT   NOT NULL,
    kind     TEXT   NOT NULL,
    rule     TEXT   NOT NULL,
    subject  TEXT   NOT NULL,
    summary  TEXT   NOT NULL,
    since    INTEGER NOT NULL,
    until    INTEGER,
    at       INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at  INTEGER NOT NULL
);
CREATE INDEX alert_notices_target ON alert_notices (target, seq);

-- Which mail providers a worker process leaves alone, as it says every few seconds.
CREATE TABLE provider_outages (
    process  TEXT   NOT NULL,
    provider TEXT   NOT NULL,
    seen_at  INTEGER NOT NULL,
    PRIMARY KEY (process, provider)
);

-- +goose Down
DROP TABLE provider_outages;
DROP TABLE alert_notices;
DROP TABLE alerts;
