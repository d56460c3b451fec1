//! Numbered schema changes, applied in order, each in a transaction of its own.

use std::path::Path;

use rusqlite::Connection;

use crate::StoreError;

/// The schema changes of one database; the position of the last is the schema's number.
pub(crate) type Migrations = &'static [&'static str];

/// The schema of the front's database.
pub(crate) const FRONT: Migrations = &[
    include_str!("../../migrations/001_front.sql"),
    include_str!("../../migrations/002_front.sql"),
    include_str!("../../migrations/003_front.sql"),
];

/// The schema of the signer's database.
pub(crate) const SIGNER: Migrations = &[
    include_str!("../../migrations/signer_001.sql"),
    include_str!("../../migrations/signer_002.sql"),
    include_str!("../../migrations/signer_003.sql"),
    include_str!("../../migrations/signer_004.sql"),
    include_str!("../../migrations/signer_005.sql"),
];

/// Brings a database up to date, or refuses one that a newer version wrote.
pub(crate) fn migrate(
    connection: &mut Connection,
    path: &Path,
    migrations: Migrations,
) -> Result<(), StoreError> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for (number, sql) in (1_u32..).zip(migrations).skip(found as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}
