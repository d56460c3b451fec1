-- Revocations in the order in which they were decided, as they are pushed to verifiers. `chain` is
-- the hash over all lines up to this one.

CREATE TABLE revocations (
    sequence INTEGER PRIMARY KEY,
    chain BLOB NOT NULL,
    line TEXT NOT NULL
) STRICT;
