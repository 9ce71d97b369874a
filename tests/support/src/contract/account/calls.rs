//! A call of the SDK: in the budget, again where AWS throttles it, and its refusal as AWS words it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_sdk_apigateway::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use tokio::time::Instant;

use super::PATIENCE;
use super::budget::Budget;

/// Why a call did nothing.
#[derive(Debug)]
pub(super) struct Refused {
    operation: &'static str,
    pub(super) status: Option<u16>,
    /// The error code of AWS.
    pub(super) code: Option<String>,
    said: String,
}

impl Refused {
    /// The status and the words of an answer, for a table.
    pub(super) fn said(&self) -> String {
        self.status.map_or_else(|| self.said.clone(), |status| format!("{status} {}", self.said))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.said())
    }
}

impl Error for Refused {}

/// Makes a call. Throttling and concurrent modification have changed nothing, so it is made again.
pub(super) async fn call<T, E>(
    budget: &Budget,
    operation: &'static str,
    send: impl AsyncFn() -> Result<T, SdkError<E>>,
) -> Result<T, Refused>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let begun = Instant::now();
    let mut pause = Duration::from_secs(1);
    loop {
        budget.take().await;
        // The SDK's futures are large, and unoptimised ones together are larger than a stack.
        let error = match Box::pin(send()).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let response = error.raw_response();
        let status = response.map(|response| response.status().as_u16());
        let after = response.and_then(|response| response.headers().get("retry-after")?.parse().ok());
        let service = error.as_service_error();
        let code = service.and_then(|error| error.code()).map(str::to_owned);
        let said = match &code {
            Some(code) => format!("{code}: {}", service.and_then(|error| error.message()).unwrap_or("no message")),
            None => DisplayErrorContext(&error).to_string(),
        };
        // ACM throttles with status 400.
        let is_throttled = status == Some(429) || code.as_deref() == Some("ThrottlingException");
        let is_passing = is_throttled || said.contains("concurrent modification");
        if !is_passing || begun.elapsed() > PATIENCE {
            return Err(Refused { operation, status, code, said });
        }
        tokio::time::sleep(after.map_or(pause, Duration::from_secs)).await;
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}
