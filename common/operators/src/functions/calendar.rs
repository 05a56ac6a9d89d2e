//! Days, months and years of the Gregorian calendar. Days count from 1970-01-01.

/// Days in 400 years of the Gregorian calendar.
const DAYS_PER_ERA: i64 = 146_097;

/// Days from 0000-03-01 to 1970-01-01: eras begin in March, so that leap days come last.
const EPOCH: i64 = 719_468;

/// The year and month (1 to 12) of a day. Hinnant, "chrono-compatible low-level date algorithms".
pub(super) fn year_and_month(day: i64) -> (i64, i64) {
    let day = day + EPOCH;
    let era = day.div_euclid(DAYS_PER_ERA);
    let day_of_era = day.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month)
}

/// The first day of a month (1 to 12).
pub(super) fn day_of(year: i64, month: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - EPOCH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_lies_in_the_month_that_begins_at_or_before_it() {
        let (mut year, mut month) = (-400, 1);
        for day in day_of(-400, 1)..day_of(10_400, 1) {
            let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            if day == day_of(next.0, next.1) {
                (year, month) = next;
            }
            assert_eq!(year_and_month(day), (year, month), "day {day}");
        }
        assert_eq!(day_of(1970, 1), 0);
        assert_eq!(day_of(2000, 3), 11_017);
        assert_eq!(day_of(1, 1), -719_162);
    }
}
