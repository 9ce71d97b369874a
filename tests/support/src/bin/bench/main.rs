//! The benchmark: the speed and the memory of the operator, against floors that the same run measures.

mod bare;
mod burst;
mod chart;
mod fleet;
mod handover;
mod latency;
mod neighbours;
mod render;
mod report;
mod stages;
mod steady;
mod watching;
mod world;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};

use crate::report::Report;
use crate::world::World;

/// Measures the operator on a real control plane, against an emulated API Gateway.
///
/// Prints a table. A busy machine makes every figure worse, so only the ratios are comparable: each is to a floor that
/// was measured right before or after, in the same run.
#[derive(Parser)]
#[command(after_help = "\
Parts:
  latency     from the answer to the create of one resource, until its Secret is there and it is Ready
  throughput  many resources at once, until all are mirrored and Ready, against a bare client's time for the same writes
  neighbours  an account that is throttled to zero, and what another account's resources notice of it
  memory      resident memory with many resources, and what many large unrelated Secrets add to it
  handover    from the end of a leader until another leads, and from a start until the first target is there
  resync      processor time and requests of refreshes that find nothing changed, of 100 to very many resources
  stages      memory and calls of resources that follow stages, against as many that name certificates
  render      processor time of making the data of a target of 60 certificates
  fleet       very many resources over as many certificates: memory, calls and writes, also of a restarted operator

The operator has to be a release build, as this program itself:
  cargo build --release && cargo run --release -p operator-testing --bin bench")]
pub struct Options {
    /// The operator's binary [default: client-certificate-operator beside this program]
    #[arg(long, value_name = "PATH")]
    operator: Option<PathBuf>,
    /// A variable of the operator's environment, to compare settings; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE")]
    environment: Vec<String>,
    /// Parts to run, separated by commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "render,latency,throughput,neighbours,handover,memory,stages,resync,fleet"
    )]
    parts: Vec<Part>,
    /// File for an SVG of the figures that have a limit
    #[arg(long, value_name = "PATH")]
    chart: Option<PathBuf>,
    /// Latency of API Gateway, in milliseconds
    #[arg(long, default_value_t = 20, value_name = "MILLISECONDS")]
    gateway_latency: u64,
    /// Resources whose latency is measured, one after the other
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    samples: usize,
    /// Resources that are created at once
    #[arg(long, default_value_t = 1000, value_name = "COUNT")]
    resources: usize,
    /// Certificates of these resources, in turn; their number does not matter to the operator
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    certificates: usize,
    /// Resources of the fleet
    #[arg(long, default_value_t = 10_000, value_name = "COUNT")]
    fleet_resources: usize,
    /// Certificates of the fleet's resources, in turn: the default quota, and the worst case of one for each resource
    #[arg(long, value_delimiter = ',', default_value = "60,10000", value_name = "COUNT")]
    fleet_certificates: Vec<usize>,
    /// Time for which the fleet's refreshes are measured, in seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    fleet_window: u64,
    /// Refresh interval of the fleet meanwhile, in seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(30..))]
    fleet_interval: u64,
    /// Number of turns of the floor and the operator
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    pairs: usize,
    /// Resources that are reconciled, or written by the bare client, at the same time
    #[arg(long, default_value_t = 32, value_name = "COUNT")]
    concurrency: usize,
    /// Resources of an account while another account is throttled
    #[arg(long, default_value_t = 300, value_name = "COUNT")]
    neighbours: usize,
    /// Unrelated Secrets beside the resources
    #[arg(long, default_value_t = 2000, value_name = "COUNT")]
    secrets: usize,
    /// Size of each unrelated Secret, in bytes
    #[arg(long, default_value_t = 100_000, value_name = "BYTES")]
    secret_size: usize,
    /// Time for which refreshes are measured, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    window: u64,
}

/// The parts of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Render,
    Latency,
    Throughput,
    Neighbours,
    Handover,
    Memory,
    Stages,
    Resync,
    Fleet,
}

impl Options {
    fn runs(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    fn gateway_latency(&self) -> Duration {
        Duration::from_millis(self.gateway_latency)
    }

    fn environment(&self) -> Result<Vec<(String, String)>> {
        let split =
            |text: &String| Some(text.split_once('=')?).map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.environment.iter().map(|text| split(text).with_context(|| format!("{text} is not NAME=VALUE"))).collect()
    }

    fn operator(&self) -> Result<PathBuf> {
        let path = match &self.operator {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("client-certificate-operator"),
        };
        path.canonicalize()
            .with_context(|| format!("there is no operator at {}: build the operator first", path.display()))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let counts = [options.samples, options.resources, options.certificates, options.pairs];
    let mut counts_of_fleet = options.fleet_certificates.iter().chain([&options.fleet_resources]);
    ensure!(
        counts.iter().all(|count| *count > 0) && counts_of_fleet.all(|count| *count > 0),
        "each number must be at least 1"
    );
    ensure!(!options.fleet_certificates.is_empty(), "--fleet-certificates needs at least one number");
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures mean nothing");
    }
    let start = Instant::now();
    let mut report = Report::default();
    if options.runs(Part::Render) {
        eprintln!("render: a target of many certificates, repeatedly");
        render::measure(&mut report)?;
    }
    // The other parts need a control plane, which takes a while to start.
    if options.parts.iter().any(|part| *part != Part::Render) {
        on_a_control_plane(&options, &mut report).await?;
    }
    println!("{report}");
    if let Some(path) = &options.chart {
        std::fs::write(path, chart::svg(report.all_limited()))
            .with_context(|| format!("cannot write the chart to {}", path.display()))?;
    }
    eprintln!("took {:.0?}", start.elapsed());
    Ok(())
}

/// Runs the parts that measure a running operator.
async fn on_a_control_plane(options: &Options, report: &mut Report) -> Result<()> {
    eprintln!("starting the control plane and the emulator");
    let world = World::start(options).await?;
    if options.runs(Part::Latency) {
        eprintln!("latency: {} resources, one after the other", options.samples);
        latency::measure(&world, options, report).await?;
    }
    if options.runs(Part::Throughput) {
        eprintln!("throughput: {} resources at once, {} times each way", options.resources, options.pairs);
        burst::measure(&world, options, report).await?;
    }
    if options.runs(Part::Neighbours) {
        neighbours::measure(&world, options, report).await?;
    }
    if options.runs(Part::Handover) {
        eprintln!("hand-over: leaders that stop, and some that are killed, which takes the duration of the Lease each");
        handover::measure(&world, options, report).await?;
    }
    if options.runs(Part::Memory) || options.runs(Part::Resync) {
        steady::measure(&world, options, report).await?;
    }
    if options.runs(Part::Stages) {
        stages::measure(&world, options, report).await?;
    }
    if options.runs(Part::Fleet) {
        fleet::measure(&world, options, report).await?;
    }
    Ok(())
}
