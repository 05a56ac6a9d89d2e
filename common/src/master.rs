//! Master URLs: where a job runs.
//!
//! ```text
//! local                 this process, one slot
//! local[N]  local[*]    this process, N slots, or one for each CPU
//! local-cluster[W,S,M]  a cluster manager and W worker processes of S slots and M memory each
//! gnist://h:p[,h:p...]  a standing cluster
//! ```

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use crate::bytes::ByteSize;

/// Slots of one process at most: each has a thread.
pub const SLOTS_MAX: u32 = 4096;

/// Least memory of one process: what one operator with a few batches needs.
pub const MEMORY_MIN: ByteSize = ByteSize::mib(16);

/// The place where a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MasterUrl {
    /// This process.
    Local {
        /// Slots; none means one for each CPU this process may use.
        slots: Option<NonZeroU32>,
    },
    /// A cluster of processes on loopback that goes when the job goes.
    LocalCluster {
        /// Worker processes.
        workers: NonZeroU32,
        /// Slots of each worker.
        slots: NonZeroU32,
        /// Memory budget of each worker.
        memory: ByteSize,
    },
    /// A standing cluster.
    Cluster {
        /// `HOST:PORT` of its cluster managers; at least one.
        addresses: Vec<String>,
    },
}

impl MasterUrl {
    /// The master that runs everything in this process, with a slot for each CPU.
    pub const LOCAL_ALL: Self = Self::Local { slots: None };

    /// The standing cluster at the address where its manager listens unless told otherwise.
    pub fn default_cluster() -> Self {
        Self::Cluster { addresses: vec!["127.0.0.1:7077".to_owned()] }
    }

    /// True if the job stays in this process.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local { .. })
    }
}

impl fmt::Display for MasterUrl {
    /// The form that parses back to the same URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { slots: None } => f.write_str("local[*]"),
            Self::Local { slots: Some(slots) } => write!(f, "local[{slots}]"),
            Self::LocalCluster { workers, slots, memory } => {
                write!(f, "local-cluster[{workers},{slots},{}]", exact(*memory))
            }
            Self::Cluster { addresses } => write!(f, "gnist://{}", addresses.join(",")),
        }
    }
}

/// The size in its largest unit that shows it exactly.
fn exact(size: ByteSize) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fits = |shift: u32| size.0 != 0 && size.0.trailing_zeros() >= shift;
    match UNITS.iter().find(|(_, shift)| fits(*shift)) {
        Some((unit, shift)) => format!("{}{unit}", size.0 >> shift),
        None => format!("{}B", size.0),
    }
}

/// Text that is not a master URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad master URL `{url}`: {reason}")]
pub struct ParseMasterError {
    /// The text that was typed.
    pub url: String,
    /// The reason why it is no master URL.
    pub reason: String,
}

impl FromStr for MasterUrl {
    type Err = ParseMasterError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        parse(url.trim()).map_err(|reason| ParseMasterError { url: url.to_owned(), reason })
    }
}

fn parse(url: &str) -> Result<MasterUrl, String> {
    if let Some(addresses) = url.strip_prefix("gnist://") {
        let addresses: Result<_, _> = addresses.split(',').map(parse_address).collect();
        return addresses.map(|addresses| MasterUrl::Cluster { addresses });
    }
    if let Some(arguments) = arguments_of(url, "local-cluster")? {
        return parse_local_cluster(arguments);
    }
    if let Some(slots) = arguments_of(url, "local")? {
        let slots = if slots == "*" { None } else { Some(parse_slots(slots)?) };
        return Ok(MasterUrl::Local { slots });
    }
    match url {
        "local" => Ok(MasterUrl::Local { slots: Some(NonZeroU32::MIN) }),
        "local-cluster" => {
            Err("it needs workers, slots and memory: `local-cluster[2,1,2GiB]`".into())
        }
        _ => Err("expected `local`, `local[N]`, `local[*]`, `local-cluster[W,S,MEM]` or \
                  `gnist://HOST:PORT`"
            .into()),
    }
}

/// Returns the text between the brackets of `name[...]`; none when the URL is not of that form.
fn arguments_of<'a>(url: &'a str, name: &str) -> Result<Option<&'a str>, String> {
    let Some(rest) = url.strip_prefix(name).and_then(|rest| rest.strip_prefix('[')) else {
        return Ok(None);
    };
    rest.strip_suffix(']').map(Some).ok_or_else(|| "the closing `]` is missing".into())
}

fn parse_local_cluster(arguments: &str) -> Result<MasterUrl, String> {
    let parts: Vec<&str> = arguments.split(',').map(str::trim).collect();
    let [workers, slots, memory] = parts[..] else {
        return Err("it needs workers, slots and memory: `local-cluster[2,1,2GiB]`".into());
    };
    Ok(MasterUrl::LocalCluster {
        workers: parse_count(workers, "workers")?,
        slots: parse_slots(slots)?,
        memory: parse_memory(memory)?,
    })
}

/// A number of slots of one process, from 1 to [`SLOTS_MAX`].
///
/// # Errors
/// The reason why it is not one.
pub fn parse_slots(text: &str) -> Result<NonZeroU32, String> {
    let slots = parse_count(text, "slots")?;
    if slots.get() > SLOTS_MAX {
        return Err(format!("{slots} slots are more than the {SLOTS_MAX} of one process"));
    }
    Ok(slots)
}

fn parse_count(text: &str, what: &str) -> Result<NonZeroU32, String> {
    text.trim().parse().map_err(|_| format!("`{text}` is not a number of {what}, 1 or more"))
}

/// A memory budget of one process, [`MEMORY_MIN`] or more.
///
/// # Errors
/// The reason why it is not one.
pub fn parse_memory(text: &str) -> Result<ByteSize, String> {
    let memory: ByteSize = text.parse().map_err(|error| format!("{error}"))?;
    if memory < MEMORY_MIN {
        return Err(format!("{memory} of memory are less than the {MEMORY_MIN} of one process"));
    }
    Ok(memory)
}

fn parse_address(address: &str) -> Result<String, String> {
    let wrong = || format!("`{address}` is not `HOST:PORT`");
    let (host, port) = address.trim().rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let bad_host = host.is_empty()
        || host.contains(['/', '@', ' '])
        || (host.contains(':') && !(host.starts_with('[') && host.ends_with(']')));
    if bad_host || port == 0 { Err(wrong()) } else { Ok(format!("{host}:{port}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).expect("above zero")
    }

    #[test]
    fn every_form_parses_and_is_shown_again() {
        let local_cluster = MasterUrl::LocalCluster {
            workers: count(2),
            slots: count(1),
            memory: ByteSize::gib(6),
        };
        let addresses = vec!["a.b:7077".to_owned(), "[::1]:7078".to_owned()];
        for (url, expected) in [
            ("local[4]", MasterUrl::Local { slots: Some(count(4)) }),
            ("local[*]", MasterUrl::LOCAL_ALL),
            ("local-cluster[2,1,6GiB]", local_cluster),
            ("gnist://a.b:7077,[::1]:7078", MasterUrl::Cluster { addresses }),
        ] {
            assert_eq!(url.parse(), Ok(expected.clone()), "{url}");
            assert_eq!(expected.to_string(), url);
        }
        assert_eq!("local".parse(), Ok(MasterUrl::Local { slots: Some(count(1)) }));
        assert_eq!(
            "local-cluster[2, 1, 512m]".parse::<MasterUrl>().expect("spaces").to_string(),
            "local-cluster[2,1,512MiB]"
        );
    }

    #[test]
    fn bad_urls_say_what_is_wrong() {
        for (url, reason) in [
            ("local[0]", "`0` is not a number of slots, 1 or more"),
            ("local[x]", "`x` is not a number of slots"),
            ("local[1000000]", "1000000 slots are more than the 4096 of one process"),
            ("local-cluster[1,5000,1GiB]", "5000 slots are more than the 4096 of one process"),
            ("local[2", "the closing `]` is missing"),
            ("local-cluster[0,1,1g]", "`0` is not a number of workers"),
            ("local-cluster[2,0,1g]", "`0` is not a number of slots"),
            ("local-cluster[2,1]", "it needs workers, slots and memory"),
            ("local-cluster[2,1,much]", "`much` is not a size"),
            ("local-cluster[2,1,0]", "0 B of memory are less than the 16.0 MiB of one process"),
            ("local-cluster[2,1,1KiB]", "1.0 KiB of memory are less than the 16.0 MiB"),
            ("local-cluster", "it needs workers, slots and memory"),
            ("gnist://", "`` is not `HOST:PORT`"),
            ("gnist://host", "`host` is not `HOST:PORT`"),
            ("gnist://host:0", "`host:0` is not `HOST:PORT`"),
            ("gnist://host:99999", "is not `HOST:PORT`"),
            ("spark://host:7077", "expected `local`"),
            ("", "expected `local`"),
        ] {
            let error = url.parse::<MasterUrl>().expect_err(url).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
