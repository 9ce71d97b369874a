//! The contract suite with a real account, for whoever owns one: `make contract-aws`.

use std::io::{IsTerminal, stdin, stdout};
use std::process::ExitCode;

use clap::Parser;
use operator_testing::contract::account::{Options, run};

/// Runs the contract suite against the account of the AWS environment, and tests behaviour of API Gateway that AWS does not document.
///
/// After a confirmation, the program creates client certificates and one REST API, and deletes them at the end. The program
/// reads credentials, region and endpoint from the standard AWS environment, and needs the actions POST, GET, PUT, PATCH and DELETE of apigateway.
#[derive(Parser)]
struct Arguments {
    /// Start without a confirmation
    #[arg(long)]
    yes: bool,
    /// Maximum number of calls per second; the account has 10
    #[arg(long, default_value_t = 5.0, value_parser = rate)]
    rate: f64,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().map_err(|error| format!("{error}"))?;
    if (0.1..=10.0).contains(&rate) { Ok(rate) } else { Err("expected a number from 0.1 to 10".to_owned()) }
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
