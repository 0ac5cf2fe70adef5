-- Every slot has a row, so that a claim finds the free ones without looking at the others.

CREATE TABLE new_slots (
    agent TEXT NOT NULL,
    slot INTEGER NOT NULL,
    dispatch_id TEXT UNIQUE REFERENCES dispatches (id),
    fence INTEGER,
    draining INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (agent, slot)
) STRICT, WITHOUT ROWID;

INSERT INTO new_slots SELECT agent, slot, dispatch_id, fence, draining FROM slots;
DROP TABLE slots;
ALTER TABLE new_slots RENAME TO slots;

CREATE INDEX slots_free ON slots (agent, slot) WHERE dispatch_id IS NULL;

-- When it last wrote, whether a session of the database proves that it lives, and whether others
-- are taking over from it.
ALTER TABLE owners ADD COLUMN seen_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE owners ADD COLUMN session INTEGER NOT NULL DEFAULT 0;
ALTER TABLE owners ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;

-- In the order in which effects are sent, so that the first of many are found without the others.
DROP INDEX outbox_open;
CREATE INDEX outbox_open ON outbox (phase, not_before, id) WHERE settled = 0;
