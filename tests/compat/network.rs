//! A network of its own: two namespaces joined by a line that loses packets or is cut, each also joined to this machine by a quiet one, over
//! which a test asks and watches. Needs root, `ip` and `nft`, which `tests/support/prepare.sh` installs.
//!
//! Loss is made by nftables (`numgen random`) at both ends of the line, for not every kernel has netem; a cut drops everything silently, as a
//! broken radio or a pulled cable far away does.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// One end: a namespace.
#[derive(Debug)]
pub struct End {
    name: String,
    /// Its address on the line.
    pub on_line: String,
    /// Its address for the test.
    pub quiet: String,
}

/// Both ends; removed when dropped.
#[derive(Debug)]
pub struct Network {
    pub left: End,
    pub right: End,
}

impl Network {
    pub fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "tests in network namespaces need root");
        let number = NEXT.fetch_add(1, Relaxed);
        let process = std::process::id();
        // Names of interfaces have at most 15 characters.
        let id = format!("{:x}{number:x}", process % 0xf_ffff);
        let net = format!("10.{}.{}", 64 + process % 128, number % 250);
        let end = |side: char, at: u32| End {
            name: format!("vt{id}{side}"),
            on_line: format!("{net}.{}", 128 + at),
            quiet: format!("{net}.{}", 4 * at + 2),
        };
        let network = Self { left: end('l', 1), right: end('r', 2) };
        for (at, end) in [(1, &network.left), (2, &network.right)] {
            let (name, quiet) = (&end.name, format!("q{}", end.name));
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
            ip(&["link", "add", &quiet, "type", "veth", "peer", "name", "quiet", "netns", name]);
            ip(&["addr", "add", &format!("{net}.{}/30", 4 * at + 1), "dev", &quiet]);
            ip(&["link", "set", &quiet, "up"]);
            ip(&["-n", name, "addr", "add", &format!("{}/30", end.quiet), "dev", "quiet"]);
            ip(&["-n", name, "link", "set", "quiet", "up"]);
        }
        let (left, right) = (&network.left, &network.right);
        ip(&["-n", &left.name, "link", "add", "line", "type", "veth", "peer", "name", "line", "netns", &right.name]);
        for end in [left, right] {
            ip(&["-n", &end.name, "addr", "add", &format!("{}/25", end.on_line), "dev", "line"]);
            ip(&["-n", &end.name, "link", "set", "line", "up"]);
            end.filter("add table inet line; add chain inet line in { type filter hook input priority 0; }");
        }
        network
    }

    /// Loses so many percent of the packets in each direction.
    pub fn lose(&self, percent: u32) {
        self.rule(&format!("numgen random mod 100 < {percent} counter drop"));
    }

    /// Cuts the line.
    pub fn cut(&self) {
        self.rule("counter drop");
    }

    /// Makes the line whole.
    pub fn mend(&self) {
        for end in [&self.left, &self.right] {
            end.filter("flush chain inet line in");
        }
    }

    /// Packets that were lost since the last change, both directions.
    pub fn lost(&self) -> u64 {
        [&self.left, &self.right].iter().map(|end| end.dropped()).sum()
    }

    fn rule(&self, what: &str) {
        for end in [&self.left, &self.right] {
            end.filter(&format!("flush chain inet line in; add rule inet line in iifname line {what}"));
        }
    }
}

impl End {
    /// The words that run a program there.
    pub fn exec(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    fn filter(&self, commands: &str) {
        let [first, rest @ ..] = self.exec();
        done(Command::new(first).args(rest).args(["nft", commands]).output());
    }

    fn dropped(&self) -> u64 {
        let [first, rest @ ..] = self.exec();
        let listed = done(Command::new(first).args(rest).args(["nft", "list", "chain", "inet", "line", "in"]).output());
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let packets = text.split_once("counter packets ").and_then(|(_, rest)| rest.split(' ').next());
        packets.unwrap_or_else(|| panic!("no counter in {text}")).parse().unwrap()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for end in [&self.left, &self.right] {
            // With a namespace go its interfaces and their other ends.
            drop(Command::new("ip").args(["netns", "del", &end.name]).output());
        }
    }
}

fn ip(arguments: &[&str]) {
    done(Command::new("ip").args(arguments).output());
}

fn done(output: std::io::Result<Output>) -> Output {
    let output = output.unwrap_or_else(|error| panic!("ip and nft are needed; run tests/support/prepare.sh: {error}"));
    assert!(output.status.success(), "{output:?}");
    output
}
