//! A real S3 server: what is written there and read back, and who dies in between.
//!
//! `tests/services/s3` starts one; `GNIST_TEST_S3` is its endpoint. Without it these tests are skipped, and counted as
//! such.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;

use crate::process::{Ended, Running, command, kill};

const MASTERS: [&str; 2] = ["local[2]", "local-cluster[2,1,256MiB]"];

const BUCKET: &str = "gnist";
const KEY: &str = "gnist";
const SECRET: &str = "gnistsecret";

/// More changes than a write of two objects makes.
const CHANGES_MAX: usize = 60;

type Test = fn(&str) -> Result<(), Failed>;

const TESTS: [(&str, Test); 8] = [
    ("each_format_is_read_back_as_it_was", each_format_is_read_back),
    ("modes_answer_to_data_that_is_there", modes_answer),
    ("partitions_are_folders_and_choose_objects", partitions_are_folders),
    ("one_object_is_whole", one_object_is_whole),
    ("errors_name_store_and_reason", errors_name_store_and_reason),
    ("a_driver_may_die_at_every_change", a_driver_may_die_at_every_change),
    ("a_killed_driver_leaves_old_or_new", a_killed_driver_leaves_old_or_new),
    ("a_killed_worker_changes_no_object", a_killed_worker_changes_no_object),
];

fn endpoint() -> Option<String> {
    std::env::var("GNIST_TEST_S3").ok().filter(|endpoint| !endpoint.is_empty())
}

/// Says how many tests are skipped, if they are.
pub fn say_if_skipped() {
    if endpoint().is_none() {
        eprintln!(
            "{} tests of S3 are skipped: `tests/services/s3 start DIR` starts a server",
            TESTS.len()
        );
    }
}

pub fn trials() -> Vec<Trial> {
    let endpoint = endpoint();
    let trial = |(name, test): (&str, Test)| {
        let at = endpoint.clone().unwrap_or_default();
        let is_skipped = endpoint.is_none();
        Trial::test(format!("s3::{name}"), move || test(&at)).with_ignored_flag(is_skipped)
    };
    TESTS.into_iter().map(trial).collect()
}

/// The command with the settings of the server, told as variables.
fn gnist(endpoint: &str, master: &str, query: &str) -> Command {
    let mut gnist =
        command(&["sql", "--quiet", "--master", master, "--format", "csv", "-e", query]);
    let variables = std::env::vars_os().map(|(name, _)| name);
    for name in variables.filter(|name| name.to_string_lossy().starts_with("AWS_")) {
        gnist.env_remove(name);
    }
    gnist.env("AWS_ENDPOINT_URL", endpoint).env("AWS_ACCESS_KEY_ID", KEY);
    gnist.env("AWS_SECRET_ACCESS_KEY", SECRET);
    // No profile of whoever runs the tests.
    gnist.env("HOME", "/nonexistent");
    gnist
}

fn run(endpoint: &str, master: &str, query: &str) -> Result<Ended, String> {
    Running::spawn(&mut gnist(endpoint, master, query)).end()
}

fn expect(endpoint: &str, master: &str, query: &str, rows: &str) -> Result<(), Failed> {
    let ended = run(endpoint, master, query)?.expect(0, rows, &[]);
    Ok(ended.map_err(|error| format!("{query} on {master}: {error}"))?)
}

/// A folder that no other test has.
fn folder(name: &str) -> String {
    let random = rand::rng().random::<u64>();
    format!("s3://{BUCKET}/{name}-{random:016x}")
}

/// An answer of the server to a signed request.
fn ask(endpoint: &str, path: &str) -> Result<String, Failed> {
    let output = Command::new("curl")
        .args(["--silent", "--fail", "--aws-sigv4", "aws:amz:us-east-1:s3"])
        .args(["--user", &format!("{KEY}:{SECRET}"), &format!("{endpoint}/{BUCKET}?{path}")])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the server does not answer {path}").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Names of the objects below a folder, without it, in order.
fn objects(endpoint: &str, folder: &str) -> Result<Vec<String>, Failed> {
    let below = folder.strip_prefix(&format!("s3://{BUCKET}/")).expect("of the bucket");
    let answer = ask(endpoint, &format!("list-type=2&max-keys=1000&prefix={below}%2F"))?;
    Ok(texts(&answer, "Key").into_iter().map(|key| key[below.len() + 1..].to_owned()).collect())
}

fn data(endpoint: &str, folder: &str) -> Result<Vec<String>, Failed> {
    let mut data = objects(endpoint, folder)?;
    data.retain(|name| !name.split('/').any(|part| part.starts_with('_') && !part.contains('=')));
    Ok(data)
}

/// Uploads to these objects that are neither completed nor aborted. The server lists those of one object at a time.
fn open_uploads(endpoint: &str, folder: &str, names: &[String]) -> Result<Vec<String>, Failed> {
    let below = folder.strip_prefix(&format!("s3://{BUCKET}/")).expect("of the bucket");
    let mut open = Vec::new();
    for name in names {
        let prefix = format!("{below}/{name}").replace('/', "%2F");
        open.extend(texts(&ask(endpoint, &format!("prefix={prefix}&uploads="))?, "UploadId"));
    }
    Ok(open)
}

fn texts(xml: &str, element: &str) -> Vec<String> {
    let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
    let parts = xml.split(&begin).skip(1);
    parts.filter_map(|part| Some(part.split_once(&end)?.0.to_owned())).collect()
}

const ROWS: &str = "select i, case when i % 5 > 0 then i * 1.5e0 end as f, concat('text \"', i, '\", ') as t, \
     date '2024-02-28' + cast(i as int) as day from generate_series(1, 1000) s(i)";

const SUMMARY: &str =
    "count(*), count(f), sum(i), round(sum(f)), sum(length(t)), min(day), max(day)";

fn each_format_is_read_back(endpoint: &str) -> Result<(), Failed> {
    let body = |ended: Ended| -> Result<String, Failed> {
        let text = String::from_utf8(ended.stdout)?;
        Ok(text.lines().skip(1).collect::<Vec<_>>().join("\n"))
    };
    let right = body(run(endpoint, "local[2]", &format!("select {SUMMARY} from ({ROWS})"))?)?;
    for master in MASTERS {
        for (format, options) in [
            ("parquet", ""),
            ("csv", ""),
            ("csv", "options ('compression' 'gzip')"),
            ("json", ""),
            ("json", "options ('compression' 'zstd')"),
        ] {
            let name = folder(format);
            let copy = format!("copy ({ROWS}) to '{name}' stored as {format} {options}");
            expect(endpoint, master, &copy, "")?;
            for path in
                [format!("{name}/"), name.clone(), format!("{name}/*"), format!("{name}/part-*")]
            {
                let read = format!(
                    "select {SUMMARY} from (select i, f, t, cast(day as date) as day from '{path}')"
                );
                let got = body(run(endpoint, master, &read)?)?;
                if got != right {
                    return Err(format!("{copy}, {path} on {master}: {got}, not {right}").into());
                }
            }
            let all = objects(endpoint, &name)?;
            assert!(all.iter().any(|object| object == "_SUCCESS"), "{all:?}");
            assert!(!all.iter().any(|object| object.contains("staged")), "{all:?}");
            assert_eq!(open_uploads(endpoint, &name, &all)?, Vec::<String>::new());
        }
    }
    Ok(())
}

fn modes_answer(endpoint: &str) -> Result<(), Failed> {
    for master in MASTERS {
        let out = folder("modes");
        let write = |values: &str, mode: &str| {
            format!("copy (values {values}) to '{out}' stored as csv options (mode '{mode}')")
        };
        let there = |rows: &str| {
            let read = format!("select column1 as c from '{out}/' order by 1");
            expect(endpoint, "local[2]", &read, rows)
        };
        expect(endpoint, master, &write("(1)", "error"), "")?;
        let again = run(endpoint, master, &write("(2)", "error"))?;
        again.expect(1, "", &["there is data in `s3://gnist/modes-"])?;
        expect(endpoint, master, &write("(2)", "ignore"), "")?;
        there("c\n1\n")?;
        expect(endpoint, master, &write("(2)", "append"), "")?;
        there("c\n1\n2\n")?;
        expect(endpoint, master, &write("(3)", "overwrite"), "")?;
        there("c\n3\n")?;
        assert_eq!(data(endpoint, &out)?.len(), 1);
        // A table of it.
        let table = format!("create external table t (c int) stored as csv location '{out}/'");
        let insert = format!(
            "{table}; insert into t values (4), (null); select count(*) as n, sum(c) as s from t"
        );
        expect(endpoint, master, &insert, "n,s\n3,7\n")?;
    }
    Ok(())
}

fn partitions_are_folders(endpoint: &str) -> Result<(), Failed> {
    for master in MASTERS {
        let out = folder("partitions");
        let copy = format!(
            "copy (select i, case when i % 4 = 3 then null else concat('k ', i % 4, '/%') end as k \
             from generate_series(1, 100) s(i)) to '{out}' stored as parquet partitioned by (k)"
        );
        expect(endpoint, master, &copy, "")?;
        let names = data(endpoint, &out)?;
        assert!(
            names.iter().any(|name| name.starts_with("k=__HIVE_DEFAULT_PARTITION__/")),
            "{names:?}"
        );
        let read =
            format!("select k, count(*) as n, sum(i) as s from '{out}/' group by k order by k");
        let rows = "k,n,s\nk 0/%,25,1300\nk 1/%,25,1225\nk 2/%,25,1250\n,25,1275\n";
        expect(endpoint, master, &read, rows)?;
        let one = format!("select count(*) as n from '{out}/' where k = 'k 1/%'");
        expect(endpoint, master, &one, "n\n25\n")?;
    }
    Ok(())
}

fn one_object_is_whole(endpoint: &str) -> Result<(), Failed> {
    let out = folder("one");
    let file = format!("{out}/a.csv.gz");
    let copy = |rows: &str, options: &str| format!("copy ({rows}) to '{file}' {options}");
    expect(endpoint, "local[2]", &copy("select 1 as a", ""), "")?;
    let again = run(endpoint, "local[2]", &copy("select 2 as a", ""))?;
    again.expect(1, "", &["there is data in", "a.csv.gz"])?;
    expect(endpoint, "local[2]", &copy("select 3 as a", "options (mode 'overwrite')"), "")?;
    expect(endpoint, "local[2]", &format!("select * from '{file}'"), "a\n3\n")?;
    assert_eq!(objects(endpoint, &out)?, ["a.csv.gz"]);
    // Larger than a piece.
    let large = format!(
        "copy (select i, repeat('x', 100) as t from generate_series(1, 200000) s(i)) to '{out}/b.csv'"
    );
    expect(endpoint, "local[2]", &large, "")?;
    let read = format!("select count(*) as n, sum(i) as s from '{out}/b.csv'");
    expect(endpoint, "local-cluster[2,1,256MiB]", &read, "n,s\n200000,20000100000\n")?;
    let all = objects(endpoint, &out)?;
    assert_eq!(open_uploads(endpoint, &out, &all)?, Vec::<String>::new());
    Ok(())
}

fn errors_name_store_and_reason(endpoint: &str) -> Result<(), Failed> {
    let refused = |query: &str, change: &dyn Fn(&mut Command), messages: &[&str]| {
        let mut gnist = gnist(endpoint, "local[2]", query);
        change(&mut gnist);
        let ended = Running::spawn(&mut gnist).end()?;
        assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
        let checked = ended.expect(1, "", messages);
        checked.map_err(|error| Failed::from(format!("{query}: {error}")))
    };
    let out = folder("errors");
    let nothing = |_: &mut Command| {};
    refused(
        &format!("select * from '{out}/a.csv'"),
        &nothing,
        &["no such file", "s3://gnist/errors"],
    )?;
    refused(
        &format!("select * from '{out}/*.csv'"),
        &nothing,
        &["no file matches `s3://gnist/errors"],
    )?;
    refused(
        "select * from 's3://not-there/a/'",
        &nothing,
        &["there is no bucket `s3://not-there`"],
    )?;
    refused(
        "copy (select 1 as a) to 's3://not-there/a' stored as csv",
        &nothing,
        &["there is no bucket `s3://not-there`"],
    )?;
    let without_secret = |gnist: &mut Command| {
        gnist.env_remove("AWS_SECRET_ACCESS_KEY");
    };
    refused(
        &format!("select * from '{out}/'"),
        &without_secret,
        &["no credentials for `s3://gnist`", "`AWS_SECRET_ACCESS_KEY` is not set"],
    )?;
    let wrong_key = |gnist: &mut Command| {
        gnist.env("AWS_ACCESS_KEY_ID", "nobody");
    };
    refused(&format!("select * from '{out}/'"), &wrong_key, &["does not know the access key"])?;
    let wrong_secret = |gnist: &mut Command| {
        gnist.env("AWS_SECRET_ACCESS_KEY", "wrong");
    };
    refused(&format!("select * from '{out}/'"), &wrong_secret, &["the secret key is not"])?;
    let nobody = |gnist: &mut Command| {
        gnist.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
        gnist.env("GNIST_CONF_STORAGE_RETRY_TIMEOUT", "1s");
    };
    refused(&format!("select * from '{out}/'"), &nobody, &["s3://gnist", "connection refused"])?;
    let profile = |gnist: &mut Command| {
        gnist.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        gnist.env("AWS_PROFILE", "none");
    };
    refused(&format!("select * from '{out}/'"), &profile, &["there is no profile `none`"])?;
    refused("select * from 'ftp://h/a.csv'", &nothing, &["there is no store for `ftp://`"])
}

/// The statement writes rows of the second generation over those of the first.
fn replace(out: &str, mode: &str) -> String {
    format!(
        "copy (select i, 2 as g, repeat('x', 200) as t from generate_series(1, 60000) s(i)) to '{out}' \
         stored as parquet options (mode '{mode}', max_file_rows '8000')"
    )
}

/// True if a reader sees the new rows. Anything but all old or all new ones is an error.
fn seen(endpoint: &str, out: &str, mode: &str, rows: usize) -> Result<bool, Failed> {
    let read = format!("select g, count(*) as n from '{out}/' group by g order by g");
    let seen = run(endpoint, "local[2]", &read)?;
    let text = String::from_utf8(seen.stdout)?;
    let old = "g,n\n1,1000\n";
    let new = match mode {
        "append" => format!("{old}2,{rows}\n"),
        _ => format!("g,n\n2,{rows}\n"),
    };
    match text {
        text if text == old => Ok(false),
        text if text == new => Ok(true),
        _ => Err(format!("{mode}: {text} {}", seen.stderr).into()),
    }
}

fn begin(endpoint: &str, out: &str) -> Result<(), Failed> {
    let first = format!(
        "copy (select i, 1 as g, 'x' as t from generate_series(1, 1000) s(i)) to '{out}' stored as parquet"
    );
    expect(endpoint, "local[2]", &first, "")
}

/// What passes between a driver and the server: the driver is killed at one of its changes, before the server has it or
/// when it has answered.
struct Passage {
    server: String,
    kill_at: usize,
    is_passed_on: bool,
    changes: AtomicUsize,
    driver: AtomicU32,
}

impl Passage {
    /// Passes requests on until the test ends. Returns its endpoint.
    fn open(self: &Arc<Self>) -> Result<String, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let passage = Arc::clone(self);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let passage = Arc::clone(&passage);
                // A connection that breaks is the driver's end.
                std::thread::spawn(move || drop(passage.pass(client)));
            }
        });
        Ok(format!("http://{address}"))
    }

    /// One request and its answer.
    fn pass(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut request = Vec::new();
        let mut piece = [0_u8; 1 << 16];
        let (head, length) = loop {
            let count = client.read(&mut piece)?;
            if count == 0 {
                return Ok(());
            }
            request.extend_from_slice(&piece[..count]);
            let end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = end {
                let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
                break (end, length.map_or(0, |length| length.trim().parse().expect("a number")));
            }
        };
        let mut body = request.split_off(head + 4);
        while body.len() < length {
            let count = client.read(&mut piece)?;
            body.extend_from_slice(&piece[..count]);
        }
        let is_change = [&b"PUT"[..], b"POST", b"DELETE"].iter().any(|it| request.starts_with(it));
        let is_last = is_change && self.changes.fetch_add(1, Ordering::SeqCst) == self.kill_at;
        if is_last && !self.is_passed_on {
            kill(self.driver.load(Ordering::SeqCst));
            return Ok(());
        }
        // Each request has a connection of its own.
        request.truncate(head + 2);
        request.extend_from_slice(b"connection: close\r\n\r\n");
        let mut server = TcpStream::connect(&self.server)?;
        server.write_all(&request)?;
        server.write_all(&body)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        if is_last {
            kill(self.driver.load(Ordering::SeqCst));
        }
        client.write_all(&answer)
    }
}

fn a_driver_may_die_at_every_change(endpoint: &str) -> Result<(), Failed> {
    let server = endpoint.strip_prefix("http://").expect("a URL").to_owned();
    for (mode, is_passed_on) in
        [("append", false), ("append", true), ("overwrite", false), ("overwrite", true)]
    {
        let mut landed = 0;
        for kill_at in 0..CHANGES_MAX {
            let out = folder("change");
            begin(endpoint, &out)?;
            let passage = Arc::new(Passage {
                server: server.clone(),
                kill_at,
                is_passed_on,
                changes: AtomicUsize::new(0),
                driver: AtomicU32::new(0),
            });
            let copy = format!(
                "copy (select i, 2 as g, 'x' as t from generate_series(1, 2000) s(i)) to '{out}' stored as parquet \
                 options (mode '{mode}', max_file_rows '1000')"
            );
            let writer = Running::spawn(&mut gnist(&passage.open()?, "local[1]", &copy));
            passage.driver.store(writer.id(), Ordering::SeqCst);
            let is_whole = writer.end()?.status.success();
            let place = format!("{mode}, change {kill_at}, passed on: {is_passed_on}");
            let is_new =
                seen(endpoint, &out, mode, 2000).map_err(|error| format!("{place}: {error:?}"))?;
            landed += usize::from(is_new);
            // The next writer finishes it or leaves it.
            let next = format!(
                "copy (select 0 as i, 3 as g, 'y' as t) to '{out}' stored as parquet options (mode 'append')"
            );
            expect(endpoint, "local[1]", &next, "")?;
            let names = data(endpoint, &out)?;
            // What was committed and not published yet is seen from now on.
            let (given_up, finished) = if mode == "append" { (2, 4) } else { (2, 3) };
            let is_finished = names.len() == finished;
            assert!(is_finished || (names.len() == given_up && !is_new), "{place}: {names:?}");
            let kept = if is_finished && mode != "append" { "" } else { "1,1000\n" };
            let made = if is_finished { "2,2000\n" } else { "" };
            let read = format!("select g, count(*) as n from '{out}/' group by g order by g");
            expect(endpoint, "local[1]", &read, &format!("g,n\n{kept}{made}3,1\n"))?;
            assert!(objects(endpoint, &out)?.iter().any(|name| name == "_SUCCESS"), "{place}");
            assert_eq!(open_uploads(endpoint, &out, &names)?, Vec::<String>::new(), "{place}");
            if is_whole {
                assert!(landed > 3, "{place}: it landed {landed} times");
                break;
            }
            assert!(kill_at < CHANGES_MAX - 1, "it makes more changes");
        }
    }
    Ok(())
}

fn a_killed_driver_leaves_old_or_new(endpoint: &str) -> Result<(), Failed> {
    let mut random = SmallRng::seed_from_u64(7);
    for mode in ["append", "overwrite"] {
        for _ in 0..6 {
            let out = folder("driver");
            begin(endpoint, &out)?;
            let writer = Running::spawn(&mut gnist(endpoint, "local[2]", &replace(&out, mode)));
            std::thread::sleep(Duration::from_millis(random.random_range(50..1500)));
            writer.signal(Signal::KILL);
            drop(writer);
            seen(endpoint, &out, mode, 60_000)?;
            // The next writer finishes it or leaves it, and no object is left over that readers see.
            let next = format!(
                "copy (select 0 as i, 3 as g, 'y' as t) to '{out}' stored as parquet options (mode 'append')"
            );
            expect(endpoint, "local[2]", &next, "")?;
            let names = data(endpoint, &out)?;
            let count = format!("select count(*) as n from '{out}/' where g = 3");
            expect(endpoint, "local[2]", &count, "n\n1\n")?;
            let log = objects(endpoint, &out)?;
            assert!(log.iter().any(|name| name == "_SUCCESS"), "{log:?} {names:?}");
        }
    }
    Ok(())
}

fn a_killed_worker_changes_no_object(endpoint: &str) -> Result<(), Failed> {
    let mut random = SmallRng::seed_from_u64(11);
    for mode in ["append", "overwrite"] {
        let out = folder("worker");
        begin(endpoint, &out)?;
        let master = "local-cluster[3,1,256MiB]";
        let writer = Running::spawn(&mut gnist(endpoint, master, &replace(&out, mode)));
        std::thread::sleep(Duration::from_millis(random.random_range(700..1800)));
        if let Some(worker) = writer.children().last() {
            kill(*worker);
        }
        writer.end()?.expect(0, "", &[])?;
        seen(endpoint, &out, mode, 60_000)?;
        let all = objects(endpoint, &out)?;
        assert!(!all.iter().any(|object| object.contains("staged")), "{all:?}");
    }
    Ok(())
}
