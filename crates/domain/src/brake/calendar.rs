//! Freeze windows from an iCalendar file (RFC 5545), as Google, Outlook and Confluence write them.
//!
//! ```text
//!  text ─▶ unfolded lines ─▶ VEVENTs ─▶ recurrence, in the event's own time zone ─▶ windows with a beginning and an end
//! ```
//!
//! What is not understood is refused as a whole, with its line: a freeze that was half read would let changes through.
//! Read are `UID`, `DTSTART`, `DTEND` or `DURATION`, `SUMMARY`, `RRULE`, `RDATE`, `EXDATE`, `RECURRENCE-ID` and `STATUS`.
//! Times without a zone ("floating") and whole days need one: the calendar's `X-WR-TIMEZONE`, or the importer's word.
//!
//! A rule that never ends cannot become rows for ever. Its windows are worked out up to [`HORIZON_DAYS`] ahead, and from
//! there on stands one long window that says so: who forgets to import the calendar again is frozen, not unprotected.

mod lines;

use std::collections::BTreeMap;
use std::str::FromStr;

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use rrule::{RRule, Unvalidated};
use serde::Serialize;
use windows_timezones::WindowsTimezone;

use crate::Timestamp;
use lines::{Line, unfold};

/// How far ahead a rule that never ends is worked out.
pub const HORIZON_DAYS: i64 = 730;
/// More windows of one event than anybody meant.
const MAX_WINDOWS: u16 = 2000;

/// An event of a calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// How the calendar knows it; a second import replaces what the first one brought.
    pub uid: String,
    /// When; none when the event was cancelled.
    pub windows: Vec<Window>,
}

/// A time in which nothing should be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Window {
    /// From then on.
    pub starts: Timestamp,
    /// Until then.
    pub ends: Timestamp,
    /// Why.
    pub reason: String,
}

/// What is not understood, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct NotUnderstood {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong there, and what to do.
    pub what: String,
}

fn refuse<T>(line: usize, what: impl Into<String>) -> Result<T, NotUnderstood> {
    Err(NotUnderstood { line, what: what.into() })
}

/// Reads a calendar. `zone` is taken for times that name none; windows that were over before `now` are left out.
pub fn read(text: &str, zone: Option<&str>, now: Timestamp) -> Result<Vec<Event>, NotUnderstood> {
    let lines = unfold(text)?;
    let Some(first) = lines.first().filter(|l| l.is("BEGIN", "VCALENDAR")) else {
        return refuse(1, "this is no iCalendar file: it must begin with BEGIN:VCALENDAR");
    };
    if !lines.last().is_some_and(|l| l.is("END", "VCALENDAR")) {
        return refuse(
            lines.last().unwrap_or(first).number,
            "the file was cut off: END:VCALENDAR is missing",
        );
    }
    let given =
        zone.map(|name| named_zone(0, name)).transpose().map_err(|e| NotUnderstood { line: 1, ..e })?;
    let stated = lines.iter().find(|l| l.name == "X-WR-TIMEZONE");
    let zone = match (given, stated) {
        (Some(zone), _) => Some(zone),
        (None, Some(line)) => Some(named_zone(line.number, &line.value)?),
        (None, None) => None,
    };
    let mut by_uid: BTreeMap<String, Vec<Raw>> = BTreeMap::new();
    for raw in events(&lines, zone)? {
        by_uid.entry(raw.uid.clone()).or_default().push(raw);
    }
    let mut read = Vec::new();
    for (uid, parts) in by_uid {
        read.push(Event { windows: windows(&parts, now)?, uid });
    }
    Ok(read)
}

/// A VEVENT as it stands in the file.
#[derive(Debug)]
struct Raw {
    line: usize,
    uid: String,
    reason: String,
    start: Moment,
    length: Length,
    rule: Option<(usize, String)>,
    also: Vec<Moment>,
    except: Vec<Moment>,
    /// The one of a series that it stands for.
    replaces: Option<Moment>,
    cancelled: bool,
}

/// A time, and how it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    at: DateTime<Tz>,
    whole_day: bool,
}

/// How long an event is: an exact time, or so many days of the calendar.
#[derive(Debug, Clone, Copy)]
enum Length {
    Exact(TimeDelta),
    Days(u64),
}

impl Length {
    fn after(self, start: DateTime<Tz>) -> Option<DateTime<Tz>> {
        match self {
            Self::Exact(length) => start.checked_add_signed(length),
            Self::Days(days) => {
                midnight(start.date_naive().checked_add_days(Days::new(days))?, start.timezone())
            }
        }
    }
}

/// The first moment of a day; where midnight does not exist (a change to summer time), the first hour that does.
fn midnight(day: NaiveDate, zone: Tz) -> Option<DateTime<Tz>> {
    (0..4).find_map(|hour| {
        zone.from_local_datetime(&day.and_time(NaiveTime::from_hms_opt(hour, 0, 0)?)).earliest()
    })
}

fn named_zone(line: usize, name: &str) -> Result<Tz, NotUnderstood> {
    let name = name.trim().trim_matches('"').trim_start_matches('/');
    // Windows' own names stand for one rule each: Unicode says by which of IANA's it is kept where nothing else is known.
    let known = Tz::from_str(name).ok().or_else(|| WindowsTimezone::from_str(name).ok().map(Tz::from));
    known.map_or_else(
        || {
            refuse(
                line,
                format!(
                    "`{name}` is not a time zone of the IANA database, nor of Windows; write one such as `Europe/Berlin` or `UTC`"
                ),
            )
        },
        Ok,
    )
}

fn events(lines: &[Line], zone: Option<Tz>) -> Result<Vec<Raw>, NotUnderstood> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if !lines[at].is("BEGIN", "VEVENT") {
            at += 1;
            continue;
        }
        let length = lines[at..].iter().position(|l| l.is("END", "VEVENT"));
        let Some(length) = length else { return refuse(lines[at].number, "this VEVENT has no END:VEVENT") };
        found.push(event(lines[at].number, &lines[at + 1..at + length], zone)?);
        at += length + 1;
    }
    Ok(found)
}

fn event(number: usize, lines: &[Line], zone: Option<Tz>) -> Result<Raw, NotUnderstood> {
    // An alarm inside has a DURATION and a SUMMARY of its own.
    let mut depth = 0;
    let mut own = Vec::new();
    for line in lines {
        match line.name.as_str() {
            "BEGIN" => depth += 1,
            "END" => depth -= 1,
            _ if depth == 0 => own.push(line),
            _ => {}
        }
    }
    let all = |name: &'static str| own.iter().copied().filter(move |l| l.name == name);
    let one = |name: &'static str| all(name).next();
    let Some(uid) = one("UID").map(|l| l.value.trim().to_owned()).filter(|uid| !uid.is_empty()) else {
        return refuse(number, "this event has no UID, so a second import could not find it again");
    };
    let Some(dtstart) = one("DTSTART") else { return refuse(number, "this event has no DTSTART") };
    let start = moment(dtstart, &dtstart.value, zone)?;
    let length = match (one("DTEND"), one("DURATION")) {
        (Some(line), _) => {
            let end = moment(line, &line.value, zone)?;
            if start.whole_day != end.whole_day {
                return refuse(line.number, "DTSTART and DTEND must both be days or both be times");
            }
            if end.at <= start.at {
                return refuse(line.number, "the event ends before it begins");
            }
            if start.whole_day {
                let days = (end.at.date_naive() - start.at.date_naive()).num_days();
                Length::Days(u64::try_from(days).unwrap_or(1))
            } else {
                Length::Exact(end.at - start.at)
            }
        }
        (None, Some(line)) => duration(line, start.whole_day)?,
        (None, None) if start.whole_day => Length::Days(1),
        (None, None) => {
            return refuse(number, "this event has neither DTEND nor DURATION: when is the freeze over?");
        }
    };
    let list = |name: &'static str| -> Result<Vec<Moment>, NotUnderstood> {
        let mut moments = Vec::new();
        for line in all(name) {
            for value in line.value.split(',') {
                moments.push(moment(line, value, zone)?);
            }
        }
        Ok(moments)
    };
    if let Some(line) = one("EXRULE") {
        return refuse(line.number, "EXRULE is not understood; write the exceptions as EXDATE");
    }
    if let Some(line) = one("RECURRENCE-ID").filter(|l| l.parameter("RANGE").is_some()) {
        return refuse(
            line.number,
            "RANGE is not understood: write each changed event of the series for itself",
        );
    }
    let mut rules = all("RRULE");
    let rule = rules.next().map(|l| (l.number, l.value.trim().to_owned()));
    if let Some(second) = rules.next() {
        return refuse(second.number, "an event with two RRULEs is not understood; make two events of it");
    }
    Ok(Raw {
        line: number,
        uid,
        reason: one("SUMMARY").map(Line::text).filter(|s| !s.is_empty()).unwrap_or_else(|| "freeze".into()),
        start,
        length,
        rule,
        also: list("RDATE")?,
        except: list("EXDATE")?,
        replaces: one("RECURRENCE-ID").map(|l| moment(l, &l.value, zone)).transpose()?,
        cancelled: one("STATUS").is_some_and(|l| l.value.trim().eq_ignore_ascii_case("CANCELLED")),
    })
}

fn moment(line: &Line, value: &str, zone: Option<Tz>) -> Result<Moment, NotUnderstood> {
    let value = value.trim();
    let unclear = || format!("`{value}` is not a time; write 20240507T140000Z, or 20240507 for a whole day");
    let zone = match line.parameter("TZID") {
        Some(name) => Some(named_zone(line.number, name)?),
        None => zone,
    };
    let homeless =
        "this time names no zone; give the calendar's zone with the import, such as `Europe/Berlin`";
    let lost = || format!("`{value}` does not exist in its time zone: the clock is put forward over it");
    if let Ok(day) = NaiveDate::parse_from_str(value, "%Y%m%d") {
        let Some(zone) = zone else { return refuse(line.number, homeless) };
        let Some(at) = midnight(day, zone) else { return refuse(line.number, lost()) };
        return Ok(Moment { at, whole_day: true });
    }
    let (text, utc) = value.strip_suffix('Z').map_or((value, false), |text| (text, true));
    let Ok(local) = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S") else {
        return refuse(line.number, unclear());
    };
    if utc {
        // Kept in the zone of the calendar where one is known: a rule speaks of that zone's days.
        let at = Tz::UTC.from_utc_datetime(&local);
        return Ok(Moment { at, whole_day: false });
    }
    let Some(zone) = zone else { return refuse(line.number, homeless) };
    match zone.from_local_datetime(&local).earliest() {
        Some(at) => Ok(Moment { at, whole_day: false }),
        None => refuse(line.number, lost()),
    }
}

/// `PT1H30M`, `P2D`, `P1W`.
fn duration(line: &Line, whole_day: bool) -> Result<Length, NotUnderstood> {
    let value = line.value.trim();
    let unclear = || refuse(line.number, format!("`{value}` is not a length; write PT1H30M, P2D or P1W"));
    let Some(mut rest) = value.strip_prefix('+').unwrap_or(value).strip_prefix('P') else { return unclear() };
    let (mut seconds, mut in_time) = (0_i64, false);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            (rest, in_time) = (after, true);
            continue;
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (Ok(n), Some(unit)) = (rest[..digits].parse::<i64>(), rest[digits..].chars().next()) else {
            return unclear();
        };
        let unit_s = match (unit, in_time) {
            ('W', false) => 7 * 86_400,
            ('D', false) => 86_400,
            ('H', true) => 3_600,
            ('M', true) => 60,
            ('S', true) => 1,
            _ => return unclear(),
        };
        seconds = seconds.saturating_add(n.saturating_mul(unit_s));
        rest = &rest[digits + 1..];
    }
    if seconds <= 0 || seconds > 10 * 366 * 86_400 {
        return unclear();
    }
    Ok(match u64::try_from(seconds / 86_400) {
        Ok(days) if whole_day && seconds % 86_400 == 0 => Length::Days(days),
        _ => Length::Exact(TimeDelta::seconds(seconds)),
    })
}

/// The windows of one event: its series, with the ones that were moved in their new place.
fn windows(parts: &[Raw], now: Timestamp) -> Result<Vec<Window>, NotUnderstood> {
    let mut found = Vec::new();
    let moved: Vec<Timestamp> =
        parts.iter().filter_map(|p| Some(p.replaces?.at.with_timezone(&Utc))).collect();
    for part in parts.iter().filter(|p| !p.cancelled) {
        let series = part.replaces.is_none();
        let mut starts =
            if series { occurrences(part, now)? } else { Starts { at: vec![part.start.at], cut_at: None } };
        starts.at.retain(|at| !series || !moved.contains(&at.with_timezone(&Utc)));
        for at in starts.at {
            let Some(end) = part.length.after(at) else {
                return refuse(part.line, "this event ends beyond all time");
            };
            let (starts, ends) = (at.with_timezone(&Utc), end.with_timezone(&Utc));
            if ends > now {
                found.push(Window { starts, ends, reason: part.reason.clone() });
            }
        }
        if let Some(cut_at) = starts.cut_at {
            let reason = format!(
                "{} (this event repeats without an end and was worked out up to here: import the calendar again)",
                part.reason
            );
            found.push(Window { starts: cut_at, ends: cut_at + TimeDelta::days(365 * 100), reason });
        }
    }
    found.sort_by(|a, b| (a.starts, a.ends, &a.reason).cmp(&(b.starts, b.ends, &b.reason)));
    found.dedup();
    Ok(found)
}

/// When a series begins, again and again; and from when on that is not known any more.
struct Starts {
    at: Vec<DateTime<Tz>>,
    cut_at: Option<Timestamp>,
}

fn occurrences(part: &Raw, now: Timestamp) -> Result<Starts, NotUnderstood> {
    let plain = |m: &Moment| m.at;
    let Some((line, rule)) = &part.rule else {
        let mut at = vec![part.start.at];
        at.extend(part.also.iter().map(plain));
        at.retain(|at| !part.except.iter().any(|e| e.at == *at));
        return Ok(Starts { at, cut_at: None });
    };
    let unclear = |e: &dyn std::fmt::Display| NotUnderstood {
        line: *line,
        what: format!("the rule `{rule}` is not understood: {e}"),
    };
    let zone = part.start.at.timezone();
    let written = until_in_utc(*line, rule, zone)?;
    let parsed: RRule<Unvalidated> = written.parse().map_err(|e: rrule::RRuleError| unclear(&e))?;
    let endless = parsed.get_count().is_none() && parsed.get_until().is_none();
    let horizon = now + TimeDelta::days(HORIZON_DAYS);
    let here = |at: DateTime<Tz>| at.with_timezone(&rrule::Tz::from(zone));
    let mut set = parsed.build(here(part.start.at)).map_err(|e| unclear(&e))?;
    for at in &part.also {
        set = set.rdate(here(at.at));
    }
    for at in &part.except {
        set = set.exdate(here(at.at));
    }
    if endless {
        set = set.before(horizon.with_timezone(&rrule::Tz::UTC));
    }
    // What was over long ago is of no interest, and an old daily event would exceed the limit with it alone.
    let reach = match part.length {
        Length::Exact(length) => length,
        Length::Days(days) => {
            TimeDelta::days(i64::try_from(days).unwrap_or(i64::MAX / 100_000_000).saturating_add(1))
        }
    };
    set = set.after((now - reach).with_timezone(&rrule::Tz::UTC));
    let result = set.all(MAX_WINDOWS);
    if result.limited {
        return refuse(
            *line,
            format!(
                "the rule `{rule}` makes more than {MAX_WINDOWS} windows; write it with fewer, longer events"
            ),
        );
    }
    let at = result.dates.into_iter().map(|at| at.with_timezone(&zone)).collect();
    Ok(Starts { at, cut_at: endless.then_some(horizon) })
}

/// The rule with its `UNTIL` as an instant: calendars write it as a day or a local time as well.
fn until_in_utc(line: usize, rule: &str, zone: Tz) -> Result<String, NotUnderstood> {
    let mut parts = Vec::new();
    for part in rule.split(';') {
        let Some(until) = part.strip_prefix("UNTIL=").filter(|u| !u.ends_with('Z')) else {
            parts.push(part.to_owned());
            continue;
        };
        let local = NaiveDate::parse_from_str(until, "%Y%m%d")
            .ok()
            .and_then(|day| day.and_hms_opt(23, 59, 59))
            .or_else(|| NaiveDateTime::parse_from_str(until, "%Y%m%dT%H%M%S").ok());
        let Some(at) = local.and_then(|local| zone.from_local_datetime(&local).latest()) else {
            return refuse(line, format!("`UNTIL={until}` is not a time"));
        };
        parts.push(format!("UNTIL={}", at.with_timezone(&Utc).format("%Y%m%dT%H%M%SZ")));
    }
    Ok(parts.join(";"))
}

#[cfg(test)]
mod tests;
