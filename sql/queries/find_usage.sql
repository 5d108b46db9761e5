SELECT * FROM usage WHERE request_id = $1
