//! Days and civil dates of the proleptic Gregorian calendar (Howard Hinnant: chrono-Compatible
//! Low-Level Date Algorithms).

/// Nanoseconds of a day.
pub(crate) const DAY_NS: i64 = 86_400_000_000_000;
/// Nanoseconds of a second.
pub(crate) const SECOND_NS: i64 = 1_000_000_000;

/// Year, month and day of a number of days since 1970.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days since 1970 of a civil date.
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// `2020-02-29` of a number of days since 1970.
pub(crate) fn date_text(of: i64) -> String {
    let (year, month, day) = civil(of);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2020-02-29T12:34:56`, with a fraction where there is one.
pub(crate) fn timestamp_text(ns: i64) -> String {
    let (day, of_day) = (ns.div_euclid(DAY_NS), ns.rem_euclid(DAY_NS));
    let (seconds, fraction) = (of_day / SECOND_NS, of_day % SECOND_NS);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{}T{hour:02}:{minute:02}:{second:02}", date_text(day));
    if fraction > 0 {
        text.push_str(&format!(".{fraction:09}"));
    }
    text
}

/// The number of days since 1970 of `2020-02-29`.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let mut part = || parts.next()?.parse::<i64>().ok();
    let (year, month, day) = (part()?, part()?, part()?);
    let found = days(year, month, day);
    (civil(found) == (year, month, day)).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_dates_and_days_are_inverse() {
        for day in (-800_000..800_000).step_by(37) {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
        assert_eq!(date_text(18_321), "2020-02-29");
        assert_eq!(parse_date("2020-02-29"), Some(18_321));
        assert_eq!(parse_date("2021-02-29"), None);
        assert_eq!(timestamp_text(-SECOND_NS), "1969-12-31T23:59:59");
    }
}
