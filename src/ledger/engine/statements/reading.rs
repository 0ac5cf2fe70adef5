//! What only looks.

use crate::ledger::database::Sql;

/// Behind id, task and state: subject to timer and end, the taken slots of the agent, the effect whose
/// turn it is, what the gates wait for.
macro_rules! records {
    ($end:literal) => {
        Sql {
            sqlite: concat!(
                "SELECT id, task, state, subject, idempotency_key, priority, owner, ",
                more!(),
                $end
            ),
            postgres: concat!(
                "SELECT id::text, task::text, state::text, subject, idempotency_key, priority, \
                 owner::text, ",
                more!(),
                $end
            ),
        }
    };
}

macro_rules! more {
    () => {
        "created_at, run_at, finished_at, (SELECT count(*) FROM slots \
             WHERE slots.agent = dispatches.agent AND slots.dispatch_id IS NOT NULL), \
         (SELECT outbox.effect || ' ' || CAST(outbox.row AS text) FROM outbox \
             WHERE outbox.dispatch_id = dispatches.id AND outbox.settled <> 1 \
             ORDER BY outbox.fence, outbox.position LIMIT 1), \
         CASE WHEN phase = 'reviewing' THEN (SELECT body ->> 'reason' FROM events \
             WHERE events.dispatch_id = dispatches.id AND events.fence = dispatches.fence \
             AND events.kind = 'gates pending' ORDER BY seq DESC LIMIT 1) END \
         FROM dispatches "
    };
}

/// dispatch.
pub(in crate::ledger::engine) const GET: Sql = Sql {
    postgres: records!("WHERE id = $1::uuid").postgres,
    sqlite: records!("WHERE id = $1").sqlite,
};

/// limit.
pub(in crate::ledger::engine) const LIST: Sql = records!("ORDER BY id DESC LIMIT $1");

/// limit.
pub(in crate::ledger::engine) const LIST_OPEN: Sql =
    records!("WHERE finished_at IS NULL ORDER BY id DESC LIMIT $1");

/// now → lists of agents that living processes hand tasks to.
pub(in crate::ledger::engine) const HANDLED: Sql =
    Sql::both("SELECT handles FROM owners WHERE expires_at > $1 AND gone = 0");

/// dispatch → fence, agent, started, ended, outcome, reason, terms.
pub(in crate::ledger::engine) const ATTEMPTS: Sql = Sql {
    sqlite: "SELECT fence, agent, started_at, ended_at, outcome, reason, terms FROM attempts \
        WHERE dispatch_id = $1 ORDER BY fence",
    postgres: "SELECT fence, agent, started_at, ended_at, outcome, reason, terms::text \
        FROM attempts WHERE dispatch_id = $1::uuid ORDER BY fence",
};

/// owner → id, task, state, terms, handover.
pub(in crate::ledger::engine) const WATCHED: Sql = Sql {
    sqlite: "SELECT d.id, d.task, d.state, a.terms, o.remote_id FROM dispatches AS d \
        JOIN attempts AS a ON a.dispatch_id = d.id AND a.fence = d.fence AND a.ended_at IS NULL \
        LEFT JOIN outbox AS o ON o.dispatch_id = d.id AND o.fence = d.fence \
        AND o.effect = 'comment' AND o.phase IN ('done', 'settling') \
        WHERE d.owner = $1 AND d.finished_at IS NULL",
    postgres: "SELECT d.id::text, d.task::text, d.state::text, a.terms::text, o.remote_id \
        FROM dispatches AS d \
        JOIN attempts AS a ON a.dispatch_id = d.id AND a.fence = d.fence AND a.ended_at IS NULL \
        LEFT JOIN outbox AS o ON o.dispatch_id = d.id AND o.fence = d.fence \
        AND o.effect = 'comment' AND o.phase IN ('done', 'settling') \
        WHERE d.owner = $1::uuid AND d.finished_at IS NULL",
};

/// now → whether something is queued, due, ready, doubtful.
pub(in crate::ledger::engine) const GLANCE: Sql = Sql::both(
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM dispatches WHERE phase = 'queued') \
         THEN CAST(1 AS bigint) ELSE 0 END, \
     CASE WHEN EXISTS (SELECT 1 FROM dispatches WHERE run_at <= $1 AND finished_at IS NULL) \
         THEN CAST(1 AS bigint) ELSE 0 END, \
     CASE WHEN EXISTS (SELECT 1 FROM outbox AS o JOIN dispatches AS d ON d.id = o.dispatch_id \
         WHERE o.settled = 0 AND o.phase = 'ready' AND o.not_before <= $1 \
         AND d.phase <> 'held' AND NOT EXISTS (SELECT 1 FROM outbox AS e WHERE e.settled <> 1 \
             AND e.dispatch_id = o.dispatch_id AND e.fence = o.fence \
             AND e.position < o.position)) THEN CAST(1 AS bigint) ELSE 0 END, \
     CASE WHEN EXISTS (SELECT 1 FROM outbox AS o JOIN dispatches AS d ON d.id = o.dispatch_id \
         WHERE o.settled = 0 AND o.phase IN ('in_doubt', 'settling') \
         AND o.not_before <= $1 AND d.phase <> 'held') THEN CAST(1 AS bigint) ELSE 0 END",
);

/// now → the next time that something is due.
pub(in crate::ledger::engine) const NEXT: Sql = Sql::both(
    "SELECT min(at) FROM ( \
     SELECT min(run_at) AS at FROM dispatches WHERE run_at > $1 AND finished_at IS NULL \
     UNION ALL SELECT min(not_before) FROM outbox \
         WHERE settled = 0 AND phase = 'ready' AND not_before > $1 \
     UNION ALL SELECT min(not_before) FROM outbox \
         WHERE settled = 0 AND phase = 'in_doubt' AND not_before > $1 \
     UNION ALL SELECT min(not_before) FROM outbox \
         WHERE settled = 0 AND phase = 'settling' AND not_before > $1) AS times",
);

/// A number that differs when another process has changed something.
pub(in crate::ledger::engine) const VERSION: Sql = Sql {
    sqlite: "SELECT data_version FROM pragma_data_version",
    postgres: "SELECT hashtextextended(pg_current_snapshot()::text, 0)",
};

/// → the greatest seq.
pub(in crate::ledger::engine) const LAST_EVENT: Sql =
    Sql::both("SELECT coalesce(max(seq), 0) FROM events");

/// after, until, limit → seq, dispatch, fence, kind, at, body.
pub(in crate::ledger::engine) const EVENTS: Sql = Sql {
    sqlite: "SELECT seq, dispatch_id, fence, kind, at, body FROM events \
        WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3",
    postgres: "SELECT seq, dispatch_id::text, fence, kind, at, body::text FROM events \
        WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3",
};

/// dispatch → the same.
pub(in crate::ledger::engine) const STORY: Sql = Sql {
    sqlite: "SELECT seq, dispatch_id, fence, kind, at, body FROM events \
        WHERE dispatch_id = $1 ORDER BY seq",
    postgres: "SELECT seq, dispatch_id::text, fence, kind, at, body::text FROM events \
        WHERE dispatch_id = $1::uuid ORDER BY seq",
};
