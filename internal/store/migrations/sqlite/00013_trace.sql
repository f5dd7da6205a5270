-- +goose Up

-- Where the trace stands that a job was accepted in (W3C Trace Context, 55
-- characters), for all of its runs to be part of; empty unless traces are made.
-- Made of chance by whoever began the trace: no personal data. It goes with its
-- row.
ALTER TABLE jobs ADD COLUMN trace TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE jobs DROP COLUMN trace;
