//! Command line.
fn main() {
    println!("{}", serde_saphyr::to_string(&client_certificate_operator::api::crd()).unwrap_or_default());
}
