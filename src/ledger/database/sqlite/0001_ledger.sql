-- What the machines know of a dispatch and of an effect is one JSON value, their state; what is
-- searched for is generated from it, so that the two cannot differ.

CREATE TABLE dispatches (
    id TEXT PRIMARY KEY,
    idempotency_key TEXT UNIQUE,
    subject TEXT,
    task TEXT NOT NULL,
    state TEXT NOT NULL,
    priority INTEGER NOT NULL,
    owner TEXT,
    created_at INTEGER NOT NULL,
    -- When the timer of the state goes off, and until when the live attempt's agent has time.
    run_at INTEGER,
    deadline_at INTEGER,
    finished_at INTEGER,
    phase TEXT NOT NULL GENERATED ALWAYS AS (state ->> '$.phase') STORED,
    fence INTEGER NOT NULL GENERATED ALWAYS AS (state ->> '$.fence') STORED,
    agent TEXT GENERATED ALWAYS AS (state ->> ('$.plan.agents[' || (state ->> '$.at') || ']')) STORED,
    fallback INTEGER NOT NULL
        GENERATED ALWAYS AS (json_array_length(state, '$.plan.fallback') > 0) STORED
) STRICT;

CREATE UNIQUE INDEX dispatches_subject ON dispatches (subject)
    WHERE finished_at IS NULL AND subject IS NOT NULL;
CREATE INDEX dispatches_ready ON dispatches (agent, priority DESC, id) WHERE phase = 'queued';
CREATE INDEX dispatches_fallback ON dispatches (priority DESC, id)
    WHERE phase = 'queued' AND fallback = 1;
CREATE INDEX dispatches_due ON dispatches (run_at)
    WHERE run_at IS NOT NULL AND finished_at IS NULL;
CREATE INDEX dispatches_owner ON dispatches (owner) WHERE finished_at IS NULL;
CREATE INDEX dispatches_finished ON dispatches (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE attempts (
    dispatch_id TEXT NOT NULL REFERENCES dispatches (id) ON DELETE CASCADE,
    fence INTEGER NOT NULL,
    agent TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    outcome TEXT,
    reason TEXT,
    terms TEXT NOT NULL,
    PRIMARY KEY (dispatch_id, fence)
) STRICT, WITHOUT ROWID;

-- One live attempt per dispatch, whatever a program does.
CREATE UNIQUE INDEX attempts_live ON attempts (dispatch_id) WHERE ended_at IS NULL;

-- One dispatch per slot, one slot per dispatch. No row: the slot is free.
CREATE TABLE slots (
    agent TEXT NOT NULL,
    slot INTEGER NOT NULL,
    dispatch_id TEXT NOT NULL UNIQUE REFERENCES dispatches (id),
    fence INTEGER NOT NULL,
    draining INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (agent, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE owners (
    id TEXT PRIMARY KEY,
    expires_at INTEGER NOT NULL,
    -- The agents that it can hand tasks to, as JSON.
    handles TEXT NOT NULL DEFAULT '[]'
) STRICT;

-- Agents that get nothing for now; no name: none does.
CREATE TABLE pauses (
    agent TEXT PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT;

CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    dispatch_id TEXT NOT NULL,
    fence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE INDEX events_dispatch ON events (dispatch_id, seq);

CREATE TABLE outbox (
    id TEXT PRIMARY KEY,
    dispatch_id TEXT NOT NULL REFERENCES dispatches (id) ON DELETE CASCADE,
    fence INTEGER NOT NULL,
    position INTEGER NOT NULL,
    effect TEXT NOT NULL,
    nonce TEXT NOT NULL,
    row TEXT NOT NULL,
    owner TEXT,
    remote_id INTEGER,
    phase TEXT NOT NULL GENERATED ALWAYS AS (row ->> '$.phase') STORED,
    not_before INTEGER NOT NULL GENERATED ALWAYS AS (row ->> '$.not_before') STORED,
    settled INTEGER NOT NULL
        GENERATED ALWAYS AS (row ->> '$.phase' IN ('done', 'refused', 'ambiguous', 'dropped')) STORED,
    UNIQUE (dispatch_id, fence, effect)
) STRICT;

CREATE INDEX outbox_open ON outbox (phase, not_before) WHERE settled = 0;
CREATE INDEX outbox_order ON outbox (dispatch_id, fence, position) WHERE settled = 0;

-- The agents that are in force, one row.
CREATE TABLE agents (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    revision INTEGER NOT NULL,
    agents TEXT NOT NULL
) STRICT;

INSERT INTO agents VALUES (1, 0, '[]');
