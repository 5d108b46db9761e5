-- Who holds one has its batch's time already: after this, whatever is posted is posted later.
SELECT chain FROM ledger_chains ORDER BY chain FOR NO KEY UPDATE
