//! The contract suite with a real account, for whoever owns one: `make contract-aws`.

use std::io::{IsTerminal, stdin, stdout};
use std::process::ExitCode;

use clap::Parser;
use operator_testing::contract::account::{Options, run};

/// Runs the contract suite against the account of the AWS environment, and asks API Gateway what no document answers.
///
/// Makes client certificates and one REST API, after having asked; deletes all of it in the end. Takes credentials, region
/// and endpoint from the standard AWS environment, and needs the actions POST, GET, PUT, PATCH and DELETE of apigateway.
#[derive(Parser)]
struct Arguments {
    /// Go on without asking
    #[arg(long)]
    yes: bool,
    /// The most calls a second, of the account's 10
    #[arg(long, default_value_t = 5.0, value_parser = rate)]
    rate: f64,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().map_err(|error| format!("{error}"))?;
    if (0.1..=10.0).contains(&rate) { Ok(rate) } else { Err("between 0.1 and 10".to_owned()) }
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { yes, rate } = Arguments::parse();
    let answers = stdin().is_terminal().then(|| stdin().lock());
    match run(&Options { yes, rate }, answers, &mut stdout()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
