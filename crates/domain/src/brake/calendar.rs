//! Freeze windows from an iCalendar file (RFC 5545), as Google, Outlook and Confluence write them.
//!
//! ```text
//!  text ─▶ unfolded lines ─▶ VEVENTs ─▶ recurrence, in the event's own time zone ─▶ windows with a beginning and an end
//! ```
//!
//! What is not understood is refused as a whole, with its line: a freeze that was half read would let changes through.
//! Read are `UID`, `DTSTART`, `DTEND` or `DURATION`, `SUMMARY`, `RRULE`, `RDATE`, `EXDATE`, `RECURRENCE-ID` and `STATUS`.
//! Times without a zone ("floating") and whole days need one: the calendar's `X-WR-TIMEZONE`, or the importer's word.
//! A time that its zone's clock leaves out is taken as the clock showed it before, and of two that it shows the first: no
//! window is lost where the clock changes.
//!
//! A rule that never ends cannot become rows for ever. Its windows are worked out up to [`HORIZON_DAYS`] ahead, and from
//! there on stands one long window that says so: who forgets to import the calendar again is frozen, not unprotected.

mod lines;
mod series;

use std::collections::BTreeMap;
use std::str::FromStr;

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use windows_timezones::WindowsTimezone;

use crate::Timestamp;
use lines::{Line, unfold};
use series::{Starts, occurrences};

/// How far ahead a rule that never ends is worked out.
pub const HORIZON_DAYS: i64 = 730;

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
    let (mut read, mut rounds) = (Vec::new(), 0);
    for (uid, parts) in by_uid {
        read.push(Event { windows: windows(&parts, now, &mut rounds)?, uid });
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
    /// What stands there: a clock that leaves it out shows another time at that moment.
    local: NaiveDateTime,
    whole_day: bool,
}

impl Moment {
    /// A time of the zone's clock; of a whole day, its first moment.
    fn new(local: NaiveDateTime, zone: Tz, whole_day: bool) -> Option<Self> {
        let at = if whole_day { midnight(local.date(), zone) } else { instant(local, zone) }?;
        Some(Self { at, local, whole_day })
    }
}

/// How long an event is: so many days of the calendar, whatever their hours, and then an exact time.
#[derive(Debug, Clone, Copy)]
struct Length {
    days: u64,
    rest: TimeDelta,
}

impl Length {
    fn after(self, start: Moment) -> Option<DateTime<Tz>> {
        let end = if self.days == 0 {
            start.at
        } else {
            let local = start.local.checked_add_days(Days::new(self.days))?;
            Moment::new(local, start.at.timezone(), start.whole_day)?.at
        };
        end.checked_add_signed(self.rest)
    }
}

/// The first moment of a day; where midnight does not exist (a change to summer time), the first hour that does.
fn midnight(day: NaiveDate, zone: Tz) -> Option<DateTime<Tz>> {
    let first = (0..4).find_map(|hour| {
        zone.from_local_datetime(&day.and_time(NaiveTime::from_hms_opt(hour, 0, 0)?)).earliest()
    });
    first.or_else(|| instant(day.and_time(NaiveTime::MIN), zone))
}

/// When a clock shows this time: the first of two, and where it is put forward over it, with the offset that it had before
/// (RFC 5545, 3.3.5).
fn instant(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Tz>> {
    // A whole day is left out at the most, where a country went over the date line.
    (0..=100).find_map(|quarters| {
        let gone = TimeDelta::minutes(15 * quarters);
        zone.from_local_datetime(&local.checked_sub_signed(gone)?).earliest()?.checked_add_signed(gone)
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
                Length { days: u64::try_from(days).unwrap_or(1), rest: TimeDelta::zero() }
            } else {
                // An end that is written out makes every one of a series as long as the first.
                Length { days: 0, rest: end.at - start.at }
            }
        }
        (None, Some(line)) => duration(line, start.whole_day)?,
        (None, None) if start.whole_day => Length { days: 1, rest: TimeDelta::zero() },
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
    let placed = |local, zone, whole_day| {
        Moment::new(local, zone, whole_day).map_or_else(|| refuse(line.number, unclear()), Ok)
    };
    if let Ok(day) = NaiveDate::parse_from_str(value, "%Y%m%d") {
        let Some(zone) = zone else { return refuse(line.number, homeless) };
        return placed(day.and_time(NaiveTime::MIN), zone, true);
    }
    let (text, utc) = value.strip_suffix('Z').map_or((value, false), |text| (text, true));
    let Ok(local) = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S") else {
        return refuse(line.number, unclear());
    };
    // A rule speaks of the days of the zone that its event is written in, which is UTC here, whatever the calendar's is.
    let zone = if utc { Some(Tz::UTC) } else { zone };
    let Some(zone) = zone else { return refuse(line.number, homeless) };
    placed(local, zone, false)
}

/// Longer than any freeze.
const MAX_DAYS: i64 = 10 * 366;

/// `PT1H30M`, `P2D`, `P1W`. Days and weeks are those of the calendar, also where the clock changes within.
fn duration(line: &Line, whole_day: bool) -> Result<Length, NotUnderstood> {
    let value = line.value.trim();
    let unclear = || refuse(line.number, format!("`{value}` is not a length; write PT1H30M, P2D or P1W"));
    let Some(mut rest) = value.strip_prefix('+').unwrap_or(value).strip_prefix('P') else { return unclear() };
    let (mut days, mut seconds, mut in_time) = (0_i64, 0_i64, false);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            (rest, in_time) = (after, true);
            continue;
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (Ok(n), Some(unit)) = (rest[..digits].parse::<i64>(), rest[digits..].chars().next()) else {
            return unclear();
        };
        let (counted, units) = match (unit, in_time) {
            ('W', false) => (&mut days, 7),
            ('D', false) => (&mut days, 1),
            ('H', true) => (&mut seconds, 3_600),
            ('M', true) => (&mut seconds, 60),
            ('S', true) => (&mut seconds, 1),
            _ => return unclear(),
        };
        *counted = counted.saturating_add(n.saturating_mul(units));
        rest = &rest[digits + 1..];
    }
    if whole_day {
        // What begins with a day ends with one, also where its hours were counted.
        (days, seconds) = (days.saturating_add(seconds / 86_400), seconds % 86_400);
    }
    let sound = days <= MAX_DAYS && seconds <= MAX_DAYS * 86_400 && (days > 0 || seconds > 0);
    match u64::try_from(days) {
        Ok(days) if sound => Ok(Length { days, rest: TimeDelta::seconds(seconds) }),
        _ => unclear(),
    }
}

/// The windows of one event: its series, with the ones that were moved in their new place.
fn windows(parts: &[Raw], now: Timestamp, rounds: &mut usize) -> Result<Vec<Window>, NotUnderstood> {
    let mut found = Vec::new();
    let moved: Vec<Timestamp> =
        parts.iter().filter_map(|p| Some(p.replaces?.at.with_timezone(&Utc))).collect();
    for part in parts.iter().filter(|p| !p.cancelled) {
        let series = part.replaces.is_none();
        let mut starts = if series {
            occurrences(part, now, rounds)?
        } else {
            Starts { at: vec![part.start], cut_at: None }
        };
        starts.at.retain(|start| !series || !moved.contains(&start.at.with_timezone(&Utc)));
        for start in starts.at {
            let Some(end) = part.length.after(start) else {
                return refuse(part.line, "this event ends beyond all time");
            };
            let (starts, ends) = (start.at.with_timezone(&Utc), end.with_timezone(&Utc));
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

#[cfg(test)]
mod tests;
