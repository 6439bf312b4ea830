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
fn no_day_of_a_series_is_lost_where_the_clock_changes_at_midnight() {
    // In Santiago, 6 September 2026 begins at one o'clock; in Havana, 1 November has its first hour twice.
    let santiago = event("DTSTART;VALUE=DATE:20260830\r\nRRULE:FREQ=WEEKLY;COUNT=3");
    assert_eq!(
        spans(&santiago, Some("America/Santiago")),
        ["08-30 04:00 – 08-31 04:00", "09-06 04:00 – 09-07 03:00", "09-13 03:00 – 09-14 03:00"]
    );
    let havana = event("DTSTART;VALUE=DATE:20261031\r\nRRULE:FREQ=DAILY;UNTIL=20261102");
    assert_eq!(
        spans(&havana, Some("America/Havana")),
        ["10-31 04:00 – 11-01 04:00", "11-01 04:00 – 11-02 05:00", "11-02 05:00 – 11-03 05:00"]
    );
    // Its exceptions and the ones that are moved are found there too.
    let without = santiago.replace("COUNT=3", "COUNT=3\r\nEXDATE;VALUE=DATE:20260906");
    assert_eq!(
        spans(&without, Some("America/Santiago")),
        ["08-30 04:00 – 08-31 04:00", "09-13 03:00 – 09-14 03:00"]
    );
}

#[test]
fn a_time_that_the_clock_leaves_out_is_taken_as_it_was_before_and_of_two_the_first() {
    let text = event("DTSTART:20260905T003000\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=3");
    assert_eq!(
        spans(&text, Some("America/Santiago")),
        ["09-05 04:30 – 09-05 05:30", "09-06 04:30 – 09-06 05:30", "09-07 03:30 – 09-07 04:30"]
    );
    // The first of a series, and one alone, may be such a time themselves.
    let first = event("DTSTART:20260906T003000\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=2");
    assert_eq!(
        spans(&first, Some("America/Santiago")),
        ["09-06 04:30 – 09-06 05:30", "09-07 03:30 – 09-07 04:30"]
    );
    let alone = event("DTSTART:20260329T023000\r\nDURATION:PT1H");
    assert_eq!(spans(&alone, Some("Europe/Berlin")), ["03-29 01:30 – 03-29 02:30"]);
    let twice = event("DTSTART:20261024T023000\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=2");
    assert_eq!(
        spans(&twice, Some("Europe/Berlin")),
        ["10-24 00:30 – 10-24 01:30", "10-25 00:30 – 10-25 01:30"]
    );
}

#[test]
fn days_of_a_duration_are_those_of_the_calendar_and_its_hours_are_hours() {
    // From Friday six in the evening until Monday eight in the morning, over the end of summer time and over any other weekend.
    let text =
        event("DTSTART;TZID=Europe/Berlin:20261016T180000\r\nDURATION:P2DT14H\r\nRRULE:FREQ=WEEKLY;COUNT=2");
    assert_eq!(spans(&text, None), ["10-16 16:00 – 10-19 06:00", "10-23 16:00 – 10-26 07:00"]);
    let in_hours = text.replace("P2DT14H", "PT62H");
    assert_eq!(spans(&in_hours, None), ["10-16 16:00 – 10-19 06:00", "10-23 16:00 – 10-26 06:00"]);
    // An end that is written out makes all as long as the first is, and times in UTC know no summer.
    let to = text.replace("DURATION:P2DT14H", "DTEND;TZID=Europe/Berlin:20261019T080000");
    assert_eq!(spans(&to, None), ["10-16 16:00 – 10-19 06:00", "10-23 16:00 – 10-26 06:00"]);
    let utc = event("DTSTART:20261023T160000Z\r\nDURATION:P2DT14H");
    assert_eq!(spans(&utc, Some("Europe/Berlin")), ["10-23 16:00 – 10-26 06:00"]);
}

#[test]
fn a_rule_in_utc_speaks_of_the_days_of_utc() {
    // Monday eleven in the evening in UTC is Tuesday in Berlin, and not the Monday that the rule names.
    let text = event("DTSTART:20240506T230000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=2");
    assert_eq!(
        spans(&text, Some("Europe/Berlin")),
        ["05-06 23:00 – 05-07 00:00", "05-13 23:00 – 05-14 00:00"]
    );
}

#[test]
fn what_begins_again_and_again_within_a_day_is_refused_by_name_and_not_counted_out() {
    let minutes = (0..60).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let by_minute = format!("FREQ=YEARLY;BYHOUR=1,2;BYMINUTE={minutes};BYSECOND={minutes};BYDAY=MO");
    for rule in ["FREQ=SECONDLY", "freq=minutely;INTERVAL=5", "FREQ=HOURLY;COUNT=3", &by_minute] {
        let text =
            event(&format!("DTSTART:19700101T000000Z\r\nDURATION:PT1S\r\nSUMMARY:Beat\r\nRRULE:{rule}"));
        let told = why(&text, None);
        assert!(told.contains("\"Beat\" begins a freeze again and again within a day"), "{told}");
    }
    let event = |n: usize| {
        format!(
            "BEGIN:VEVENT\r\nUID:{n}\r\nDTSTART:15000101T000000Z\r\nDURATION:PT1H\r\nSUMMARY:Event {n}\r\nRRULE:FREQ=DAILY\r\nEND:VEVENT\r\n"
        )
    };
    assert!(read(&calendar(&event(0)), None, now()).is_ok());
    let told = why(&calendar(&(0..10).map(event).collect::<String>()), None);
    assert!(told.contains("\"Event 3\"") && told.contains("more than 750000 times"), "{told}");
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
        (
            "DTSTART:20240507T140000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=3000",
            "more than 2000 windows",
        ),
        (
            "DTSTART:20240507T140000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;UNTIL=20240506",
            "ends before its event",
        ),
        (
            "DTSTART:20240507T140000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;UNTIL=20240601;UNTIL=20240602",
            "not the only one",
        ),
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
