-- The signer's own database: no row of it is ever read or written by the front.

CREATE TABLE profiles (
    name TEXT PRIMARY KEY,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE signing_jobs (
    id TEXT PRIMARY KEY,
    profile TEXT NOT NULL,
    signed_at INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX signing_jobs_by_profile ON signing_jobs (profile, id);

CREATE TABLE revoked_leaves (
    serial TEXT PRIMARY KEY,
    listed_until INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
