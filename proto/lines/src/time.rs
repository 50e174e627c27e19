//! Times as people and `jq` read them.

/// Nanoseconds since 1970 as RFC 3339 in UTC with microseconds: `2026-11-23T11:11:05.084000Z`.
#[must_use]
pub fn rfc3339(time_ns: u64) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(time_ns)) {
        Ok(time) => format!("{time:.6}"),
        // Later than the year 9999, which a 64-bit count of nanoseconds does not reach.
        Err(_) => String::new(),
    }
}

/// Milliseconds since 1970 as a PLC directory writes its times: `2026-11-23T11:11:05.084Z`.
/// Nothing for a time that no calendar has.
#[must_use]
pub fn rfc3339_ms(unix_ms: u64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()?;
    Some(format!("{time:.3}"))
}
