-- How many transactions a process has made: one whose end it did not hear of is known by its turn.
ALTER TABLE owners ADD COLUMN turn bigint NOT NULL DEFAULT 0;
