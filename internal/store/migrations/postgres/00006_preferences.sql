-- +goose Up

-- What people prefer. Times are milliseconds since 1970 by this database's
-- clock. Personal data: preferences.id (may be an address) and address;
-- digests.recipient and address; digest_items.recipient, title and text.
CREATE TABLE preferences (
    id         TEXT   PRIMARY KEY, -- a user's, or a normalised address
    address    TEXT   NOT NULL,    -- normalised; empty for none
    settings   TEXT   NOT NULL,    -- JSON
    version    BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX preferences_address ON preferences (address) WHERE address <> '';

-- One digest for a recipient and window. Its row is the claim to it: who cannot
-- close it makes no mail.
CREATE TABLE digests (
    recipient TEXT   NOT NULL, -- preferences.id
    ends_at   BIGINT NOT NULL,
    address   TEXT   NOT NULL,
    items     BIGINT NOT NULL,
    closed_at BIGINT,          -- NULL while it gathers
    job_id    UUID,            -- its mail; NULL where there was nothing to send
    PRIMARY KEY (recipient, ends_at)
);
CREATE INDEX digests_due ON digests (ends_at) WHERE closed_at IS NULL;
CREATE INDEX digests_age ON digests (closed_at) WHERE closed_at IS NOT NULL;

-- What they gathered, written as the item's job is settled.
CREATE TABLE digest_items (
    job_id    UUID   PRIMARY KEY,
    recipient TEXT   NOT NULL,
    ends_at   BIGINT NOT NULL,
    category  TEXT   NOT NULL,
    title     TEXT   NOT NULL,
    text      TEXT   NOT NULL,
    at        BIGINT NOT NULL
);
CREATE INDEX digest_items_digest ON digest_items (recipient, ends_at, at, job_id);

-- +goose Down
DROP TABLE digest_items;
DROP TABLE digests;
DROP TABLE preferences;
