DELETE FROM gateways WHERE incarnation = ANY($1::text[])
