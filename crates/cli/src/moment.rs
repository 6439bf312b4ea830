//! A time, as people write it: a day, a minute of a day, or as programs do; all in UTC, as the filters of the audit read it.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use domain::Timestamp;

/// Reads one.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    let day = || NaiveDate::parse_from_str(text, "%F").map(|day| day.and_time(NaiveTime::MIN));
    let minute = |form| NaiveDateTime::parse_from_str(text, form);
    let local = || day().or_else(|_| minute("%FT%R")).or_else(|_| minute("%F %R"));
    text.parse::<Timestamp>().or_else(|_| local().map(|at| at.and_utc())).map_err(|_| {
        format!("`{text}` is not a time, such as 2024-05-07, 2024-05-07T14:42 or 2024-05-07T14:42:00Z (UTC)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_a_minute_and_a_second_are_times_and_yesterday_is_none() {
        for (text, at) in [
            ("2024-05-07", "2024-05-07T00:00:00Z"),
            ("2024-05-07T14:42", "2024-05-07T14:42:00Z"),
            ("2024-05-07 14:42", "2024-05-07T14:42:00Z"),
            ("2024-05-07 14:42:00Z", "2024-05-07T14:42:00Z"),
            ("2024-05-07T16:42:10+02:00", "2024-05-07T14:42:10Z"),
        ] {
            assert_eq!(moment(text), Ok(at.parse().unwrap()), "{text}");
        }
        for wrong in ["yesterday", "", "2024-13-01", "2024-05-07T25:00"] {
            assert!(moment(wrong).unwrap_err().contains("is not a time, such as 2024-05-07"), "{wrong}");
        }
    }
}
