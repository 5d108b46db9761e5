INSERT INTO gateways (incarnation) VALUES ($1)
ON CONFLICT (incarnation) DO UPDATE SET seen_at = now()
