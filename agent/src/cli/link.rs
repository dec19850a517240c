//! `netspan link`: parents for spans from elsewhere.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;

use super::flags::{CommonFlags, LinkFlags};
use crate::link::offline::Linked;

/// Arguments of `netspan link`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spans: JSON objects, one to a line; gzip is recognised
    #[arg(
        long,
        value_name = "FILE",
        long_help = "The spans: JSON objects, one to a line; gzip is recognised.\n\n\
                     Each has span_id, kind (server or client), service, process (calls are linked within one), name, start_ns, \
                     end_ns, and may have peer_span_id (the other end of the same exchange) and thread. They are put out with \
                     parent_span_id, link_method and link_confidence."
    )]
    pub spans: PathBuf,
    /// Flags of every command.
    #[command(flatten)]
    pub common: CommonFlags,
    /// Links.
    #[command(flatten)]
    pub link: LinkFlags,
}

/// The same spans get the same links.
const SEED: u64 = 1;

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = super::prepare(&args.common, &[&args.link])?;
    let text = read(&args.spans).with_context(|| format!("{}", args.spans.display()))?;
    let linked = Linked::new(&text, options.min_confidence, SEED);
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    match linked.write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error).context("standard output"),
        _ => {}
    }
    let told: Vec<String> = linked
        .counts
        .named()
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    eprintln!("{}", told.join(", "));
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut text)).context("can't be read")?;
    if text.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(&text[..]).read_to_end(&mut unpacked).context("is no whole gzip file")?;
        text = unpacked;
    }
    Ok(text)
}
