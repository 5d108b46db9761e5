-- Whose journal nobody has taken over in a day: its disk is gone, or its row was left by a clean end.
DELETE FROM gateways WHERE seen_at < now() - interval '1 day'
