//! Reading calendars: zones, series, exceptions, and what is refused.

use super::*;

fn now() -> Timestamp {
    "2024-03-01T00:00:00Z".parse().unwrap()
}

fn calendar(events: &str) -> String {
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{events}END:VCALENDAR\r\n")
}

fn event(lines: &str) -> String {
    calendar(&format!("BEGIN:VEVENT\r\nUID:a@example.com\r\n{lines}\r\nEND:VEVENT\r\n"))
}

fn spans(text: &str, zone: Option<&str>) -> Vec<String> {
    let events = read(text, zone, now()).unwrap();
    let span = |w: &Window| format!("{} – {}", w.starts.format("%m-%d %H:%M"), w.ends.format("%m-%d %H:%M"));
    events.iter().flat_map(|e| e.windows.iter().map(span)).collect()
}

fn why(text: &str, zone: Option<&str>) -> String {
    read(text, zone, now()).unwrap_err().to_string()
}

#[test]
fn an_event_is_a_window_with_its_summary() {
    let text = event(
        "DTSTART:20240507T140000Z\r\nDTEND:20240507T160000Z\r\nSUMMARY:Launch\\, part \r\n one\r\nDESCRIPTION:x",
    );
    let events = read(&text, None, now()).unwrap();
    assert_eq!(events[0].uid, "a@example.com");
    assert_eq!(events[0].windows[0].reason, "Launch, part one");
    assert_eq!(spans(&text, None), ["05-07 14:00 – 05-07 16:00"]);
}

#[test]
fn a_rule_speaks_of_its_own_zones_clock_also_over_summer_time() {
    // Fridays from noon in Berlin: 11:00 UTC in winter, 10:00 UTC in summer (from 31 March on).
    let text = event(
        "DTSTART;TZID=Europe/Berlin:20240315T120000\r\nDURATION:PT6H\r\nRRULE:FREQ=WEEKLY;BYDAY=FR;COUNT=4\r\nEXDATE;TZID=Europe/Berlin:20240322T120000",
    );
    assert_eq!(
        spans(&text, None),
        ["03-15 11:00 – 03-15 17:00", "03-29 11:00 – 03-29 17:00", "04-05 10:00 – 04-05 16:00"]
    );
}

#[test]
fn the_names_that_outlook_gives_zones_are_known() {
    for (zone, written) in [
        ("W. Europe Standard Time", "05-07 12:00 – 05-07 13:00"),
        ("\"Eastern Standard Time\"", "05-07 18:00 – 05-07 19:00"),
        ("UTC", "05-07 14:00 – 05-07 15:00"),
    ] {
        let text = event(&format!("DTSTART;TZID={zone}:20240507T140000\r\nDURATION:PT1H"));
        assert_eq!(spans(&text, None), [written], "{zone}");
    }
    let of_all = event("DTSTART:20240507T140000\r\nDURATION:PT1H")
        .replace("VERSION:2.0\r\n", "VERSION:2.0\r\nX-WR-TIMEZONE:India Standard Time\r\n");
    assert_eq!(spans(&of_all, None), ["05-07 08:30 – 05-07 09:30"]);
}

#[test]
fn whole_days_are_days_of_the_zone() {
    let text =
        event("DTSTART;VALUE=DATE:20240330\r\nDTEND;VALUE=DATE:20240401\r\nRRULE:FREQ=YEARLY;UNTIL=20240401");
    // Two days, one of which has 23 hours.
    assert_eq!(spans(&text, Some("Europe/Berlin")), ["03-29 23:00 – 03-31 22:00"]);
    let own = text.replace("VERSION:2.0\r\n", "VERSION:2.0\r\nX-WR-TIMEZONE:America/New_York\r\n");
    assert_eq!(spans(&own, None), ["03-30 04:00 – 04-01 04:00"]);
    assert!(why(&text, None).contains("names no zone"));
}

#[test]
fn one_of_a_series_is_moved_and_one_is_cancelled() {
    let series = "BEGIN:VEVENT\r\nUID:a\r\nDTSTART:20240304T100000Z\r\nDTEND:20240304T110000Z\r\nRRULE:FREQ=DAILY;COUNT=3\r\nEND:VEVENT\r\n";
    let moved = "BEGIN:VEVENT\r\nUID:a\r\nRECURRENCE-ID:20240305T100000Z\r\nDTSTART:20240305T180000Z\r\nDTEND:20240305T190000Z\r\nEND:VEVENT\r\n";
    let cancelled = "BEGIN:VEVENT\r\nUID:a\r\nRECURRENCE-ID:20240306T100000Z\r\nDTSTART:20240306T100000Z\r\nDTEND:20240306T110000Z\r\nSTATUS:CANCELLED\r\nEND:VEVENT\r\n";
    let text = calendar(&format!("{series}{moved}{cancelled}"));
    assert_eq!(spans(&text, None), ["03-04 10:00 – 03-04 11:00", "03-05 18:00 – 03-05 19:00"]);
    let gone = event("DTSTART:20240507T140000Z\r\nDTEND:20240507T160000Z\r\nSTATUS:CANCELLED");
    let events = read(&gone, None, now()).unwrap();
    assert!(
        events[0].windows.is_empty(),
        "the event is named, so that an earlier import of it is taken back"
    );
}

#[test]
fn what_never_ends_is_frozen_beyond_the_horizon() {
    let text = event("DTSTART:20200103T100000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=WEEKLY");
    let windows = read(&text, None, now()).unwrap().remove(0).windows;
    assert_eq!(
        windows[0].starts,
        "2024-03-01T10:00:00Z".parse::<Timestamp>().unwrap(),
        "the past is left out"
    );
    let last = windows.last().unwrap();
    assert_eq!(last.starts, now() + TimeDelta::days(HORIZON_DAYS));
    assert!(last.ends > now() + TimeDelta::days(20_000) && last.reason.contains("import the calendar again"));
    assert!((100..110).contains(&windows.len()), "{}", windows.len());
}

#[test]
fn what_is_not_understood_is_refused_with_its_line() {
    for (lines, expected) in [
        ("DTSTART:20240507T140000\r\nDTEND:20240507T150000", "names no zone"),
        (
            "DTSTART;TZID=Customized Time Zone:20240507T140000\r\nDURATION:PT1H",
            "IANA database, nor of Windows",
        ),
        ("DTSTART:20240507T140000Z", "neither DTEND nor DURATION"),
        ("DTSTART:20240507T140000Z\r\nDTEND:20240507T130000Z", "ends before it begins"),
        ("DTSTART:20240507T140000Z\r\nDURATION:1 hour", "is not a length"),
        ("DTSTART:tomorrow\r\nDURATION:PT1H", "is not a time"),
        ("DTSTART:20240507T140000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=SOMETIMES", "rule"),
        ("DTSTART:20240507T140000Z\r\nDURATION:PT1M\r\nRRULE:FREQ=MINUTELY", "more than"),
        ("DTSTART:20240507T140000Z\r\nDURATION:PT1H\r\nEXRULE:FREQ=DAILY", "EXRULE"),
        (
            "DTSTART:20240507T140000Z\r\nDURATION:PT1H\r\nRECURRENCE-ID;RANGE=THISANDFUTURE:20240507T140000Z",
            "RANGE is not understood",
        ),
        ("just words", "no line of a calendar"),
    ] {
        let told = why(&event(lines), None);
        assert!(told.starts_with("line ") && told.contains(expected), "{lines}: {told}");
    }
    assert!(why("hello", None).contains("no line") || why("hello", None).contains("no iCalendar"));
    assert!(why("A:b", None).contains("no iCalendar"));
    assert!(why("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n", None).contains("cut off"));
}
