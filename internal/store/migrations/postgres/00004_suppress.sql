-- +goose Up

-- Who gets no mail. Times are milliseconds since 1970 by this database's clock.
-- Personal data: address, and note, which may quote a server's reply.
CREATE TABLE suppressions (
    seq        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    address    TEXT   NOT NULL, -- normalised: lower case, the domain in ASCII
    category   TEXT   NOT NULL, -- '' for all mail
    reason     TEXT   NOT NULL CHECK (reason IN ('complaint', 'bounce', 'manual', 'unsubscribe')),
    note       TEXT   NOT NULL DEFAULT '',
    actor      TEXT   NOT NULL DEFAULT '',
    job_id     UUID,
    created_at BIGINT NOT NULL,
    UNIQUE (address, category, reason)
);
CREATE INDEX suppressions_reason   ON suppressions (reason, seq);
CREATE INDEX suppressions_category ON suppressions (category, seq);

-- What providers and servers told of mails after they had taken them; each of
-- their events once. Personal data: address, and message, likewise.
CREATE TABLE feedback (
    seq        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider   TEXT    NOT NULL,
    event      TEXT    NOT NULL, -- the provider's name for it
    kind       TEXT    NOT NULL CHECK (kind IN ('delivered', 'bounced', 'complained')),
    permanent  BOOLEAN NOT NULL,
    address    TEXT    NOT NULL, -- normalised; '' where it is not known
    job_id     UUID, -- NULL where the mail's job is not known
    at         BIGINT  NOT NULL, -- by the provider's clock
    created_at BIGINT  NOT NULL,
    reply_code BIGINT  NOT NULL DEFAULT 0,
    message    TEXT    NOT NULL DEFAULT '',
    UNIQUE (provider, event)
);
CREATE INDEX feedback_address ON feedback (address, seq) WHERE address <> '';
CREATE INDEX feedback_age     ON feedback (created_at);

-- +goose Down
DROP TABLE feedback;
DROP TABLE suppressions;
