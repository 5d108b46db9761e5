-- A second revocation changes nothing, its epoch included.
UPDATE api_keys SET revoked_at = now(), epoch = epoch + 1
WHERE key_id = $1 AND revoked_at IS NULL
