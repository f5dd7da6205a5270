-- +goose Up

-- What was said in rooms, once it is archived; newer messages are in Redis. at_ms
-- and seq are the id that Redis gave. What was taken back has deleted_at and no
-- body; it stays, so that a retry or an archive that is under way does not bring
-- it back. Personal data: room, which may be two people's, user_id, client_id,
-- body, data, words.
CREATE TABLE chat_messages (
    room       TEXT   NOT NULL,
    at_ms      BIGINT NOT NULL,
    seq        BIGINT NOT NULL,
    user_id    TEXT   NOT NULL, -- empty once erased
    client_id  TEXT   NOT NULL, -- how the sender names it; may be empty
    body       TEXT   NOT NULL,
    data       TEXT   NOT NULL, -- JSON, or empty
    words      TEXT   NOT NULL, -- of body, as package chat has them, a space between
    deleted_at BIGINT,
    PRIMARY KEY (room, at_ms, seq)
);
-- A message that is sent again is the same.
CREATE UNIQUE INDEX chat_messages_sent ON chat_messages (room, user_id, client_id) WHERE client_id <> '';
-- Retention.
CREATE INDEX chat_messages_age ON chat_messages (at_ms);
-- Erasure.
CREATE INDEX chat_messages_user ON chat_messages (user_id) WHERE user_id <> '';
-- Search.
CREATE INDEX chat_messages_words ON chat_messages USING gin (string_to_array(words, ' ')) WHERE deleted_at IS NULL;

-- +goose Down
DROP TABLE chat_messages;
