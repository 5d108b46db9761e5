SELECT nextval(pg_get_serial_sequence('ledger_batches', 'batch_id'))
