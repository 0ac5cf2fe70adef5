-- Which revision of the agents a process works with; 0: it is not known.
ALTER TABLE owners ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
