//! Output of tests that pass.

use std::io::Write;

/// Prints a line also if the test passes: the test harness then hides the output of `println!` and `eprintln!`.
pub fn show(line: &str) {
    let mut shown = std::io::stderr();
    writeln!(shown, "{line}").unwrap();
}
