-- +goose Up

-- API keys that were made at run time. Times are milliseconds since 1970 by this
-- database's clock. Of a secret its SHA-256 is kept, in hexadecimal, and how it
-- begins. name and created_by name those who operate Postrider, as in audit: no
-- column is of a person whom something is sent to.
CREATE TABLE api_keys (
    name         TEXT   PRIMARY KEY,
    hash         TEXT   NOT NULL UNIQUE,
    hint         TEXT   NOT NULL,
    scopes       TEXT   NOT NULL, -- with spaces between
    created_at   BIGINT NOT NULL,
    created_by   TEXT   NOT NULL,
    expires_at   BIGINT, -- NULL for never
    last_used_at BIGINT  -- to the minute; NULL before the first time
);

-- +goose Down
DROP TABLE api_keys;
