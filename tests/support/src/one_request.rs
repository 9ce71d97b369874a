//! One HTTP request over a new connection, without a pool, so that no other traffic occurs.

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Sends a request over a new connection. The body of the response is streamed, and the connection ends with the body.
pub(crate) async fn send<S, B>(connection: S, request: Request<B>) -> Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

/// GETs a path of a plain HTTP server. Returns the status and the text.
pub(crate) async fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let response = get_as(address, path, "*/*").await?;
    Ok((response.status().as_u16(), response.into_body()))
}

/// GETs a path with this Accept header.
pub(crate) async fn get_as(address: &str, path: &str, accept: &str) -> Result<Response<String>> {
    let connection = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    let request = Request::get(path).header(HOST, address).header(ACCEPT, accept).body(Empty::<Bytes>::new())?;
    let (head, body) = send(connection, request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Response::from_parts(head, String::from_utf8_lossy(&body).into_owned()))
}
