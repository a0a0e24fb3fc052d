"""The floor: one table, and the shortest loop over it that a worker can be."""

import os
import signal
import sys

import psycopg

from benchmarks import lines

SCHEMA = """
CREATE TABLE floor_job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    job_id text NOT NULL,
    -- 0 waits, 1 runs, 2 is finished, 3 is scheduled.
    state smallint NOT NULL DEFAULT 0,
    finished timestamptz
);
CREATE INDEX floor_job_waiting ON floor_job (id) WHERE state = 0;
CREATE FUNCTION floor_wake() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NOTIFY floor; RETURN NULL; END $$;
CREATE TRIGGER floor_job_wake AFTER INSERT ON floor_job FOR EACH STATEMENT EXECUTE FUNCTION floor_wake();
"""
CLAIM = """
UPDATE floor_job SET state = 1 WHERE id = ANY (ARRAY(
    SELECT id FROM floor_job WHERE state = 0 ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
)) RETURNING id, kind, job_id
"""
COMPLETE = "UPDATE floor_job SET state = 2, finished = now() WHERE id = ANY (%s)"
IDLE_SECONDS = 5

_connection = None


def connect():
    global _connection
    if _connection is None:
        _connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    return _connection


def install():
    connect().execute(SCHEMA)


def enqueue(kind, job_id):
    connect().execute("INSERT INTO floor_job (kind, job_id) VALUES (%s, %s)", (kind, job_id))


def enqueue_bulk(kind, ids):
    insert = "INSERT INTO floor_job (kind, job_id) SELECT %s, unnest(%s::text[])"
    connect().execute(insert, (kind, list(ids)))


def work(batch):
    connection = connect()
    connection.execute("LISTEN floor")
    while True:
        claimed = connection.execute(CLAIM, (batch,)).fetchall()
        for _, kind, job_id in claimed:
            if follower := lines.perform(kind, job_id):
                enqueue(follower, job_id)
        if claimed:
            connection.execute(COMPLETE, ([row[0] for row in claimed],))
        else:
            list(connection.notifies(timeout=IDLE_SECONDS, stop_after=1))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    work(int(sys.argv[1]))
