//! Serves a name and TLS in front of a plain server, like API Gateway's endpoint, for the test that an image resolves
//! names and trusts CAs.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use hickory_proto::op::{Message, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// Serves a name by DNS, and forwards TLS connections for this name to a server, until interrupted. Prints the URL when both listen.
#[derive(Parser)]
struct Arguments {
    /// Address to listen on, to which the name resolves; TLS uses a free port
    #[arg(long)]
    listen: IpAddr,
    /// Port of DNS; a pod uses only port 53
    #[arg(long, default_value_t = 53)]
    dns_port: u16,
    /// The name
    #[arg(long)]
    name: String,
    /// More names, each line an address and a name, as in /etc/hosts; read again for every query
    #[arg(long)]
    hosts: Option<PathBuf>,
    /// Address to which requests are forwarded as plain HTTP
    #[arg(long)]
    to: SocketAddr,
    /// File for the certificate of the CA that issued the server's certificate
    #[arg(long)]
    ca: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { listen, dns_port, name, hosts, to, ca } = Arguments::parse();
    let acceptor = acceptor(&name, &ca)?;
    let dns =
        UdpSocket::bind((listen, dns_port)).await.context("cannot listen on the DNS port: port 53 requires root")?;
    let tls = TcpListener::bind((listen, 0)).await?;
    println!("https://{name}:{}", tls.local_addr()?.port());
    tokio::select! {
        served = serve_names(dns, Names { own: (name, listen), hosts }) => served,
        served = serve_tls(tls, acceptor, to) => served,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

fn acceptor(name: &str, ca_file: &PathBuf) -> Result<TlsAcceptor> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    std::fs::write(ca_file, ca.self_signed(&ca_key)?.pem())?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([name.to_owned()])?.signed_by(&key, &Issuer::new(ca, ca_key))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth();
    Ok(TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate.der().clone()], key)?)))
}

async fn serve_tls(listener: TcpListener, acceptor: TlsAcceptor, to: SocketAddr) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let mut inside = acceptor.accept(stream).await?;
            let mut behind = TcpStream::connect(to).await?;
            tokio::io::copy_bidirectional(&mut inside, &mut behind).await
        });
    }
}

/// The known names.
struct Names {
    own: (String, IpAddr),
    hosts: Option<PathBuf>,
}

impl Names {
    fn address_of(&self, asked: &Name) -> Option<IpAddr> {
        let asked = asked.to_lowercase().to_utf8();
        let asked = asked.trim_end_matches('.');
        if asked == self.own.0 {
            return Some(self.own.1);
        }
        let hosts = std::fs::read_to_string(self.hosts.as_ref()?).ok()?;
        hosts.lines().filter_map(|line| line.split_once(' ')).find(|(_, name)| *name == asked)?.0.parse().ok()
    }
}

async fn serve_names(socket: UdpSocket, names: Names) -> Result<()> {
    let mut packet = [0; 1232];
    loop {
        let (length, asker) = socket.recv_from(&mut packet).await?;
        if let Ok(question) = Message::from_vec(&packet[..length]) {
            socket.send_to(&answer(&question, &names).to_vec()?, asker).await?;
        }
    }
}

/// The response to a DNS query: the address of a known name, without records of other types, and no record for other
/// names.
fn answer(question: &Message, names: &Names) -> Message {
    let mut metadata = Metadata::new(question.metadata.id, MessageType::Response, OpCode::Query);
    metadata.recursion_desired = question.metadata.recursion_desired;
    metadata.recursion_available = true;
    let mut answer = Message::new(metadata.id, MessageType::Response, OpCode::Query);
    for query in &question.queries {
        answer.add_query(query.clone());
        let Some(address) = names.address_of(query.name()) else {
            metadata.response_code = ResponseCode::NXDomain;
            continue;
        };
        let data = match (query.query_type(), address) {
            (RecordType::A, IpAddr::V4(address)) => Some(RData::A(A(address))),
            (RecordType::AAAA, IpAddr::V6(address)) => Some(RData::AAAA(AAAA(address))),
            _ => None,
        };
        if let Some(data) = data {
            answer.add_answer(Record::from_rdata(query.name().clone(), 5, data));
        }
    }
    answer.metadata = metadata;
    answer
}
