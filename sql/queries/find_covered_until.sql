-- From $1's month on: the end of the last month before the first one without a partition. Asked of
-- what is attached: a table of the right name may stand beside it.
WITH RECURSIVE covered (month) AS (
    SELECT date_trunc('month', $1::timestamptz AT TIME ZONE 'UTC')
    UNION ALL
    SELECT covered.month + interval '1 month' FROM covered
    WHERE EXISTS (
        SELECT 1 FROM pg_inherits AS i
        WHERE
            i.inhparent = 'usage'::regclass
            AND i.inhrelid = to_regclass('usage_' || to_char(covered.month, 'YYYY_MM'))
    )
)
SELECT max(month) AT TIME ZONE 'UTC' FROM covered
