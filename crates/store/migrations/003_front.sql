-- Persons and automations, and the groups that rules of signing profiles name.

ALTER TABLE accounts ADD COLUMN robot INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN groups TEXT NOT NULL DEFAULT '[]';
