-- A run that has ended, and one that ends later.
--- before
UPDATE run SET ended_at = now(), outcome = 'succeeded', state = 'succeeded' WHERE idem_key = 'k5';
--- after
UPDATE run SET ended_at = now(), outcome = 'failed', state = 'failed' WHERE idem_key = 'k1';
--- holds
SELECT count(*) = 2 FROM run WHERE ended_at IS NOT NULL;
