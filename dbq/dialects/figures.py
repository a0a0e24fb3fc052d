"""The figures of a claim counted by its own statement: what `Tally.claimed` does, in PostgreSQL's SQL.

A worker that waits for work claims by one statement then, which is its own transaction: three round trips
less between a call and the first line of a task.
"""

from dbq.histograms import LAST_BUCKET, STEPS_PER_DOUBLING

# As in `histograms.find_bucket`.
_BUCKET = (
    "CASE WHEN wait <= 0.001 THEN 0"
    f" ELSE LEAST({LAST_BUCKET}, CEIL(LN(wait * 1000) / LN(2) * {STEPS_PER_DOUBLING})) END::integer"
)

# Its one parameter is the time of the claim. A job that was made in another minute counts there.
COUNT_CLAIM = f"""
INSERT INTO dbq_rollup_delta (minute, queue_name, name, created, completed, failed, cancelled, retried,
    wait_seconds, run_seconds, waits, runs)
SELECT minute, queue_name, name, SUM(created), 0, 0, 0, 0, SUM(wait), 0,
    COALESCE(JSONB_OBJECT_AGG(bucket, amount) FILTER (WHERE bucket IS NOT NULL), '{{}}'), '{{}}'
FROM (
    SELECT minute, queue_name, name, bucket, SUM(created) AS created, SUM(wait) AS wait, COUNT(*) AS amount
    FROM (
        SELECT DATE_TRUNC('minute', now) AS minute, queue_name, name, 0 AS created, wait,
            {_BUCKET} AS bucket
        FROM (
            SELECT queue_name, name, now,
                GREATEST(0, EXTRACT(EPOCH FROM now - enqueued))::double precision AS wait
            FROM taken, (SELECT %s::timestamptz AS now) AS clock
        ) AS waits
        UNION ALL
        SELECT DATE_TRUNC('minute', created), queue_name, name, 1, 0, NULL FROM taken WHERE fence = 1
    ) AS jobs
    GROUP BY minute, queue_name, name, bucket
) AS buckets
GROUP BY minute, queue_name, name
"""
