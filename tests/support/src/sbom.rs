//! A bill of materials with only the components that are compiled into the program.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// A component of the program that is not a crate, for example a C library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The licence, as an SPDX expression.
    pub licence: String,
}

/// Removes the components that are not in the program, also from the list of dependencies. `cargo cyclonedx` uses
/// `cargo metadata`, which distinguishes neither macros from libraries nor the features of one program from those of a
/// workspace. `tree` is the output of `cargo tree --edges normal,no-proc-macro --prefix none` for the program, which
/// does. References to folders of this machine become package URLs.
pub fn reduce(bom: &mut Value, tree: &str, others: &[Other]) -> Result<()> {
    let crates: BTreeSet<(&str, &str)> = tree.lines().filter_map(name_and_version).collect();
    let program = &bom["metadata"]["component"];
    let (name, version) = (text(&program["name"])?.to_owned(), text(&program["version"])?.to_owned());
    let reference = text(&program["bom-ref"])?.to_owned();
    let url = format!("pkg:cargo/{name}@{version}");
    bom["metadata"]["component"]["purl"] = json!(url);
    bom["metadata"]["component"]["bom-ref"] = json!(url);

    let components = bom["components"].as_array_mut().context("the bill has no components")?;
    components.retain(|one| is_in(one, &crates));
    let listed: BTreeSet<(&str, &str)> =
        components.iter().map(|one| Ok((text(&one["name"])?, text(&one["version"])?))).collect::<Result<_>>()?;
    let missing: Vec<_> = crates.difference(&listed).filter(|one| **one != (&name, &version)).collect();
    ensure!(missing.is_empty(), "the bill lacks {missing:?}");
    let kept: BTreeSet<String> =
        components.iter().map(|one| Ok(text(&one["bom-ref"])?.to_owned())).collect::<Result<_>>()?;

    let dependencies = bom["dependencies"].as_array_mut().context("the bill has no dependencies")?;
    dependencies
        .retain(|one| one["ref"] == reference.as_str() || one["ref"].as_str().is_some_and(|name| kept.contains(name)));
    for one in dependencies {
        if let Some(on) = one.get_mut("dependsOn").and_then(Value::as_array_mut) {
            on.retain(|name| name.as_str().is_some_and(|name| kept.contains(name)));
        }
        if one["ref"] == reference.as_str() {
            one["ref"] = json!(url);
            let on = one["dependsOn"].as_array_mut().context("the program depends on nothing")?;
            on.extend(others.iter().map(|other| json!(other.url())));
        }
    }
    let components = bom["components"].as_array_mut().context("the bill has no components")?;
    components.extend(others.iter().map(Other::component));
    Ok(())
}

impl Other {
    fn url(&self) -> String {
        format!("pkg:generic/{}@{}", self.name, self.version)
    }

    fn component(&self) -> Value {
        json!({
            "type": "library", "bom-ref": self.url(), "name": self.name, "version": self.version, "scope": "required",
            "licenses": [{ "expression": self.licence }], "purl": self.url(),
        })
    }
}

/// Reads a line such as `tokio v1.50.0`, with ` (/its/folder)` for a crate of the workspace.
fn name_and_version(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    Some((words.next()?, words.next()?.strip_prefix('v')?))
}

fn is_in(component: &Value, crates: &BTreeSet<(&str, &str)>) -> bool {
    let (name, version) = (component["name"].as_str(), component["version"].as_str());
    name.zip(version).is_some_and(|one| crates.contains(&one))
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("the bill has {value} where there should be a text"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const PROGRAM: &str = "path+file:///somewhere#program@0.1.0";

    fn bom() -> Value {
        let component = |name: &str| json!({ "name": name, "version": "1.0.0", "bom-ref": name });
        json!({
            "metadata": { "component": { "name": "program", "version": "0.1.0", "bom-ref": PROGRAM, "purl": "pkg:cargo/program@0.1.0?download_url=file://." } },
            "components": [component("used"), component("derive"), component("below")],
            "dependencies": [
                { "ref": PROGRAM, "dependsOn": ["used", "derive"] },
                { "ref": "used", "dependsOn": ["below", "derive"] },
                { "ref": "derive" },
                { "ref": "below" },
            ],
        })
    }

    const TREE: &str = "program v0.1.0 (/somewhere)\nused v1.0.0\nbelow v1.0.0\nbelow v1.0.0\n";

    #[test]
    fn parts_that_are_not_in_the_program_are_not_in_the_bill_of_materials() {
        let mut bom = bom();
        let libc =
            Other { name: "glibc".to_owned(), version: "2.41".to_owned(), licence: "LGPL-2.1-or-later".to_owned() };
        reduce(&mut bom, TREE, &[libc]).unwrap();
        let names: Vec<&str> =
            bom["components"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["used", "below", "glibc"]);
        assert_eq!(
            bom["dependencies"],
            json!([
                { "ref": "pkg:cargo/program@0.1.0", "dependsOn": ["used", "pkg:generic/glibc@2.41"] },
                { "ref": "used", "dependsOn": ["below"] },
                { "ref": "below" },
            ])
        );
        assert!(!bom.to_string().contains("file:"), "{bom}");
    }

    #[test]
    fn a_bill_of_materials_without_a_crate_is_refused() {
        let tree = format!("{TREE}used v2.0.0\n");
        let error = reduce(&mut bom(), &tree, &[]).unwrap_err().to_string();
        assert_eq!(error, r#"the bill lacks [("used", "2.0.0")]"#);
        assert!(reduce(&mut json!({}), TREE, &[]).is_err());
    }
}
