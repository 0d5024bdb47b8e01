//! Hours of the week in which a policy is tighter.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use toml::de::DeValue;

use super::reader::article;
use super::values::text;

const EXAMPLE: &str =
    "write days and times such as \"Mon-Fri 08:00-18:00\", \"Sat,Sun 22:00-02:00\" or \"08:00-18:00\"";

const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

/// Windows of the week on the clock of one time zone.
///
/// A window is meant as the clock on the wall shows it: where summer time ends, the hour that comes twice is in it both times;
/// where it begins, the hour that is left out is in no window. One that ends before it begins goes on past midnight, and belongs
/// to the day on which it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeakHours {
    windows: Vec<Window>,
    zone: TimeZone,
}

impl PeakHours {
    pub(super) fn new(windows: Vec<Window>, zone: TimeZone) -> Self {
        Self { windows, zone }
    }

    /// Whether a moment lies in one of the windows. One that no calendar has lies in all: what cannot be told is tight.
    pub fn contains(&self, at: SystemTime) -> bool {
        let Ok(at) = Timestamp::try_from(at) else { return true };
        let local = at.to_zoned(self.zone.clone());
        let (day, time) = (local.weekday(), local.time());
        self.windows.iter().any(|window| window.contains(day, time))
    }
}

impl fmt::Display for PeakHours {
    /// `Mon-Fri 08:00-18:00, Sat 10:00-12:00 (Europe/Berlin)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, window) in self.windows.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, window.written)?;
        }
        write!(f, " ({})", self.zone.iana_name().unwrap_or("UTC"))
    }
}

/// One window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// As the configuration writes it.
    written: String,
    /// The days on which it begins.
    days: Vec<Weekday>,
    start: Time,
    /// Not in it any more; `None` is midnight.
    end: Option<Time>,
}

impl Window {
    fn contains(&self, day: Weekday, time: Time) -> bool {
        let begins = |day| self.days.contains(&day);
        match self.end {
            Some(end) if end <= self.start => {
                (begins(day) && time >= self.start) || (begins(day.previous()) && time < end)
            }
            end => begins(day) && time >= self.start && end.is_none_or(|end| time < end),
        }
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not a window of the week; {EXAMPLE}");
        let (days, times) = match text.trim().rsplit_once(' ') {
            Some((days, times)) => (read_days(days.trim()).ok_or_else(wrong)?, times),
            None => (DAYS.map(|(_, day)| day).to_vec(), text.trim()),
        };
        let (start, end) = times.split_once('-').ok_or_else(wrong)?;
        let start = read_time(start).flatten().ok_or_else(wrong)?;
        let end = read_time(end).ok_or_else(wrong)?;
        if end == Some(start) {
            return Err(format!("\"{text}\" begins when it ends; write 00:00-24:00 for whole days"));
        }
        Ok(Self { written: text.trim().to_owned(), days, start, end })
    }
}

/// `Mon`, `Mon-Fri`, `Mon,Wed,Fri`, `Fri-Mon`.
fn read_days(text: &str) -> Option<Vec<Weekday>> {
    let day = |name: &str| DAYS.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.trim())).map(|(_, day)| *day);
    let mut days = vec![];
    for item in text.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = (day(first)?, day(last)?);
        days.extend(std::iter::successors(Some(first), |d| (*d != last).then(|| d.next())));
    }
    Some(days)
}

/// `HH:MM`; `Some(None)` for 24:00.
fn read_time(text: &str) -> Option<Option<Time>> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        let is_number = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    match (number(hour)?, number(minute)?) {
        (24, 0) => Some(None),
        (hour, minute) => Time::new(hour, minute, 0, 0).ok().map(Some),
    }
}

/// A list of windows.
pub(super) fn windows(value: &DeValue<'_>) -> Result<Vec<Window>, String> {
    let DeValue::Array(list) = value else {
        return Err(format!("must be a list of windows, not {}; {EXAMPLE}", article(value.type_str())));
    };
    if list.is_empty() {
        return Err(format!("is empty; {EXAMPLE}"));
    }
    list.iter().map(|item| text(item.get_ref())?.parse()).collect()
}

/// A time zone by its name in the IANA database.
pub(super) fn time_zone(value: &DeValue<'_>) -> Result<TimeZone, String> {
    let name = text(value)?;
    TimeZone::get(&name).map_err(|_| {
        format!("\"{name}\" is not a time zone; write its IANA name, such as \"Europe/Berlin\" or \"UTC\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(windows: &[&str], zone: &str) -> PeakHours {
        PeakHours::new(windows.iter().map(|w| w.parse().unwrap()).collect(), TimeZone::get(zone).unwrap())
    }

    fn at(utc: &str) -> SystemTime {
        utc.parse::<Timestamp>().unwrap().into()
    }

    #[test]
    fn a_window_holds_its_begin_and_not_its_end() {
        let peak = hours(&["Mon-Fri 08:00-18:00"], "UTC");
        // 2026-03-02 is a Monday.
        for (moment, is_in) in [
            ("2026-03-02T07:59:59.999Z", false),
            ("2026-03-02T08:00:00Z", true),
            ("2026-03-06T17:59:59.999Z", true),
            ("2026-03-06T18:00:00Z", false),
            ("2026-03-07T12:00:00Z", false),
        ] {
            assert_eq!(peak.contains(at(moment)), is_in, "{moment}");
        }
    }

    #[test]
    fn a_window_past_midnight_belongs_to_the_day_it_begins() {
        let peak = hours(&["Fri 22:00-02:00"], "UTC");
        for (moment, is_in) in [
            ("2026-03-06T01:00:00Z", false),
            ("2026-03-06T22:00:00Z", true),
            ("2026-03-07T01:59:00Z", true),
            ("2026-03-07T02:00:00Z", false),
            ("2026-03-07T22:00:00Z", false),
        ] {
            assert_eq!(peak.contains(at(moment)), is_in, "{moment}");
        }
    }

    #[test]
    fn the_clock_on_the_wall_counts() {
        let peak = hours(&["08:00-18:00"], "Europe/Berlin");
        assert!(!peak.contains(at("2026-01-15T06:30:00Z")), "07:30 in winter");
        assert!(peak.contains(at("2026-07-15T06:30:00Z")), "08:30 in summer");
        let night = hours(&["Sun 02:00-03:00"], "Europe/Berlin");
        // 02:00-03:00 comes twice on 2026-10-25 and not at all on 2026-03-29.
        for moment in ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"] {
            assert!(night.contains(at(moment)), "{moment}");
        }
        assert!(!night.contains(at("2026-10-25T02:30:00Z")), "03:30");
        for moment in ["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"] {
            assert!(!night.contains(at(moment)), "{moment}");
        }
    }

    #[test]
    fn windows_are_written_in_several_ways() {
        let noon = |day: u8| at(&format!("2026-03-{day:02}T12:00:00Z"));
        let days = |window: &str| (2..9).filter(|&day| hours(&[window], "UTC").contains(noon(day))).collect::<Vec<_>>();
        assert_eq!(days("Mon,Wed 11:00-13:00"), [2, 4]);
        assert_eq!(days("Sat-Mon 11:00-13:00"), [2, 7, 8]);
        assert_eq!(days("mon-tue, FRI 00:00-24:00"), [2, 3, 6]);
        assert_eq!(days("11:00-13:00").len(), 7);
        for wrong in
            ["", "Mon", "8-18", "08:00", "Mo-Fr 08:00-18:00", "08:00-24:30", "24:00-08:00", "8:00-18:00", "08:00-08:00"]
        {
            assert!(wrong.parse::<Window>().is_err(), "{wrong}");
        }
        assert_eq!(
            hours(&["Mon 08:00-09:00", "Tue 00:00-24:00"], "Europe/Berlin").to_string(),
            "Mon 08:00-09:00, Tue 00:00-24:00 (Europe/Berlin)"
        );
    }
}
