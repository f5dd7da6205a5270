-- +goose Up

-- The sources of mail templates that jobs are pinned to, by SHA-256 in
-- hexadecimal digits. They are operators' files: no column holds an address or
-- what a mail said to anybody.
CREATE TABLE templates (
    hash       TEXT   PRIMARY KEY,
    source     TEXT   NOT NULL, -- JSON: all files that a rendering needs
    created_at BIGINT NOT NULL,
    touched_at BIGINT NOT NULL  -- when a job was last pinned to it, give or take an hour
);
CREATE INDEX templates_age ON templates (touched_at);

-- +goose Down
DROP TABLE templates;
