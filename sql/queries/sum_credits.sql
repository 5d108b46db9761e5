-- Late debits are charges, which count as usage.
SELECT coalesce(sum(amount_nanos), 0)::bigint FROM movements WHERE account_id = $1 AND kind <> 'late_debit'
