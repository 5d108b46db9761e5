INSERT INTO closed_codes
(month, code, opening_nanos, debited_nanos, credited_nanos, closing_nanos)
SELECT $1, t.code, t.opening, t.debited, t.credited, t.opening + t.debited - t.credited
FROM unnest($2::text[], $3::text[]::numeric[], $4::text[]::numeric[], $5::text[]::numeric[])
AS t (code, opening, debited, credited)
