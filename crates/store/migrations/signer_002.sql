-- The log, and jobs whose immutable part is their entry in it.
--
-- What is indexed of a job is what listings ask for; each index costs every signature. The target
-- is indexed by the first 64 bits of its digest, which keeps the one index that is written at
-- random places small.

ALTER TABLE signing_jobs RENAME TO unlogged_jobs;
DROP INDEX signing_jobs_by_profile;

CREATE TABLE log_entries (
    position INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

-- Hashes of complete subtrees of 256, 65,536, … entries. Those of single entries are the entries'.
CREATE TABLE log_nodes (
    height INTEGER NOT NULL,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (height, number)
) STRICT, WITHOUT ROWID;

-- The last one; the row is 1.
CREATE TABLE log_checkpoint (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    note TEXT NOT NULL
) STRICT;

CREATE TABLE signing_jobs (
    position INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    owner TEXT NOT NULL,
    profile TEXT NOT NULL,
    profile_version TEXT NOT NULL,
    caller TEXT NOT NULL,
    target_key INTEGER NOT NULL,
    signed_at INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    revocation TEXT
) STRICT;

CREATE UNIQUE INDEX signing_jobs_by_id ON signing_jobs (id);
CREATE INDEX signing_jobs_by_target ON signing_jobs (target_key);
CREATE INDEX signing_jobs_by_profile ON signing_jobs (profile);
CREATE INDEX signing_jobs_by_owner ON signing_jobs (owner);
CREATE INDEX signing_jobs_by_expiry ON signing_jobs (expires);
-- Written only by revocations.
CREATE INDEX signing_jobs_revoked ON signing_jobs (position) WHERE revocation IS NOT NULL;
