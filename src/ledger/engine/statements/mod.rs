//! Every statement, in both dialects.

mod owners;
mod reading;

pub(super) use owners::*;
pub(super) use reading::*;

use crate::ledger::database::Sql;

/// now, revision of the agents in force.
pub(super) const SCENE: Sql = Sql {
    sqlite: "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER), revision FROM agents",
    postgres: "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, revision \
        FROM agents",
};

/// id, idempotency key, subject → id, task, key, subject while unfinished.
pub(super) const TWINS: Sql = Sql {
    sqlite: "WITH wanted AS MATERIALIZED (SELECT value ->> 0 AS id, value ->> 1 AS key, \
            value ->> 2 AS subject FROM json_each($1)), \
        found AS (SELECT id FROM wanted \
            UNION SELECT d.id FROM wanted AS w JOIN dispatches AS d ON d.idempotency_key = w.key \
            UNION SELECT d.id FROM wanted AS w JOIN dispatches AS d \
                ON d.subject = w.subject AND d.finished_at IS NULL) \
        SELECT d.id, d.task, d.idempotency_key, iif(d.finished_at IS NULL, d.subject, NULL) \
        FROM found JOIN dispatches AS d ON d.id = found.id",
    postgres: "WITH wanted AS MATERIALIZED (SELECT * FROM \
            unnest($1::text[], $2::text[], $3::text[]) AS w(id, key, subject)), \
        found AS (SELECT id::uuid FROM wanted \
            UNION SELECT d.id FROM wanted AS w JOIN dispatches AS d ON d.idempotency_key = w.key \
            UNION SELECT d.id FROM wanted AS w JOIN dispatches AS d \
                ON d.subject = w.subject AND d.finished_at IS NULL) \
        SELECT d.id::text, d.task::text, d.idempotency_key, \
            CASE WHEN d.finished_at IS NULL THEN d.subject END \
        FROM found JOIN dispatches AS d ON d.id = found.id",
};

/// id, key, subject, task, state, priority, now.
pub(super) const SUBMIT: Sql = Sql {
    sqlite: "INSERT INTO dispatches \
        (id, idempotency_key, subject, task, state, priority, created_at) \
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
            value ->> 6 FROM json_each($1) WHERE true ON CONFLICT DO NOTHING",
    postgres: "INSERT INTO dispatches \
        (id, idempotency_key, subject, task, state, priority, created_at) \
        SELECT r.id::uuid, r.key, r.subject, r.task::json, r.state::jsonb, r.priority, r.at \
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], \
            $7::bigint[]) AS r(id, key, subject, task, state, priority, at) \
        ON CONFLICT DO NOTHING",
};

/// ids → id, state, owner, timer, deadline; packed.
pub(super) const LOAD: Sql = Sql {
    sqlite: "SELECT json_group_array(json_array(d.id, d.state, d.owner, d.run_at, d.deadline_at)) \
        FROM json_each($1) AS w JOIN dispatches AS d ON d.id = w.value ->> 0",
    // In the order of their ids, so that two writers do not wait for each other.
    postgres: "SELECT id::text, state::text, owner::text, run_at, deadline_at FROM dispatches \
        WHERE id = ANY($1::text[]::uuid[]) ORDER BY id FOR UPDATE",
};

/// Effects; packed.
macro_rules! outs {
    ($sqlite:literal, $postgres:literal) => {
        Sql {
            sqlite: concat!(
                "SELECT json_group_array(json_array(id, dispatch_id, fence, effect, nonce, row, \
                 position, owner, remote_id)) FROM ( \
                 SELECT o.id, o.dispatch_id, o.fence, o.effect, o.nonce, o.row, o.position, \
                 o.owner, o.remote_id FROM ",
                $sqlite,
                ")"
            ),
            postgres: concat!(
                "SELECT o.id::text, o.dispatch_id::text, o.fence, o.effect, o.nonce::text, \
                 o.row::text, o.position, o.owner::text, o.remote_id FROM ",
                $postgres
            ),
        }
    };
}

/// ids of dispatches → their effects that are not settled. (With `settled = 0` PostgreSQL would, as
/// long as it holds the table to be small, look through all that are not settled.)
pub(super) const LOAD_OPEN: Sql = outs!(
    "json_each($1) AS w JOIN outbox AS o ON o.dispatch_id = w.value ->> 0 \
     WHERE o.settled <> 1 ORDER BY o.position",
    "outbox AS o WHERE o.dispatch_id = ANY($1::text[]::uuid[]) AND o.settled <> 1 \
     ORDER BY o.position"
);

/// ids of effects → these.
pub(super) const LOAD_OUT: Sql = outs!(
    "json_each($1) AS w JOIN outbox AS o ON o.id = w.value ->> 0",
    "outbox AS o WHERE o.id = ANY($1::text[]::uuid[])"
);

/// ids of effects → id, dispatch.
pub(super) const WHOSE: Sql = Sql {
    sqlite: "SELECT o.id, o.dispatch_id FROM json_each($1) AS w \
        JOIN outbox AS o ON o.id = w.value ->> 0",
    postgres: "SELECT id::text, dispatch_id::text FROM outbox WHERE id = ANY($1::text[]::uuid[])",
};

/// owner → what it was sending.
pub(super) const SENDING: Sql = outs!(
    "outbox AS o WHERE o.owner = $1 AND o.settled = 0 AND o.phase = 'sending'",
    "outbox AS o WHERE o.owner = $1::uuid AND o.settled = 0 AND o.phase = 'sending' FOR UPDATE"
);

/// now, whether others took over; id, state, whether finished, owner, timer, deadline.
pub(super) const UPDATE: Sql = Sql {
    sqlite: "UPDATE dispatches SET state = r.value ->> 1, \
            owner = CASE WHEN $2 THEN owner ELSE r.value ->> 3 END, \
            finished_at = CASE WHEN r.value ->> 2 THEN coalesce(finished_at, $1) END, \
            run_at = r.value ->> 4, deadline_at = r.value ->> 5 \
        FROM json_each($3) AS r WHERE dispatches.id = r.value ->> 0",
    postgres: "UPDATE dispatches SET state = r.state::jsonb, \
            owner = CASE WHEN $2 = 1 THEN dispatches.owner ELSE r.owner::uuid END, \
            finished_at = CASE WHEN r.finished = 1 THEN coalesce(finished_at, $1) END, \
            run_at = r.run_at, deadline_at = r.deadline_at \
        FROM unnest($3::text[], $4::text[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[]) \
            AS r(id, state, finished, owner, run_at, deadline_at) \
        WHERE dispatches.id = r.id::uuid",
};

/// id, state.
pub(super) const STEP: Sql = Sql {
    sqlite: "UPDATE dispatches SET state = r.value ->> 1 FROM json_each($1) AS r \
        WHERE dispatches.id = r.value ->> 0",
    postgres: "UPDATE dispatches SET state = r.state::jsonb \
        FROM unnest($1::text[], $2::text[]) AS r(id, state) WHERE dispatches.id = r.id::uuid",
};

/// dispatch, fence, agent, now, terms.
pub(super) const BEGIN_ATTEMPTS: Sql = Sql {
    sqlite: "INSERT INTO attempts (dispatch_id, fence, agent, started_at, terms) \
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each($1)",
    postgres: "INSERT INTO attempts (dispatch_id, fence, agent, started_at, terms) \
        SELECT r.id::uuid, r.fence, r.agent, r.at, r.terms::json \
        FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::text[]) \
            AS r(id, fence, agent, at, terms)",
};

/// dispatch, fence, now, outcome, reason.
pub(super) const END_ATTEMPTS: Sql = Sql {
    sqlite: "UPDATE attempts SET ended_at = r.value ->> 2, outcome = r.value ->> 3, \
            reason = r.value ->> 4 FROM json_each($1) AS r \
        WHERE attempts.dispatch_id = r.value ->> 0 AND attempts.fence = r.value ->> 1",
    postgres: "UPDATE attempts SET ended_at = r.at, outcome = r.outcome, reason = r.reason \
        FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[]) \
            AS r(id, fence, at, outcome, reason) \
        WHERE attempts.dispatch_id = r.id::uuid AND attempts.fence = r.fence",
};

/// agent, most, limit → free slots; packed.
pub(super) const FREE: Sql = Sql {
    // It would look at all the slots, the primary key being an index too.
    sqlite: "SELECT json_group_array(json_array(slot)) FROM ( \
            SELECT slot FROM slots INDEXED BY slots_free \
            WHERE agent = $1 AND dispatch_id IS NULL AND slot <= $2 ORDER BY slot LIMIT $3)",
    postgres: "SELECT slot FROM slots WHERE agent = $1 AND dispatch_id IS NULL AND slot <= $2 \
        ORDER BY slot LIMIT $3 FOR UPDATE SKIP LOCKED",
};

/// agent, slot, dispatch, fence.
pub(super) const TAKE_SLOTS: Sql = Sql {
    sqlite: "UPDATE slots SET dispatch_id = r.value ->> 2, fence = r.value ->> 3, draining = 0 \
        FROM json_each($1) AS r \
        WHERE slots.agent = r.value ->> 0 AND slots.slot = r.value ->> 1",
    postgres: "UPDATE slots SET dispatch_id = r.id::uuid, fence = r.fence, draining = 0 \
        FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[]) \
            AS r(agent, slot, id, fence) \
        WHERE slots.agent = r.agent AND slots.slot = r.slot",
};

/// dispatch, fence.
pub(super) const DRAIN_SLOTS: Sql = Sql {
    sqlite: "UPDATE slots SET draining = 1 FROM json_each($1) AS r \
        WHERE slots.dispatch_id = r.value ->> 0 AND slots.fence = r.value ->> 1",
    postgres: "UPDATE slots SET draining = 1 \
        FROM unnest($1::text[], $2::bigint[]) AS r(id, fence) \
        WHERE slots.dispatch_id = r.id::uuid AND slots.fence = r.fence",
};

/// dispatch, fence.
pub(super) const FREE_SLOTS: Sql = Sql {
    sqlite: "UPDATE slots SET dispatch_id = NULL, fence = NULL, draining = 0 \
        FROM json_each($1) AS r \
        WHERE slots.dispatch_id = r.value ->> 0 AND slots.fence = r.value ->> 1",
    postgres: "UPDATE slots SET dispatch_id = NULL, fence = NULL, draining = 0 \
        FROM unnest($1::text[], $2::bigint[]) AS r(id, fence) \
        WHERE slots.dispatch_id = r.id::uuid AND slots.fence = r.fence",
};

/// id, dispatch, fence, position, effect, nonce, row, owner, remote id.
pub(super) const SEND: Sql = Sql {
    sqlite: "INSERT INTO outbox \
        (id, dispatch_id, fence, position, effect, nonce, row, owner, remote_id) \
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
            value ->> 6, value ->> 7, value ->> 8 FROM json_each($1)",
    postgres: "INSERT INTO outbox \
        (id, dispatch_id, fence, position, effect, nonce, row, owner, remote_id) \
        SELECT r.id::uuid, r.dispatch::uuid, r.fence, r.position, r.effect, r.nonce::uuid, \
            r.row::jsonb, r.owner::uuid, r.remote_id \
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], \
            $7::text[], $8::text[], $9::bigint[]) \
            AS r(id, dispatch, fence, position, effect, nonce, row, owner, remote_id)",
};

/// id, row, owner, remote id.
pub(super) const MOVE: Sql = Sql {
    sqlite: "UPDATE outbox SET row = r.value ->> 1, owner = r.value ->> 2, \
            remote_id = r.value ->> 3 FROM json_each($1) AS r WHERE outbox.id = r.value ->> 0",
    postgres: "UPDATE outbox SET row = r.row::jsonb, owner = r.owner::uuid, \
            remote_id = r.remote_id \
        FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) \
            AS r(id, row, owner, remote_id) WHERE outbox.id = r.id::uuid",
};

/// dispatch, fence, kind, now, body.
pub(super) const NOTE: Sql = Sql {
    sqlite: "INSERT INTO events (dispatch_id, fence, kind, at, body) \
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 \
        FROM json_each($1) ORDER BY key",
    postgres: "INSERT INTO events (dispatch_id, fence, kind, at, body) \
        SELECT r.id::uuid, r.fence, r.kind, r.at, r.body::json \
        FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::text[]) \
            WITH ORDINALITY AS r(id, fence, kind, at, body, place) ORDER BY r.place",
};

/// Effects with what there is to know to carry them out; packed.
macro_rules! errands {
    ($sqlite:literal, $postgres:literal) => {
        Sql {
            sqlite: concat!(
                "SELECT json_group_array(json_array(id, dispatch_id, fence, effect, nonce, row, \
                 remote_id, handover, agent, terms, task, reason, retries)) FROM ( \
                 SELECT o.id, o.dispatch_id, o.fence, o.effect, o.nonce, o.row, o.remote_id, \
                 h.remote_id AS handover, a.agent, a.terms, d.task, d.state ->> 'reason' AS reason, \
                 d.state ->> '$.plan.max_retries' AS retries \
                 FROM outbox AS o JOIN dispatches AS d ON d.id = o.dispatch_id \
                 LEFT JOIN attempts AS a ON a.dispatch_id = o.dispatch_id AND a.fence = o.fence \
                 LEFT JOIN outbox AS h ON h.dispatch_id = o.dispatch_id AND h.fence = o.fence \
                 AND h.effect = 'comment' ",
                $sqlite,
                ")"
            ),
            postgres: concat!(
                "SELECT o.id::text, o.dispatch_id::text, o.fence, o.effect, o.nonce::text, \
                 o.row::text, o.remote_id, h.remote_id, a.agent, a.terms::text, d.task::text, \
                 d.state ->> 'reason', (d.state #>> '{plan,max_retries}')::bigint \
                 FROM outbox AS o JOIN dispatches AS d ON d.id = o.dispatch_id \
                 LEFT JOIN attempts AS a ON a.dispatch_id = o.dispatch_id AND a.fence = o.fence \
                 LEFT JOIN outbox AS h ON h.dispatch_id = o.dispatch_id AND h.fence = o.fence \
                 AND h.effect = 'comment' ",
                $postgres
            ),
        }
    };
}

/// now, limit → the effects whose turn it is.
pub(super) const DUE: Sql = errands!(
    "WHERE o.settled = 0 AND o.phase = 'ready' AND o.not_before <= $1 AND d.phase <> 'held' \
     AND NOT EXISTS (SELECT 1 FROM outbox AS e WHERE e.settled <> 1 \
         AND e.dispatch_id = o.dispatch_id AND e.fence = o.fence AND e.position < o.position) \
     ORDER BY o.not_before, o.id LIMIT $2",
    "WHERE o.settled = 0 AND o.phase = 'ready' AND o.not_before <= $1 AND d.phase <> 'held' \
     AND NOT EXISTS (SELECT 1 FROM outbox AS e WHERE e.settled <> 1 \
         AND e.dispatch_id = o.dispatch_id AND e.fence = o.fence AND e.position < o.position) \
     ORDER BY o.not_before, o.id LIMIT $2 FOR UPDATE OF o, d SKIP LOCKED"
);

/// now, limit → the effects in doubt that may be looked for.
pub(super) const DOUBTFUL: Sql = errands!(
    "WHERE o.settled = 0 AND o.phase IN ('in_doubt', 'settling') AND o.not_before <= $1 \
     AND d.phase <> 'held' ORDER BY o.not_before, o.id LIMIT $2",
    "WHERE o.settled = 0 AND o.phase IN ('in_doubt', 'settling') AND o.not_before <= $1 \
     AND d.phase <> 'held' ORDER BY o.not_before, o.id LIMIT $2 FOR UPDATE OF o, d SKIP LOCKED"
);

/// dispatch → its effects.
pub(super) const EFFECTS: Sql = errands!(
    "WHERE o.dispatch_id = $1 ORDER BY o.fence, o.position, o.id",
    "WHERE o.dispatch_id = $1::uuid ORDER BY o.fence, o.position, o.id"
);

/// limit → the effects that are not settled.
pub(super) const OUTBOX: Sql = errands!(
    "WHERE o.settled = 0 ORDER BY o.id LIMIT $1",
    "WHERE o.settled = 0 ORDER BY o.id LIMIT $1"
);

/// dispatch → the unfinished one about the same, beside it.
pub(super) const BUSY: Sql = Sql {
    sqlite: "SELECT other.id FROM dispatches AS ours JOIN dispatches AS other \
        ON other.subject = ours.subject AND other.finished_at IS NULL \
        WHERE ours.id = $1 AND ours.finished_at IS NOT NULL",
    postgres: "SELECT other.id::text FROM dispatches AS ours JOIN dispatches AS other \
        ON other.subject = ours.subject AND other.finished_at IS NULL \
        WHERE ours.id = $1::uuid AND ours.finished_at IS NOT NULL",
};

/// limit, agent → id, task, state of what is ready for it; packed.
pub(super) const READY: Sql = Sql {
    sqlite: "SELECT json_group_array(json_array(id, task, state)) FROM ( \
            SELECT id, task, state FROM dispatches WHERE phase = 'queued' AND agent = $2 \
            ORDER BY priority DESC, id LIMIT $1)",
    postgres: "SELECT id::text, task::text, state::text FROM dispatches \
        WHERE phase = 'queued' AND agent = $2 \
        ORDER BY priority DESC, id LIMIT $1 FOR UPDATE SKIP LOCKED",
};

/// limit → id, task, state of what is ready and may go to a stand-in; packed.
pub(super) const READY_FALLBACK: Sql = Sql {
    sqlite: "SELECT json_group_array(json_array(id, task, state)) FROM ( \
            SELECT id, task, state FROM dispatches WHERE phase = 'queued' AND fallback = 1 \
            ORDER BY priority DESC, id LIMIT $1)",
    postgres: "SELECT id::text, task::text, state::text FROM dispatches \
        WHERE phase = 'queued' AND fallback = 1 \
        ORDER BY priority DESC, id LIMIT $1 FOR UPDATE SKIP LOCKED",
};

/// agent, most → a row where a slot is free.
pub(super) const HAS_FREE: Sql = Sql {
    sqlite: "SELECT slot FROM slots INDEXED BY slots_free \
        WHERE agent = $1 AND dispatch_id IS NULL AND slot <= $2 LIMIT 1",
    postgres: "SELECT slot FROM slots WHERE agent = $1 AND dispatch_id IS NULL AND slot <= $2 \
        LIMIT 1",
};

/// agents, owner.
pub(super) const HANDLES: Sql = Sql {
    sqlite: "UPDATE owners SET handles = $1 WHERE id = $2 AND handles <> $1",
    postgres: "UPDATE owners SET handles = $1 WHERE id = $2::uuid AND handles <> $1",
};

/// → agent.
pub(super) const PAUSES: Sql = Sql::both("SELECT agent FROM pauses");

/// agent, now.
pub(super) const PAUSE: Sql =
    Sql::both("INSERT INTO pauses (agent, since) VALUES ($1, $2) ON CONFLICT DO NOTHING");

/// agent.
pub(super) const RESUME: Sql = Sql::both("DELETE FROM pauses WHERE agent = $1");

/// now, limit → the dispatches whose time has come.
pub(super) const TIMERS: Sql = Sql {
    sqlite: "SELECT id FROM dispatches WHERE run_at <= $1 AND finished_at IS NULL \
        ORDER BY run_at LIMIT $2",
    postgres: "SELECT id::text FROM dispatches WHERE run_at <= $1 AND finished_at IS NULL \
        ORDER BY run_at LIMIT $2 FOR UPDATE SKIP LOCKED",
};

/// after, limit → id, task of unfinished dispatches.
pub(super) const OPEN_TASKS: Sql = Sql {
    sqlite: "SELECT id, task FROM dispatches WHERE finished_at IS NULL AND id > $1 \
        ORDER BY id LIMIT $2",
    postgres: "SELECT id::text, task::text FROM dispatches \
        WHERE finished_at IS NULL AND id > $1::uuid ORDER BY id LIMIT $2 FOR UPDATE",
};

/// from, to; id, task.
pub(super) const RELOCATE: Sql = Sql {
    sqlite: "UPDATE dispatches SET task = r.value ->> 1, \
            subject = replace(subject, '/' || lower($1) || '#', '/' || lower($2) || '#') \
        FROM json_each($3) AS r WHERE dispatches.id = r.value ->> 0",
    postgres: "UPDATE dispatches SET task = r.task::json, \
            subject = replace(subject, '/' || lower($1) || '#', '/' || lower($2) || '#') \
        FROM unnest($3::text[], $4::text[]) AS r(id, task) WHERE dispatches.id = r.id::uuid",
};

/// gap: of all, finished or not.
pub(super) const GAP: Sql = Sql {
    sqlite: "UPDATE dispatches SET state = json_set(state, '$.gap', $1)",
    postgres: "UPDATE dispatches SET state = jsonb_set(state::jsonb, '{gap}', to_jsonb($1::bigint))",
};

/// The dispatches that are not finished.
pub(super) const OPEN: Sql = Sql {
    sqlite: "SELECT id FROM dispatches WHERE finished_at IS NULL ORDER BY id",
    postgres: "SELECT id::text FROM dispatches WHERE finished_at IS NULL ORDER BY id",
};

/// id, task.
pub(super) const REPLAN: Sql = Sql {
    sqlite: "UPDATE dispatches SET task = $2 WHERE id = $1",
    postgres: "UPDATE dispatches SET task = $2::json WHERE id = $1::uuid",
};

/// before, limit → the dispatches that are removed.
pub(super) const PRUNE: Sql = Sql {
    sqlite: "DELETE FROM dispatches WHERE id IN ( \
            SELECT id FROM dispatches AS old WHERE finished_at <= $1 AND NOT EXISTS ( \
                SELECT 1 FROM outbox WHERE dispatch_id = old.id AND settled <> 1 \
            ) ORDER BY finished_at LIMIT $2) RETURNING id",
    postgres: "DELETE FROM dispatches WHERE id IN ( \
            SELECT id FROM dispatches AS old WHERE finished_at <= $1 AND NOT EXISTS ( \
                SELECT 1 FROM outbox WHERE dispatch_id = old.id AND settled <> 1 \
            ) ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING id::text",
};

/// dispatches.
pub(super) const PRUNE_EVENTS: Sql = Sql {
    sqlite: "DELETE FROM events WHERE dispatch_id IN (SELECT value ->> 0 FROM json_each($1))",
    postgres: "DELETE FROM events WHERE dispatch_id = ANY($1::text[]::uuid[])",
};
