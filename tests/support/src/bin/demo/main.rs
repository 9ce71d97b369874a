//! The demo: the operator on a real control plane, step by step. Every step checks its own claim.

mod backend;
mod stage;
mod story;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use self::stage::Stage;
use self::world::World;

/// Shows the operator at work on a real Kubernetes control plane and an emulator of API Gateway.
///
/// Needs openssl, curl and nginx. The demo uses no cluster and no AWS account of yours, and deletes all its data at the
/// end.
#[derive(Parser)]
struct Options {
    /// The operator's binary [default: the one beside this program]
    #[arg(long)]
    operator: Option<PathBuf>,
    /// Keep everything running after the last step, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let stage = Stage::new();
    let result = tokio::select! {
        result = perform(&options, &stage) => result,
        // The started programs end with this process.
        () = interrupted() => return ExitCode::from(130),
    };
    let ended = async {
        let world = result?;
        if options.keep {
            world.keep(&stage);
            interrupted().await;
        }
        world.stop(&stage).await
    };
    match ended.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            stage.failed(&error);
            ExitCode::FAILURE
        }
    }
}

/// Starts everything and runs the steps.
async fn perform(options: &Options, stage: &Stage) -> Result<World> {
    let operator = match &options.operator {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("client-certificate-operator"),
    };
    let operator = operator.canonicalize().with_context(|| {
        format!("there is no operator at {}: build the operator, or set --operator to its path", operator.display())
    })?;
    let mut world = World::start(stage, &operator).await?;
    let result = story::run(stage, &mut world).await;
    if result.is_err() {
        stage.log("the operator's log", &world.operator_log());
    }
    result.map(|()| world)
}

async fn interrupted() {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else { return std::future::pending().await };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
