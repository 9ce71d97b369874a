//! Sends one request to a running operator, because the image has neither a shell nor curl.

use anyhow::{Context, bail, ensure};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::config::ProbeArgs;

/// The longest part of a response that is printed, in bytes.
const SHOWN: usize = 64 * 1024;

/// Sends one request. A response other than 200, or no response, is an error.
#[tokio::main(flavor = "current_thread")]
pub async fn run(args: &ProbeArgs) -> anyhow::Result<()> {
    let ProbeArgs { url, timeout } = args;
    ensure!(url.scheme_str() == Some("http"), "--url must be a URL of the form http://host:port/path, not {url}");
    match tokio::time::timeout(*timeout, ask(url.clone())).await {
        Ok(Ok((200, text))) => {
            print!("{text}");
            Ok(())
        }
        Ok(Ok((code, text))) => bail!("{url} responded with {code}: {}", text.trim_end()),
        Ok(Err(error)) => Err(error.context(format!("no response from {url}"))),
        Err(_) => bail!("no response from {url} within {timeout:?}"),
    }
}

async fn ask(url: http::Uri) -> anyhow::Result<(u16, String)> {
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.get(url).await?;
    let code = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), SHOWN).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!(error)).context("the response cannot be read")?;
    Ok((code, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}
