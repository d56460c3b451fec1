-- Leaf certificates that several jobs share: no job's identifier is their serial number.
CREATE TABLE issued_leaves (
    serial TEXT PRIMARY KEY,
    issuer INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
