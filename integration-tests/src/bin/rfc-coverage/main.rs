//! Writes `docs/rfc-coverage.md`: which test shows which requirement of the RFCs, or why none does.
//!
//! ```text
//! rfc-coverage --requirements DIR [--complete 9000,9001] [--check]
//! ```
//!
//! `DIR` holds the requirements, one file `rfcNNNN.tsv` per document, and those of drafts that are built. Tests name theirs in a line `// covers: R9000-2.1-01`.
//! Reasons are in `docs/rfc-coverage-reasons.tsv`. With `--check` nothing is written; the page has to be up to date, and the
//! documents after `--complete` must have a test or a reason for every MUST and MUST NOT.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people and for `.ci/run`")]

mod requirements;
mod scan;
mod table;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use table::Coverage;

const PAGE: &str = "docs/rfc-coverage.md";
const REASONS: &str = "docs/rfc-coverage-reasons.tsv";
const USAGE: &str = "usage: rfc-coverage --requirements DIR [--complete 9000,9001] [--check]";

#[derive(Default)]
struct Options {
    requirements: PathBuf,
    complete: Vec<String>,
    check: bool,
}

fn main() -> ExitCode {
    match options(env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(complaints) if complaints.is_empty() => ExitCode::SUCCESS,
        Ok(complaints) => {
            for complaint in &complaints {
                eprintln!("{complaint}");
            }
            eprintln!("rfc-coverage: {} complaints", complaints.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("rfc-coverage: {error}");
            ExitCode::from(2)
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(USAGE);
        match arg.as_str() {
            "--requirements" => options.requirements = value()?.into(),
            "--complete" => {
                options.complete = value()?.split(',').map(str::to_owned).collect();
            }
            "--check" => options.check = true,
            _ => return Err(USAGE.to_owned()),
        }
    }
    if options.requirements.as_os_str().is_empty() { Err(USAGE.to_owned()) } else { Ok(options) }
}

/// What is wrong with the tree, in lines; the page is written unless it is only to be checked.
fn run(options: &Options) -> Result<Vec<String>, String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace around this program")?;
    let requirements = requirements::read(&options.requirements)?;
    let reasons = requirements::reasons(&read(&top.join(REASONS))?)?;
    let (tests, mut complaints) = scan::tests(top)?;
    let coverage = Coverage::new(&requirements, tests, reasons);
    complaints.extend(coverage.complaints(&options.complete));

    let page = coverage.page();
    if !options.check {
        fs::write(top.join(PAGE), page).map_err(|error| format!("{PAGE}: {error}"))?;
    } else if read(&top.join(PAGE)).ok().as_deref() != Some(&page) {
        complaints.push(format!("{PAGE} is stale: run rfc-coverage without --check"));
    }
    println!("{}", coverage.summary());
    Ok(complaints)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
