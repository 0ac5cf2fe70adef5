//! Statements about the processes that look after dispatches.

use crate::ledger::database::Sql;

/// Tells one run of a server from every other.
macro_rules! server {
    () => {
        "floor(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint"
    };
}

macro_rules! others {
    ($end:literal) => {
        Sql {
            sqlite: "SELECT id, expires_at, gone, 0 FROM owners WHERE id <> $1",
            // After a restart of the server, or a failover, every session is gone, which says
            // nothing: only those count that were opened since.
            postgres: concat!(
                "SELECT o.id::text, o.expires_at, o.gone, CASE WHEN o.session = ",
                server!(),
                " AND pg_try_advisory_xact_lock(hashtextextended(o.id::text, 0)) \
                     THEN 1::bigint ELSE 0::bigint END \
                 FROM owners AS o WHERE o.id <> $1::uuid",
                $end
            ),
        }
    };
}

/// by how much the clock is wrong, lease, owner → now, revision of the agents in force, the number of
/// the transaction, where others have not taken over.
pub(in crate::ledger::engine) const RENEW: Sql = Sql {
    sqlite: "UPDATE owners SET seen_at = clock.now, expires_at = clock.now + $2 \
        FROM (SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) + $1 AS now) AS clock \
        WHERE id = $3 AND gone = 0 RETURNING seen_at, (SELECT revision FROM agents), 0",
    postgres: "UPDATE owners SET seen_at = clock.now, expires_at = clock.now + $2, turn = turn + 1 \
        FROM (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + $1 AS now) \
            AS clock \
        WHERE id = $3::uuid AND gone = 0 RETURNING seen_at, (SELECT revision FROM agents), turn",
};

/// Every process's turn is above all that it may have had.
pub(in crate::ledger::engine) const TURNS: Sql = Sql {
    sqlite: "SELECT 1",
    postgres: "UPDATE owners SET turn = turn + 4294967296",
};

/// owner: ends a session of its own that has not noticed that nobody listens. By its name, for whoever
/// tries its lock has that for a moment too.
pub(in crate::ledger::engine) const LET_GO: Sql = Sql {
    sqlite: "SELECT 1",
    postgres: "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE application_name = 'timmy-dispatcher ' || $1 AND pid <> pg_backend_pid() \
        AND datname = current_database()",
};

/// owner: the name of its session.
pub(in crate::ledger::engine) const NAME: Sql = Sql {
    sqlite: "SELECT 1",
    postgres: "SELECT set_config('application_name', 'timmy-dispatcher ' || $1, false)",
};

/// owner: a lock that ends with the session.
pub(in crate::ledger::engine) const HOLD: Sql = Sql {
    sqlite: "SELECT 1",
    postgres: "SELECT pg_advisory_lock(hashtextextended($1, 0))",
};

/// owner: its session is of this run of the server.
pub(in crate::ledger::engine) const HERE: Sql = Sql {
    sqlite: "SELECT 1",
    postgres: concat!(
        "UPDATE owners SET session = ",
        server!(),
        " WHERE id = $1::uuid"
    ),
};

/// owner, now, expiry, whether its session holds a lock.
pub(in crate::ledger::engine) const ENTER: Sql = Sql {
    sqlite: "INSERT INTO owners (id, seen_at, expires_at, session) VALUES ($1, $2, $3, $4)",
    postgres: concat!(
        "INSERT INTO owners (id, seen_at, expires_at, session) \
            VALUES ($1::uuid, $2, $3, $4 * ",
        server!(),
        ")"
    ),
};

/// agents.
pub(in crate::ledger::engine) const AGENTS: Sql =
    Sql::both("UPDATE agents SET revision = revision + 1, agents = $1 WHERE agents <> $1");

/// → revision, agents.
pub(in crate::ledger::engine) const IN_FORCE: Sql =
    Sql::both("SELECT revision, agents FROM agents");

/// agent, most: a row for each slot.
pub(in crate::ledger::engine) const MAKE_SLOTS: Sql = Sql {
    sqlite: "WITH RECURSIVE wanted AS (SELECT value ->> 0 AS agent, value ->> 1 AS slot \
            FROM json_each($1) WHERE value ->> 1 > 0 \
            UNION ALL SELECT agent, slot - 1 FROM wanted WHERE slot > 1) \
        INSERT INTO slots (agent, slot) SELECT agent, slot FROM wanted WHERE true \
        ON CONFLICT DO NOTHING",
    postgres: "INSERT INTO slots (agent, slot) SELECT r.agent, slot \
        FROM unnest($1::text[], $2::bigint[]) AS r(agent, most), \
            generate_series(1, r.most) AS slot ON CONFLICT DO NOTHING",
};

/// owner.
pub(in crate::ledger::engine) const LEAVE: Sql = Sql {
    sqlite: "UPDATE owners SET expires_at = 0 WHERE id = $1",
    postgres: "UPDATE owners SET expires_at = 0 WHERE id = $1::uuid",
};

/// revision, owner.
pub(in crate::ledger::engine) const REVISION: Sql = Sql {
    sqlite: "UPDATE owners SET revision = $1 WHERE id = $2",
    postgres: "UPDATE owners SET revision = $1 WHERE id = $2::uuid",
};

/// now → those that live: id, expiry, handled agents, revision.
pub(in crate::ledger::engine) const WORKERS: Sql = Sql {
    sqlite: "SELECT id, expires_at, handles, revision FROM owners \
        WHERE expires_at > $1 AND gone = 0 ORDER BY id",
    postgres: "SELECT id::text, expires_at, handles, revision FROM owners \
        WHERE expires_at > $1 AND gone = 0 ORDER BY id",
};

/// owner → others: id, expiry, whether taken over from before, whether their session is dead.
pub(in crate::ledger::engine) const LOOK_AT_OTHERS: Sql = others!("");

/// The same, for who is about to take over from them.
pub(in crate::ledger::engine) const OTHERS: Sql = others!(" FOR UPDATE OF o SKIP LOCKED");

/// owner: what it writes as an owner is not kept any more.
pub(in crate::ledger::engine) const GONE: Sql = Sql {
    sqlite: "UPDATE owners SET gone = 1 WHERE id = $1",
    postgres: "UPDATE owners SET gone = 1 WHERE id = $1::uuid",
};

/// owner.
pub(in crate::ledger::engine) const REMOVE: Sql = Sql {
    sqlite: "DELETE FROM owners WHERE id = $1",
    postgres: "DELETE FROM owners WHERE id = $1::uuid",
};

/// to, from, limit → dispatch, channel of its live attempt.
pub(in crate::ledger::engine) const TAKE_OVER: Sql = Sql {
    sqlite: "UPDATE dispatches SET owner = $1 WHERE id IN (SELECT id FROM dispatches \
            WHERE owner = $2 AND finished_at IS NULL LIMIT $3) \
        RETURNING id, coalesce(state ->> '$.attempt.channel', '')",
    postgres: "UPDATE dispatches SET owner = $1::uuid WHERE id IN (SELECT id FROM dispatches \
            WHERE owner = $2::uuid AND finished_at IS NULL ORDER BY id LIMIT $3 FOR UPDATE) \
        RETURNING id::text, coalesce(state #>> '{attempt,channel}', '')",
};
