//! A series: when one event begins, again and again.
//!
//! A rule is worked out on the clock's face, as if every day had all its hours, and each of its times is then looked up in the
//! event's zone. Worked out in the zone itself, a time that its clock leaves out or shows twice would be left out: the whole day,
//! where the clock changes at midnight.

use chrono::{NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use rrule::{Frequency, RRule, Unvalidated};

use super::{HORIZON_DAYS, Moment, NotUnderstood, Raw, refuse};
use crate::Timestamp;

/// More windows of one event than anybody meant.
const MAX_WINDOWS: usize = 2000;
/// More beginnings a day than anybody meant.
const MAX_A_DAY: usize = 24;
/// Beginnings that are worked out for one calendar, those of the past included: daily ones of two thousand years.
const MAX_ROUNDS: usize = 750_000;

/// When a series begins, again and again; and from when on that is not known any more.
pub(super) struct Starts {
    pub(super) at: Vec<Moment>,
    pub(super) cut_at: Option<Timestamp>,
}

/// `rounds`: how many beginnings were worked out for this calendar.
pub(super) fn occurrences(part: &Raw, now: Timestamp, rounds: &mut usize) -> Result<Starts, NotUnderstood> {
    let mut starts = Starts { at: vec![], cut_at: None };
    match &part.rule {
        None => starts.at.push(part.start),
        Some((line, rule)) => {
            starts = ruled(part, (*line, &rule.to_ascii_uppercase()), now, rounds)?;
        }
    }
    starts.at.extend(&part.also);
    starts.at.retain(|start| !part.except.iter().any(|e| e.at == start.at));
    Ok(starts)
}

fn ruled(
    part: &Raw,
    (line, rule): (usize, &str),
    now: Timestamp,
    rounds: &mut usize,
) -> Result<Starts, NotUnderstood> {
    let zone = part.start.at.timezone();
    let (rest, until) = without_until(line, rule, zone)?;
    let unclear = |e: rrule::RRuleError| NotUnderstood {
        line,
        what: format!("the rule `{rule}` of \"{}\" is not understood: {e}", part.reason),
    };
    let parsed: RRule<Unvalidated> = rest.parse().map_err(unclear)?;
    let a_day = [parsed.get_by_hour(), parsed.get_by_minute(), parsed.get_by_second()]
        .iter()
        .map(|times| times.len().max(1))
        .product::<usize>();
    if parsed.get_freq() > Frequency::Daily || a_day > MAX_A_DAY {
        let what = format!(
            "the rule `{rule}` of \"{}\" begins a freeze again and again within a day; write it as one that begins once a day or \
             more seldom, and lasts longer",
            part.reason
        );
        return refuse(line, what);
    }
    if until.is_some_and(|until| until < part.start.at) {
        return refuse(
            line,
            format!("the rule `{rule}` of \"{}\" ends before its event begins", part.reason),
        );
    }
    let endless = parsed.get_count().is_none() && until.is_none();
    let horizon = now + TimeDelta::days(HORIZON_DAYS);
    let last = until.or(endless.then_some(horizon));
    let face = rrule::Tz::UTC.from_utc_datetime(&part.start.local);
    let mut starts = Starts { at: vec![], cut_at: endless.then_some(horizon) };
    for shown in &parsed.build(face).map_err(unclear)?.limit() {
        *rounds += 1;
        if *rounds > MAX_ROUNDS {
            let what = format!(
                "up to the rule `{rule}` of \"{}\", this calendar begins a freeze more than {MAX_ROUNDS} times; let its series \
                 begin later, or give it in parts",
                part.reason
            );
            return refuse(line, what);
        }
        let Some(start) = Moment::new(shown.naive_utc(), zone, part.start.whole_day) else {
            return refuse(line, format!("the rule `{rule}` of \"{}\" goes on beyond all time", part.reason));
        };
        // Where the clock changes, one that is shown later may begin earlier.
        if last.is_some_and(|last| start.at > last + TimeDelta::days(2)) {
            break;
        }
        // What was over long ago is of no interest, and an old daily event would exceed the limit with it alone.
        let over = part.length.after(start).is_some_and(|end| end <= now);
        if over || last.is_some_and(|last| start.at > last) {
            continue;
        }
        if starts.at.len() == MAX_WINDOWS {
            let what = format!(
                "the rule `{rule}` of \"{}\" makes more than {MAX_WINDOWS} windows; write it with fewer, longer events",
                part.reason
            );
            return refuse(line, what);
        }
        starts.at.push(start);
    }
    Ok(starts)
}

/// The rule without its `UNTIL`, and that as an instant: calendars write it as a day or a local time as well.
fn without_until(line: usize, rule: &str, zone: Tz) -> Result<(String, Option<Timestamp>), NotUnderstood> {
    let mut rest = Vec::new();
    let mut last = None;
    for part in rule.split(';') {
        let Some(until) = part.strip_prefix("UNTIL=") else {
            rest.push(part);
            continue;
        };
        let time = |text| NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S").ok();
        let at = match until.strip_suffix('Z') {
            Some(utc) => time(utc).map(|at| at.and_utc()),
            None => NaiveDate::parse_from_str(until, "%Y%m%d")
                .ok()
                .and_then(|day| day.and_hms_opt(23, 59, 59))
                .or_else(|| time(until))
                .and_then(|local| latest(local, zone)),
        };
        let Some(at) = at.filter(|_| last.is_none()) else {
            return refuse(line, format!("`UNTIL={until}` is not a time, or not the only one"));
        };
        last = Some(at);
    }
    Ok((rest.join(";"), last))
}

/// The last moment at which a clock shows this time.
fn latest(local: NaiveDateTime, zone: Tz) -> Option<Timestamp> {
    let at = zone.from_local_datetime(&local).latest();
    at.or_else(|| super::instant(local, zone)).map(|at| at.with_timezone(&Utc))
}
