//! The list of Debian packages, by what needs them: data only. `apt` installs them.

use crate::command::succeeds;

/// A kind of work that needs packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Building the BPF programs.
    Probes,
    /// Checking the source.
    Tests,
    /// The real servers and clients of demo, tests and benchmarks.
    Lab,
    /// A browser and Node, for the web UI.
    Web,
    /// Virtual machines.
    Machines,
}

impl Need {
    /// As messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Probes => "the BPF programs",
            Self::Tests => "the tests",
            Self::Lab => "real servers and clients",
            Self::Web => "the web UI",
            Self::Machines => "virtual machines",
        }
    }
}

/// What makes a package unnecessary though it is not installed.
#[derive(Clone, Copy, Debug)]
enum Unless {
    /// Nothing does.
    Never,
    /// This command succeeds: the program came from elsewhere.
    Runs(&'static str, &'static [&'static str]),
    /// A toolchain has the source of `core`, so Debian's compiler is not needed.
    SourceOfCore,
}

use Need::{Lab, Machines, Probes, Tests, Web};
use Unless::{Never, Runs, SourceOfCore};

/// The packages, by their names in Debian 12.
const PACKAGES: &[(Need, &str, Unless)] = &[
    (Probes, "rustc-web", SourceOfCore),
    (Probes, "libstd-rust-web-dev-bpf", SourceOfCore),
    (Tests, "rust-web-clippy", SourceOfCore),
    (Lab, "nginx-light", Runs("/usr/sbin/nginx", &["-v"])),
    (Lab, "haproxy", Runs("/usr/sbin/haproxy", &["-v"])),
    (Lab, "apache2", Never),
    (Lab, "apache2-utils", Never),
    (Lab, "wrk", Runs("wrk", &["--help"])),
    (Lab, "redis-server", Runs("redis-server", &["--version"])),
    (Lab, "curl", Runs("curl", &["--version"])),
    (Lab, "wget", Runs("wget", &["--version"])),
    (Lab, "gnutls-bin", Runs("gnutls-cli", &["--version"])),
    (Lab, "nghttp2-client", Runs("h2load", &["--version"])),
    (Lab, "nghttp2-server", Runs("nghttpd", &["--version"])),
    (Lab, "iproute2", Never),
    (Lab, "nftables", Never),
    (Lab, "golang-go", Runs("go", &["version"])),
    (Lab, "default-jdk-headless", Runs("javac", &["-version"])),
    (Lab, "nodejs", Runs("node", &["--version"])),
    (Lab, "npm", Runs("npm", &["--version"])),
    // The tests of the deployment.
    (Lab, "libcap2-bin", Runs("/usr/sbin/capsh", &["--print"])),
    (Lab, "systemd", Runs("systemd-analyze", &["--version"])),
    (Lab, "binutils", Runs("strip", &["--version"])),
    (Lab, "bpftool", Runs("bpftool", &["version"])),
    // What rotel's receiver, a program with Python inside, is linked with.
    (Lab, "libpython3-dev", Never),
    (Lab, "python3-venv", Runs("python3", &["-c", "import venv, ensurepip"])),
    (Web, "chromium", Never),
    (Web, "nodejs", Runs("node", &["--version"])),
    (Web, "npm", Runs("npm", &["--version"])),
    // For `promtool`, which checks what Prometheus would read.
    (Web, "prometheus", Runs("promtool", &["--version"])),
    (Machines, "qemu-system-x86", Never),
    (Machines, "qemu-system-common", Never),
    (Machines, "busybox-static", Never),
    (Machines, "iproute2", Never),
    (Machines, "kmod", Never),
    (Machines, "xz-utils", Never),
    (Machines, "zstd", Never),
];

/// Units that some of these packages bring, which must not run on the machine because of us.
pub const SERVICES: &[(&str, &str)] = &[
    ("nginx-light", "nginx.service"),
    ("haproxy", "haproxy.service"),
    ("apache2", "apache2.service"),
    ("redis-server", "redis-server.service"),
    ("prometheus", "prometheus.service"),
    ("nftables", "nftables.service"),
];

/// The packages that some kinds of work need here. `source_of_core`: a toolchain has it.
pub fn wanted(needs: &[Need], source_of_core: bool) -> Vec<&'static str> {
    let mut names = Vec::new();
    for (need, name, unless) in PACKAGES {
        let unnecessary = || match unless {
            Never => false,
            Runs(program, arguments) => succeeds(program, arguments),
            SourceOfCore => source_of_core,
        };
        if needs.contains(need) && !names.contains(name) && !unnecessary() {
            names.push(*name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toolchain_with_the_source_of_core_needs_no_compiler_of_debian() {
        assert_eq!(wanted(&[Probes], false), ["rustc-web", "libstd-rust-web-dev-bpf"]);
        assert!(wanted(&[Probes], true).is_empty());
    }

    #[test]
    fn a_package_that_two_kinds_of_work_need_is_wanted_once() {
        let names = wanted(&[Lab, Machines], false);
        assert_eq!(names.iter().filter(|name| **name == "iproute2").count(), 1);
    }
}
