SELECT revision, recorded_at FROM routing_revisions ORDER BY recorded_at DESC LIMIT $1
