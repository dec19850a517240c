//! Finds what can build the BPF crate. `xtask` and `agent/build.rs` both include this file, so it must
//! use the standard library and `anyhow` only, and it must not install anything: that is `cargo xtask setup`.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// The target that the programs are built for.
pub const TARGET: &str = "bpfel-unknown-none";
/// The package and the binary in it that are built.
pub const PACKAGE: &str = "netspan-ebpf";
/// The binary that holds every program.
pub const PROBES: &str = "netspan-probes";
/// The LLVM that `bpf-linker` 0.10.3 reads bitcode with; a compiler of another major version writes what it can't read.
pub const LLVM_MAJOR: &str = "22";
/// Where Debian's `rustc-web` puts the compiler that `libstd-rust-web-dev-bpf` holds `core` for.
pub const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// Where the BPF target's `core` comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// Built from the compiler's `rust-src` component.
    Source,
    /// Prebuilt beside the compiler (Debian's `libstd-rust-web-dev-bpf`).
    Prebuilt,
}

/// A compiler, a linker and an LLVM that together build the BPF crate.
#[derive(Debug)]
pub struct Toolchain {
    /// The compiler.
    pub rustc: PathBuf,
    /// The cargo that drives it.
    pub cargo: PathBuf,
    /// Where `core` comes from.
    pub core: Core,
    /// `bpf-linker`.
    pub linker: PathBuf,
    /// The LLVM library that `bpf-linker` loads.
    llvm: PathBuf,
    /// The workspace's root.
    root: PathBuf,
}

/// Finds how to build the BPF crate of the workspace at `root`: a toolchain with `rust-src`, else Debian's `rustc-web`,
/// and `bpf-linker` from `target/tools/bin` or from `PATH`.
///
/// # Errors
/// One line that names what is missing and the command that installs it.
pub fn find(root: &Path) -> Result<Toolchain> {
    let linker = find_linker(root).context("bpf-linker is missing; `cargo xtask setup` builds it")?;
    let mut refused = Vec::new();
    for (rustc, core) in candidates() {
        match examine(&rustc, core) {
            Ok(llvm) => {
                // A rustup toolchain brings its own cargo; Debian's compiler is driven by the cargo that runs us.
                let own = rustc.with_file_name("cargo");
                let cargo = if core == Core::Source && own.exists() { own } else { current_cargo() };
                return Ok(Toolchain { rustc, cargo, core, linker, llvm, root: root.to_owned() });
            }
            Err(error) => refused.push(format!("{}: {error:#}", rustc.display())),
        }
    }
    bail!(
        "no compiler here can build for {TARGET} ({}); `cargo xtask setup` installs one",
        if refused.is_empty() { "no rustc was found".to_owned() } else { refused.join("; ") }
    )
}

impl Toolchain {
    /// The environment under which this toolchain's cargo (or its clippy) works on the BPF crate with its artefacts in
    /// `target_dir`, which must not be the target directory of a cargo that waits for this one.
    ///
    /// # Errors
    /// When the directory that shows `bpf-linker` its LLVM can't be made.
    pub fn prepare(&self, command: &mut Command, target_dir: &Path) -> Result<()> {
        // What the outer cargo sets for its own compiler would reach this one.
        for (name, _) in env::vars_os() {
            let outer = ["RUSTFLAGS", "RUSTC", "CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_CFG_", "CARGO_FEATURE_"];
            if name.to_str().is_some_and(|name| outer.iter().any(|prefix| name.starts_with(prefix))) {
                command.env_remove(name);
            }
        }
        for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO_MAKEFLAGS", "MAKEFLAGS", "TARGET"] {
            command.env_remove(name);
        }
        let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_else(|_| env::consts::ARCH.to_owned());
        let flags = [format!("--cfg=bpf_target_arch=\"{arch}\""), "-Cdebuginfo=2".into(), "-Clink-arg=--btf".into()];
        command
            .current_dir(&self.root)
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", target_dir)
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
            .env("CARGO_PROFILE_RELEASE_LTO", "fat")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
            .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
            .env("LD_LIBRARY_PATH", self.llvm_dir(target_dir)?);
        Ok(())
    }

    /// The arguments that choose the BPF binary, its target and its profile, for `cargo build` and for `cargo clippy`.
    pub fn arguments(&self) -> Vec<&'static str> {
        let mut arguments =
            vec!["--package", PACKAGE, "--bin", PROBES, "--release", "--target", TARGET, "--ignore-rust-version"];
        if self.core == Core::Source {
            arguments.extend(["-Z", "build-std=core"]);
        }
        arguments
    }

    /// A directory that holds this LLVM alone: `bpf-linker` loads the first `libLLVM*` that it finds in
    /// `LD_LIBRARY_PATH`, and a system's library directory may hold several versions.
    fn llvm_dir(&self, target_dir: &Path) -> Result<OsString> {
        let dir = target_dir.join("llvm");
        let link = dir.join("libLLVM-of-rustc.so");
        if fs::read_link(&link).ok().as_deref() != Some(&self.llvm) {
            fs::create_dir_all(&dir).with_context(|| format!("can't create {}", dir.display()))?;
            // Made under another name first: another cargo may be using this directory.
            let new = dir.join(format!("new-{}", std::process::id()));
            symlink(&self.llvm, &new)
                .and_then(|()| fs::rename(&new, &link))
                .with_context(|| format!("can't link {} as {}", self.llvm.display(), link.display()))?;
        }
        Ok(dir.into())
    }
}

impl std::fmt::Display for Toolchain {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let core = match self.core {
            Core::Source => "core from rust-src",
            Core::Prebuilt => "core prebuilt",
        };
        write!(out, "{} with {core}, linked by {}", self.rustc.display(), self.linker.display())
    }
}

/// The cargo that runs this program, else the one on `PATH`.
pub fn current_cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// `bpf-linker` of this workspace, else of the `PATH`.
pub fn find_linker(root: &Path) -> Option<PathBuf> {
    let own = root.join("target/tools/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    std::iter::once(own).chain(env::split_paths(&path)).map(|dir| dir.join("bpf-linker")).find(|file| file.is_file())
}

/// Whether a toolchain here has the source of `core`, so that Debian's compiler is not needed.
pub fn has_source_of_core() -> bool {
    candidates().iter().any(|(rustc, core)| *core == Core::Source && examine(rustc, *core).is_ok())
}

/// Compilers worth a look, best first: the one in use, each of rustup's, then Debian's.
fn candidates() -> Vec<(PathBuf, Core)> {
    let mut sysroots = vec![];
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    sysroots.extend(output(Command::new(rustc).args(["--print", "sysroot"])).map(|line| PathBuf::from(line.trim())));
    let rustup = output(Command::new("rustup").args(["toolchain", "list", "--verbose"])).unwrap_or_default();
    sysroots.extend(rustup.lines().filter_map(|line| line.split_whitespace().last()).map(PathBuf::from));
    let with_source = |sysroot: &PathBuf| {
        // Debian's own compiler has its packages, of which clippy is one; it is the last candidate.
        sysroot != Path::new("/usr") && sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
    };
    sysroots
        .into_iter()
        .filter(with_source)
        .map(|sysroot| (sysroot.join("bin/rustc"), Core::Source))
        .chain(std::iter::once((DEBIAN_RUSTC.into(), Core::Prebuilt)))
        .collect()
}

/// Whether a compiler can serve; gives the LLVM library that belongs to it.
fn examine(rustc: &Path, core: Core) -> Result<PathBuf> {
    let version = output(Command::new(rustc).arg("-vV")).context("not there")?;
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: ")).unwrap_or("none");
    if llvm.split('.').next() != Some(LLVM_MAJOR) {
        bail!("its LLVM is {llvm}, bpf-linker needs {LLVM_MAJOR}");
    }
    let sysroot = output(Command::new(rustc).args(["--print", "sysroot"])).context("gives no sysroot")?;
    let lib = Path::new(sysroot.trim()).join("lib");
    if core == Core::Prebuilt {
        let prebuilt = lib.join("rustlib").join(TARGET).join("lib");
        let there = fs::read_dir(&prebuilt).is_ok_and(|mut files| files.any(|file| is_named(&file, "libcore-")));
        if !there {
            bail!("it has no core for {TARGET} (Debian: libstd-rust-web-dev-bpf)");
        }
    }
    // Debian's compiler links a library of the system, in the directory of the machine's kind.
    let system = lib.join(format!("{}-linux-gnu", env::consts::ARCH));
    [lib, system]
        .iter()
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flatten()
        .find(|file| is_named(file, &format!("libLLVM.so.{LLVM_MAJOR}")))
        .and_then(|file| Some(file.ok()?.path()))
        .with_context(|| format!("its libLLVM.so.{LLVM_MAJOR} was not found"))
}

fn is_named(file: &std::io::Result<fs::DirEntry>, prefix: &str) -> bool {
    file.as_ref().is_ok_and(|file| file.file_name().to_str().is_some_and(|name| name.starts_with(prefix)))
}

/// What a command printed, when it could be started and succeeded.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
