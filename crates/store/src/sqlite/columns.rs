//! How our types lie in columns: times as whole microseconds, parsed texts as text, JSON as text.

use std::fmt::Display;
use std::str::FromStr;

use rusqlite::{Row, RowIndex};
use time::OffsetDateTime;

use crate::StoreError;

/// Returns a time as whole microseconds since 1970.
pub(crate) fn micros(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)
}

/// Returns the time of some microseconds since 1970.
pub(crate) fn time(micros: i64) -> Result<OffsetDateTime, StoreError> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000)
        .map_err(|error| StoreError::corrupt("time", error))
}

/// Reads a time.
pub(crate) fn get_time(row: &Row<'_>, index: impl RowIndex) -> Result<OffsetDateTime, StoreError> {
    time(row.get(index)?)
}

/// Reads a time that may be absent.
pub(crate) fn get_optional_time(
    row: &Row<'_>,
    index: impl RowIndex,
) -> Result<Option<OffsetDateTime>, StoreError> {
    row.get::<_, Option<i64>>(index)?.map(time).transpose()
}

/// Reads one of our parsed texts through its own parser.
pub(crate) fn get_parsed<T>(row: &Row<'_>, index: impl RowIndex) -> Result<T, StoreError>
where
    T: FromStr,
    T::Err: Display,
{
    parse(
        row.get_ref(index)?
            .as_str()
            .map_err(rusqlite::Error::from)?,
    )
}

/// Reads one of our parsed texts that may be absent.
pub(crate) fn get_optional_parsed<T>(
    row: &Row<'_>,
    index: impl RowIndex,
) -> Result<Option<T>, StoreError>
where
    T: FromStr,
    T::Err: Display,
{
    let text = row.get_ref(index)?;
    let text = text.as_str_or_null().map_err(rusqlite::Error::from)?;
    text.map(parse).transpose()
}

/// Reads JSON.
pub(crate) fn get_json<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    index: impl RowIndex,
) -> Result<T, StoreError> {
    let text = row.get_ref(index)?;
    let text = text.as_str().map_err(rusqlite::Error::from)?;
    serde_json::from_str(text).map_err(|error| StoreError::corrupt("JSON column", error))
}

/// Returns JSON as it lies in a column, refusing more than `limit_bytes`.
pub(crate) fn json(value: &serde_json::Value, limit_bytes: usize) -> Result<String, StoreError> {
    let text = value.to_string();
    if text.len() > limit_bytes {
        return Err(StoreError::TooLarge {
            what: "JSON document (bytes)",
            limit: limit_bytes as u64,
        });
    }
    Ok(text)
}

/// Reads a count or number, which is never negative.
pub(crate) fn get_unsigned(row: &Row<'_>, index: impl RowIndex) -> Result<u64, StoreError> {
    let number: i64 = row.get(index)?;
    u64::try_from(number).map_err(|error| StoreError::corrupt("number", error))
}

/// Returns a number as it lies in a column.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Collects the rows of a query through one of our own readers.
pub(crate) fn collect<T>(
    mut rows: rusqlite::Rows<'_>,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Returns the first row of a query through one of our own readers.
pub(crate) fn first<T>(
    mut rows: rusqlite::Rows<'_>,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    rows.next()?.map(read).transpose()
}

fn parse<T>(text: &str) -> Result<T, StoreError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse()
        .map_err(|error| StoreError::corrupt("text column", error))
}
