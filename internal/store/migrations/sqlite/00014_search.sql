-- +goose Up
-- The jobs that a schedule made, the newest first. Jobs that callers made are not
-- in it: their writes cost what they did.
CREATE INDEX jobs_schedule ON jobs (accepted_by, id) WHERE substr(accepted_by, 1, 9) = 'schedule:';

-- +goose Down
DROP INDEX jobs_schedule;
