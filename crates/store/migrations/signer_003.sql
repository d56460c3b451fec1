-- Jobs that count for a quota carry its key; a window is counted by this index.

ALTER TABLE signing_jobs ADD COLUMN quota_key TEXT;

CREATE INDEX signing_jobs_by_quota ON signing_jobs (quota_key, signed_at)
WHERE quota_key IS NOT NULL;
