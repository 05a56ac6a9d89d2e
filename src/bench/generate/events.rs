//! Events of users as JSON lines, in the shape of web analytics: nested fields, nulls, skewed countries.
//!
//! ```text
//! {"event_id":"7f1c…","event_time":"2026-01-01T00:00:00.125Z","user_id":58103,"event_type":"click",
//!  "country":"US","device":{"os":"ios","version":"17.2"},"amount":12.30,"tags":["new","promo"]}
//! ```
//!
//! Each file has a seed of its own, so files are made at once and are the same whatever the number of CPUs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use clap::ValueEnum;
use flate2::write::GzEncoder;

use super::{Outcome, in_parallel};

/// Bytes of text of a file.
const FILE_BYTES: u64 = 128 << 20;

/// Milliseconds between two events of a file, on average.
const GAP_MS: u64 = 20;

/// 2026-01-01T00:00:00Z, in milliseconds since 1970.
const FIRST_MS: u64 = 1_767_225_600_000;

const TYPES: [&str; 12] = [
    "heartbeat",
    "page_view",
    "click",
    "scroll",
    "search",
    "add_to_cart",
    "remove_from_cart",
    "purchase",
    "login",
    "logout",
    "share",
    "error",
];

const COUNTRIES: [&str; 40] = [
    "US", "IN", "BR", "ID", "DE", "GB", "JP", "FR", "MX", "PH", "VN", "TR", "IT", "ES", "CA", "PL",
    "KR", "AR", "NL", "CO", "AU", "TH", "MY", "ZA", "SA", "UA", "RO", "EG", "CL", "PE", "SE", "BE",
    "CZ", "PT", "GR", "HU", "CH", "AT", "NO", "DK",
];

const SYSTEMS: [&str; 6] = ["android", "ios", "windows", "macos", "linux", "other"];

const TAGS: [&str; 8] = ["new", "promo", "mobile", "beta", "vip", "returning", "email", "ads"];

/// The compression of text files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in super::super) enum TextCompression {
    /// Plain text.
    #[default]
    None,
    /// Gzip.
    Gzip,
}

/// The events to make.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Events {
    /// Bytes of text, about.
    pub(in super::super) bytes: u64,
    /// Another seed makes other events.
    pub(in super::super) seed: u64,
    /// The compression of the files.
    pub(in super::super) compression: TextCompression,
}

impl Events {
    /// The name of a folder of them.
    pub(in super::super) fn name(&self) -> String {
        let Self { bytes, seed, compression } = self;
        let of = match compression {
            TextCompression::None => "plain",
            TextCompression::Gzip => "gzip",
        };
        format!("events-{bytes}-{seed}-{of}")
    }

    /// Writes all files into a folder.
    pub(super) fn write_all(&self, folder: &Path) -> Outcome {
        let files: Vec<u64> = (0..self.bytes.div_ceil(FILE_BYTES)).collect();
        in_parallel(&files, |number| {
            let bytes = FILE_BYTES.min(self.bytes - number * FILE_BYTES);
            let name = format!("events-{number:05}.json");
            match self.compression {
                TextCompression::None => {
                    let mut out =
                        BufWriter::with_capacity(1 << 20, File::create(folder.join(name))?);
                    self.write_file(*number, bytes, &mut out)?;
                    out.flush()?;
                }
                TextCompression::Gzip => {
                    let file = File::create(folder.join(format!("{name}.gz")))?;
                    let mut out = GzEncoder::new(BufWriter::new(file), flate2::Compression::fast());
                    self.write_file(*number, bytes, &mut out)?;
                    out.finish()?.flush()?;
                }
            }
            Ok(())
        })
    }

    fn write_file(&self, number: u64, bytes: u64, out: &mut impl Write) -> Outcome {
        let mut random = Random(self.seed.wrapping_mul(0x9E37_79B9).wrapping_add(number << 32));
        // The country of rank r has a weight of 1 / (r + 1).
        let mut weights = [0_u64; COUNTRIES.len()];
        let mut sum = 0;
        for (rank, weight) in (1_u64..).zip(&mut weights) {
            sum += 1_000_000 / rank;
            *weight = sum;
        }
        let mut written = 0;
        let mut now_ms = FIRST_MS + number * 60_000;
        let mut line = Vec::with_capacity(512);
        while written < bytes {
            now_ms += random.below(2 * GAP_MS);
            line.clear();
            write_event(&mut random, now_ms, (&weights, sum), &mut line)?;
            out.write_all(&line)?;
            written += line.len() as u64;
        }
        Ok(())
    }
}

fn write_event(
    random: &mut Random,
    now_ms: u64,
    (weights, sum): (&[u64; COUNTRIES.len()], u64),
    line: &mut Vec<u8>,
) -> std::io::Result<()> {
    let (high, low) = (random.next(), random.next());
    write!(
        line,
        "{{\"event_id\":\"{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}\",\"event_time\":\"",
        high >> 32,
        (high >> 16) & 0xFFFF,
        high & 0xFFF,
        (low >> 48) & 0x3FFF | 0x8000,
        low & 0xFFFF_FFFF_FFFF
    )?;
    write_time(now_ms, line)?;
    let users = users(random);
    let user = random.below(users);
    let kind = *random.of(&TYPES);
    let at = random.below(sum);
    let country = COUNTRIES[weights.partition_point(|weight| *weight <= at)];
    let (system, major, minor) = (*random.of(&SYSTEMS), random.below(18), random.below(10));
    write!(
        line,
        "\",\"user_id\":{user},\"event_type\":\"{kind}\",\"country\":\"{country}\",\
         \"device\":{{\"os\":\"{system}\",\"version\":\"{major}.{minor}\"}},\"amount\":"
    )?;
    if random.below(4) == 0 {
        line.extend_from_slice(b"null");
    } else {
        let cents = random.below(100_000);
        write!(line, "{}.{:02}", cents / 100, cents % 100)?;
    }
    line.extend_from_slice(b",\"tags\":[");
    for tag in 0..random.below(4) {
        let separator = if tag == 0 { "" } else { "," };
        write!(line, "{separator}\"{}\"", random.of(&TAGS))?;
    }
    line.extend_from_slice(b"]}\n");
    Ok(())
}

/// The number of users that an event may be of: some come often.
fn users(random: &mut Random) -> u64 {
    if random.below(2) == 0 { 10_000 } else { 5_000_000 }
}

/// A time as RFC 3339, in UTC with milliseconds.
fn write_time(ms: u64, line: &mut Vec<u8>) -> std::io::Result<()> {
    let (days, of_day) = (ms / 86_400_000, ms % 86_400_000);
    // Civil date of a day count (Howard Hinnant, chrono-compatible low-level date algorithms).
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1000 % 60, of_day % 1000);
    write!(line, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Random numbers that are the same everywhere: `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below a limit, of which all are about as likely.
    fn below(&mut self, limit: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(limit);
        u64::try_from(wide >> 64).expect("below the limit")
    }

    fn of<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        let at = self.below(values.len() as u64);
        &values[usize::try_from(at).expect("an index")]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use serde_json::Value;

    use super::*;

    fn events(bytes: u64, seed: u64) -> String {
        let mut text = Vec::new();
        let of = Events { bytes, seed, compression: TextCompression::None };
        of.write_file(3, bytes, &mut text).expect("written");
        String::from_utf8(text).expect("UTF-8")
    }

    #[test]
    fn events_have_the_promised_fields_and_depend_on_the_seed_alone() {
        let text = events(1 << 20, 1);
        assert_eq!(text, events(1 << 20, 1));
        assert_ne!(text, events(1 << 20, 2));
        let mut seen: [BTreeSet<String>; 2] = Default::default();
        let mut nulls = 0;
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(event["event_id"].as_str().expect("a text").len(), 36);
            let time = event["event_time"].as_str().expect("a text");
            assert!(time.starts_with("2026-01-01T0") && time.ends_with('Z'), "{time}");
            assert!(event["user_id"].is_u64() && event["tags"].is_array());
            assert!(event["device"]["os"].is_string() && event["device"]["version"].is_string());
            nulls += usize::from(event["amount"].is_null());
            for (seen, key) in seen.iter_mut().zip(["event_type", "country"]) {
                seen.insert(event[key].as_str().expect("a text").to_owned());
            }
        }
        assert_eq!(seen.map(|seen| seen.len()), [12, 40]);
        assert!(nulls > 100);
    }

    #[test]
    fn times_are_dates() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (FIRST_MS - 1, "2025-12-31T23:59:59.999Z"),
        ] {
            let mut line = Vec::new();
            write_time(ms, &mut line).expect("written");
            assert_eq!(String::from_utf8(line).expect("UTF-8"), text);
        }
    }

    #[test]
    fn files_are_whole_and_of_the_size_that_was_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, compression) in [("a", TextCompression::None), ("b", TextCompression::Gzip)] {
            let out = folder.path().join(name);
            super::super::events(&Events { bytes: 300_000, seed: 5, compression }, &out)
                .expect("generated");
            let files: Vec<_> = fs::read_dir(&out).expect("listed").collect();
            assert_eq!(files.len(), 1);
        }
    }
}
