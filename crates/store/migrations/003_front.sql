-- Persons and automations, and the groups that rules of signing profiles name.

ALTER TABLE accounts ADD COLUMN robot INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN groups TEXT NOT NULL DEFAULT '[]';

-- Tokens of CI systems that were used, until they are worthless by themselves.
CREATE TABLE used_tokens (
    id TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX used_tokens_by_end ON used_tokens (until);
CREATE INDEX tokens_by_expiry ON tokens (expires_at) WHERE expires_at IS NOT NULL;
