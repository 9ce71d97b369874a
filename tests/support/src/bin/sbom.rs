//! Removes the components that are not in the program from a bill of materials: `sbom BILL TREE NAME=VERSION=LICENCE...
//! >BILL`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use operator_testing::sbom::{Other, reduce};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bill, tree, others @ ..] = &arguments[..] else { bail!("usage: sbom BILL TREE NAME=VERSION=LICENCE...") };
    let read = |name: &str| std::fs::read_to_string(Path::new(name)).with_context(|| format!("cannot read {name}"));
    let mut bom = serde_json::from_str(&read(bill)?).with_context(|| format!("{bill} is not JSON"))?;
    let others: Vec<Other> = others.iter().map(|other| parse(other)).collect::<Result<_>>()?;
    reduce(&mut bom, &read(tree)?, &others)?;
    println!("{}", serde_json::to_string_pretty(&bom)?);
    Ok(())
}

fn parse(argument: &str) -> Result<Other> {
    let parts: Vec<&str> = argument.split('=').collect();
    let [name, version, licence] = parts[..] else { bail!("{argument} is not NAME=VERSION=LICENCE") };
    Ok(Other { name: name.to_owned(), version: version.to_owned(), licence: licence.to_owned() })
}
