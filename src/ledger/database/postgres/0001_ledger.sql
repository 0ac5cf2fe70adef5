-- The same as on SQLite (there the comments), with the types of this database. What cannot be
-- searched for is json and kept as it was given.

CREATE TABLE ledger_version (version bigint NOT NULL);
INSERT INTO ledger_version VALUES (0);

CREATE TABLE dispatches (
    id uuid PRIMARY KEY,
    idempotency_key text UNIQUE,
    subject text,
    task json NOT NULL,
    state jsonb NOT NULL,
    priority bigint NOT NULL,
    owner uuid,
    created_at bigint NOT NULL,
    run_at bigint,
    deadline_at bigint,
    finished_at bigint,
    phase text NOT NULL GENERATED ALWAYS AS (state ->> 'phase') STORED,
    fence bigint NOT NULL GENERATED ALWAYS AS ((state ->> 'fence')::bigint) STORED,
    agent text GENERATED ALWAYS AS (state #>> ARRAY['plan', 'agents', state ->> 'at']) STORED,
    fallback bigint NOT NULL GENERATED ALWAYS AS (
        CASE WHEN jsonb_array_length(state #> '{plan,fallback}') > 0 THEN 1 ELSE 0 END
    ) STORED
);

CREATE UNIQUE INDEX dispatches_subject ON dispatches (subject)
    WHERE finished_at IS NULL AND subject IS NOT NULL;
CREATE INDEX dispatches_ready ON dispatches (agent, priority DESC, id) WHERE phase = 'queued';
CREATE INDEX dispatches_fallback ON dispatches (priority DESC, id)
    WHERE phase = 'queued' AND fallback = 1;
CREATE INDEX dispatches_due ON dispatches (run_at)
    WHERE run_at IS NOT NULL AND finished_at IS NULL;
CREATE INDEX dispatches_owner ON dispatches (owner, id) WHERE finished_at IS NULL;
CREATE INDEX dispatches_finished ON dispatches (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE attempts (
    dispatch_id uuid NOT NULL REFERENCES dispatches (id) ON DELETE CASCADE,
    fence bigint NOT NULL,
    agent text NOT NULL,
    started_at bigint NOT NULL,
    ended_at bigint,
    outcome text,
    reason text,
    terms json NOT NULL,
    PRIMARY KEY (dispatch_id, fence)
);

CREATE UNIQUE INDEX attempts_live ON attempts (dispatch_id) WHERE ended_at IS NULL;

CREATE TABLE slots (
    agent text NOT NULL,
    slot bigint NOT NULL,
    dispatch_id uuid UNIQUE REFERENCES dispatches (id),
    fence bigint,
    draining bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (agent, slot)
);

CREATE INDEX slots_free ON slots (agent, slot) WHERE dispatch_id IS NULL;

CREATE TABLE owners (
    id uuid PRIMARY KEY,
    seen_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    session bigint NOT NULL,
    gone bigint NOT NULL DEFAULT 0,
    handles text NOT NULL DEFAULT '[]'
);

CREATE TABLE pauses (
    agent text PRIMARY KEY,
    since bigint NOT NULL
);

CREATE TABLE events (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dispatch_id uuid NOT NULL,
    fence bigint NOT NULL,
    kind text NOT NULL,
    at bigint NOT NULL,
    body json NOT NULL
);

CREATE INDEX events_dispatch ON events (dispatch_id, seq);

CREATE TABLE outbox (
    id uuid PRIMARY KEY,
    dispatch_id uuid NOT NULL REFERENCES dispatches (id) ON DELETE CASCADE,
    fence bigint NOT NULL,
    position bigint NOT NULL,
    effect text NOT NULL,
    nonce uuid NOT NULL,
    row jsonb NOT NULL,
    owner uuid,
    remote_id bigint,
    phase text NOT NULL GENERATED ALWAYS AS (row ->> 'phase') STORED,
    not_before bigint NOT NULL GENERATED ALWAYS AS ((row ->> 'not_before')::bigint) STORED,
    settled bigint NOT NULL GENERATED ALWAYS AS (
        CASE WHEN row ->> 'phase' IN ('done', 'refused', 'ambiguous', 'dropped') THEN 1 ELSE 0 END
    ) STORED,
    UNIQUE (dispatch_id, fence, effect)
);

CREATE INDEX outbox_open ON outbox (phase, not_before, id) WHERE settled = 0;
CREATE INDEX outbox_order ON outbox (dispatch_id, fence, position) WHERE settled = 0;

CREATE TABLE agents (
    id bigint PRIMARY KEY CHECK (id = 1),
    revision bigint NOT NULL,
    agents text NOT NULL
);

INSERT INTO agents VALUES (1, 0, '[]');
