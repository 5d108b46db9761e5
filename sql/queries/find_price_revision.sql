SELECT price FROM price_revisions WHERE revision = $1
