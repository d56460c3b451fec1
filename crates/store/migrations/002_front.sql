-- Keys with which clients sign requests (AWS Signature Version 4). `sealed` is the secret under a key that is not in this file.

CREATE TABLE access_keys (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
    sealed BLOB NOT NULL,
    session_hash TEXT,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX access_keys_by_account ON access_keys (account);

CREATE TABLE account_numbers (
    account TEXT PRIMARY KEY REFERENCES accounts (name) ON DELETE CASCADE,
    number TEXT NOT NULL
) STRICT, WITHOUT ROWID;
