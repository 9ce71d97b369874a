//! The contract with a real account: `make contract-aws`. It asks before it makes anything, tags what it makes, stays in its
//! budget, and deletes everything in the end, also after a failure.

mod budget;
mod calls;
mod imports;
mod questions;
mod world;

use std::future::Future;
use std::io::{BufRead, Write};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use client_certificate_operator::aws::gateway::Gateway;
use futures::FutureExt;

use self::world::AccountWorld;
use super as contract;

/// The tag of everything that a run makes. Its value is the run's own.
pub const TAG: &str = "client-certificate-operator/contract";
/// The highest number of certificates that a run has at a time, in API Gateway and in ACM each.
const CERTIFICATES: usize = 2;

/// How a run goes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Goes on without asking.
    pub yes: bool,
    /// The most calls a second.
    pub rate: f64,
}

/// Runs the contract against the account of the AWS environment. `answers` is the terminal, where there is one. Answers whether
/// every case passed and everything was deleted; an error, where the run did not begin.
pub async fn run(options: &Options, answers: Option<impl BufRead>, out: &mut impl Write) -> Result<bool> {
    let world = AccountWorld::new(options.rate).await?;
    let account = world.gateway.own_account().await.context("cannot find the account of the credentials")?;
    let region = contract::World::region(&world);
    writeln!(
        out,
        "The contract of client certificates, stages and ACM certificates, in account {account}, region {region}.\n"
    )?;
    writeln!(
        out,
        "This run creates client certificates, at most {CERTIFICATES} at a time, and one REST API with a mock method, a deployment and\n\
         a few stages. The run imports certificates of its own CA into ACM, at most {CERTIFICATES} at a time and about 20 of the 5,000\n\
         imports per year that ACM allows, and a stage presents these certificates. The run tags everything with\n\
         {TAG}={run}, deletes everything at the end, and changes nothing else. It makes\n\
         at most {rate} calls per second, of the account's 10, for about a minute.\n",
        run = world.run,
        rate = options.rate,
    )?;
    if !options.yes {
        agree(answers, out)?;
    }
    world.look_around().await?;
    let outcome = tokio::select! {
        outcome = Box::pin(perform(&world, out)) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    // Whatever came before.
    let left = world.delete_all().await;
    for left in &left {
        writeln!(out, "NOT DELETED: {left}")?;
    }
    if left.is_empty() {
        writeln!(out, "The run deleted everything that it created. It made {} calls.", world.budget.calls())?;
    }
    Ok(outcome? && left.is_empty())
}

/// Asks on the terminal.
fn agree(answers: Option<impl BufRead>, out: &mut impl Write) -> Result<()> {
    let Some(mut answers) = answers else {
        bail!("nothing was created: there is no terminal for the confirmation; --yes starts without a confirmation");
    };
    write!(out, "Continue? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    answers.read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => bail!("nothing was created"),
    }
}

macro_rules! cases {
    ($world:ident, $out:ident, $($case:ident)*) => {{
        let mut failed = 0;
        $(failed += usize::from(!case(stringify!($case), $world, contract::$case($world), $out).await?);)*
        failed
    }};
}

/// The cases, then the questions.
async fn perform(world: &AccountWorld, out: &mut impl Write) -> Result<bool> {
    writeln!(out, "Cases:")?;
    // A case that fails says so in its own line.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let failed = async {
        anyhow::Ok(cases! {
            world, out,
            a_certificate_has_all_six_elements
            the_pem_is_untouched
            a_missing_description_is_read_as_empty
            an_unknown_certificate_is_not_found
            a_description_is_set_and_echoed
            a_description_is_cleared
            descriptions_of_every_kind_survive
            the_list_and_a_read_return_the_same
            an_unknown_api_is_not_found
            the_stages_of_an_api_have_their_certificates
            stages_change_between_reads
            an_imported_certificate_has_its_chain
            a_re_import_keeps_the_arn
            acm_imports_nothing_that_it_cannot_use
            a_stage_presents_a_certificate_of_acm
        })
    };
    let failed = failed.await;
    std::panic::set_hook(usual);
    writeln!(out, "\nQuestions that the documentation does not answer:")?;
    Box::pin(questions::ask(world, out)).await?;
    Ok(failed? == 0)
}

/// Runs one case and prints what came of it. What it made is deleted at once, because the quota is 60 certificates.
async fn case(name: &str, world: &AccountWorld, case: impl Future<Output = ()>, out: &mut impl Write) -> Result<bool> {
    let outcome = AssertUnwindSafe(Box::pin(case)).catch_unwind().await;
    let said = match &outcome {
        Ok(()) => "passed".to_owned(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
            format!("FAILED: {}", text.split_whitespace().collect::<Vec<_>>().join(" "))
        }
    };
    row(out, &name.replace('_', " "), &said)?;
    world.delete_certificates().await;
    Ok(outcome.is_ok())
}

/// A line of a table.
fn row(out: &mut impl Write, what: &str, said: &str) -> Result<()> {
    writeln!(out, "  {what:<60} {said}")?;
    out.flush()?;
    Ok(())
}

/// How long a call is repeated that AWS throttles.
const PATIENCE: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_yes_is_a_confirmation() {
        let asked = |answer: Option<&str>| {
            let mut out = Vec::new();
            let outcome = agree(answer.map(str::as_bytes), &mut out);
            (outcome.map_err(|error| error.to_string()), String::from_utf8(out).unwrap())
        };
        for answer in ["y\n", "Y\n", "yes\n"] {
            assert_eq!(asked(Some(answer)), (Ok(()), "Continue? [y/N] ".to_owned()));
        }
        for answer in ["", "\n", "n\n", "no\n", "yeah\n"] {
            assert_eq!(asked(Some(answer)).0, Err("nothing was created".to_owned()), "{answer:?}");
        }
        let (refused, said) = asked(None);
        assert!(refused.unwrap_err().contains("no terminal"));
        assert_eq!(said, "");
    }
}
