//! Time as a value: the pure parts are told what time it is and never ask.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Milliseconds since an origin that the shell chose. Monotonic within one shell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The time from `earlier` to `self`, zero if `earlier` is later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(ms))
    }
}

impl Sub<Time> for Time {
    type Output = Duration;

    fn sub(self, earlier: Time) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// A point on the wall clock, milliseconds since 1970-01-01 UTC. Shown as RFC 3339.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub u64);

impl fmt::Display for WallTime {
    /// The civil-from-days algorithm of Howard Hinnant ("chrono-compatible low-level date
    /// algorithms"), restricted to dates after 1970.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms_of_day) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (seconds, ms) = (ms_of_day / 1_000, ms_of_day % 1_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_shown_as_rfc_3339() {
        assert_eq!(WallTime(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(WallTime(951_782_400_000).to_string(), "2000-02-29T00:00:00.000Z");
        assert_eq!(WallTime(1_795_392_061_007).to_string(), "2026-11-23T00:01:01.007Z");
    }

    #[test]
    fn time_never_goes_below_zero() {
        assert_eq!(Time(3) - Time(5), Duration::ZERO);
        assert_eq!(Time(3) + Duration::from_millis(4), Time(7));
    }
}
