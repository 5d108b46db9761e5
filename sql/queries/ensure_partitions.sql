SELECT count(*) FILTER (WHERE made) FROM (
    SELECT ensure_usage_partition(month::date) AS made
    FROM generate_series(
        date_trunc('month', $1::timestamptz AT TIME ZONE 'UTC') - interval '1 month',
        date_trunc('month', $1::timestamptz AT TIME ZONE 'UTC') + make_interval(months => $2::integer),
        interval '1 month'
    ) AS month
) AS months
