//! The emulator as a program, for the demo and for use by hand.

use std::net::SocketAddr;

use anyhow::Result;
use clap::Parser;
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::{AccessKey, DEFAULT_REGION, Emulator, Options, RateLimit};

/// Emulates the operations of Amazon API Gateway on client certificates and on stages that present them, and AssumeRole of AWS STS.
///
/// Prints its URL, which is the value for AWS_ENDPOINT_URL, and then the id of each certificate. The admin API is
/// unsigned HTTP below /_emulator, for example:
///
///   curl $URL/_emulator/certificates
///   curl -X POST $URL/_emulator/certificates -d '{"id":"abc123","expiresInSeconds":3600}'
///   curl -X POST $URL/_emulator/certificates/abc123/renew
///   curl -X POST $URL/_emulator/certificates/abc123/expire
///   curl -X DELETE $URL/_emulator/certificates/abc123
///   curl -X POST $URL/_emulator/certificates/abc123/restore
///   curl -X PUT $URL/_emulator/certificates/abc123/description -d 'set by hand'
///   curl -X PUT $URL/_emulator/certificates/abc123/pem -d 'garbage'
///   curl -X PUT $URL/_emulator/restapis/a1b2c3d4e5/stages/prod -d '{"clientCertificateId":"abc123"}'
///   curl -X DELETE $URL/_emulator/restapis/a1b2c3d4e5/stages/prod
///   curl $URL/_emulator/restapis
///   curl -X PUT $URL/_emulator/latency -d '{"milliseconds":20}'
///   curl -X POST $URL/_emulator/faults -d '{"kind":"error","status":429,"retryAfter":"2","times":3}'
///   curl -X DELETE $URL/_emulator/faults
///   curl $URL/_emulator/calls
///
/// Certificates have an account and a region: ?account=444455556666&region=eu-west-1. The default is those of the access key.
/// The access key belongs to arn:aws:iam::111122223333:user/home. This user can assume roles of any account:
///
///   ROLE=arn:aws:iam::444455556666:role/reader
///   curl $URL/_emulator/roles -d '{"arn":"'$ROLE'","externalId":"secret","sessionSeconds":3600,"mayTag":true}'
///   curl "$URL/_emulator/certificates?account=444455556666" -d '{"id":"def456"}'
///   curl $URL/_emulator/sessions
///   curl -X DELETE "$URL/_emulator/sessions?role=$ROLE"    # ends them
///   curl -X DELETE "$URL/_emulator/roles?role=$ROLE"
///   curl $URL/_emulator/deny -d '{"principal":"'$ROLE'","operation":"List"}'
///   curl $URL/_emulator/allow -d '{"principal":"'$ROLE'","operation":"List"}'
///
/// AWS allows an account 10 calls per second to API Gateway, with a burst of 40:
///
///   curl -X PUT $URL/_emulator/rate-limit                  # as AWS does; DELETE removes the limit
///   curl -X PUT "$URL/_emulator/rate-limit?account=444455556666" -d '{"rate":0,"burst":0,"retryAfter":"5"}'
#[derive(Parser)]
#[command(version, verbatim_doc_comment)]
struct Arguments {
    /// Address to listen on; port 0 selects a free port
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Access key id to accept
    #[arg(long, default_value = "AKIDEXAMPLE")]
    access_key_id: String,
    /// Secret of the access key
    #[arg(long, default_value = "example-secret")]
    secret_access_key: String,
    /// Session token that requests with the access key must have
    #[arg(long)]
    session_token: Option<String>,
    /// Region of the certificates that exist at the start
    #[arg(long, default_value = DEFAULT_REGION)]
    region: String,
    /// Number of certificates that exist at the start; if there are more than 20, they share one key
    #[arg(long, default_value_t = 1)]
    certificates: usize,
    /// Limit every account to 10 calls per second with a burst of 40, as AWS does
    #[arg(long)]
    rate_limit: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let emulator = Emulator::start_with(Options {
        listen: arguments.listen,
        access_keys: vec![AccessKey {
            id: arguments.access_key_id,
            secret: arguments.secret_access_key,
            session_token: arguments.session_token,
        }],
    })
    .await?;
    emulator.set_rate_limit(arguments.rate_limit.then(RateLimit::default));
    println!("{}", emulator.url());
    for _ in 0..arguments.certificates {
        let new = NewCertificate { shared_key: arguments.certificates > 20, ..NewCertificate::default() };
        println!("{}", emulator.generate(&arguments.region, new).id);
    }
    tokio::signal::ctrl_c().await?;
    emulator.stop().await;
    Ok(())
}
