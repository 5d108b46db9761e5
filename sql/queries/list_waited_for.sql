-- Gateways that live and have not yet done their part of this step. One that was seen in the future
-- is from before the clock was set back: who lives is seen again at once.
SELECT incarnation FROM gateways AS g
WHERE
    seen_at > now() - make_interval(secs => $4::integer)
    AND seen_at < now() + make_interval(secs => $4::integer)
    AND NOT EXISTS (
        SELECT FROM gateway_steps AS s
        WHERE s.incarnation = g.incarnation AND s.shard = $1 AND s.generation = $2 AND s.state = $3
    )
