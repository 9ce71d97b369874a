//! The book and the other pages: every link leads to a page and a heading, every page is in the contents, and none is
//! too long. The tests do not parse the text of a page.

pub mod page;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use operator_testing::reference::{self, group};

use page::Page;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page of the project, by its path in the tree.
fn pages() -> Vec<PathBuf> {
    let files = group::files(root()).unwrap();
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    files.into_iter().filter(is_page).map(|path| path.strip_prefix(root()).unwrap().to_owned()).collect()
}

fn of_the_book() -> Vec<PathBuf> {
    pages().into_iter().filter(|path| path.starts_with("docs")).collect()
}

/// A path without `.` and `..`; `None` if it leaves the tree.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => normal.pop().then_some(())?,
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    Some(normal)
}

/// The fault of a link of a page; `None` if the link is valid or leads out of the project.
fn broken(from: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, heading) = link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
    let to = if path.is_empty() { from.to_owned() } else { from.parent().unwrap().join(path) };
    let Some(to) = normal(&to) else { return Some("it leaves the project".into()) };
    if !root().join(&to).exists() {
        return Some(format!("there is no {}", to.display()));
    }
    if from.starts_with("docs") && !to.starts_with("docs") {
        return Some("a page of the book can link to pages of the book alone: name the file instead".into());
    }
    let heading = heading?;
    let headings = Page::read(&root().join(&to)).headings();
    (!headings.contains(heading)).then(|| format!("{} has no heading #{heading}: {headings:?}", to.display()))
}

#[test]
fn every_link_leads_to_a_page_and_a_heading() {
    let mut found = Vec::new();
    let mut links = 0;
    for path in pages() {
        for link in Page::read(&root().join(&path)).links() {
            links += 1;
            if let Some(why) = broken(&path, &link) {
                found.push(format!("{}: {link}: {why}", path.display()));
            }
        }
    }
    assert!(links > 100);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_broken_link_is_found() {
    let from = Path::new("docs/guides/renewal.md");
    for (link, why) in [
        ("gone.md", "there is no docs/guides/gone.md"),
        ("renewal-by-tag.md#gone", "docs/guides/renewal-by-tag.md has no heading #gone"),
        ("#gone", "docs/guides/renewal.md has no heading #gone"),
        ("../../src/lib.rs", "a page of the book can link to pages of the book alone"),
        ("../../../elsewhere", "it leaves the project"),
    ] {
        assert!(broken(from, link).unwrap().starts_with(why), "{link}");
    }
    assert_eq!(broken(from, "renewal-by-tag.md#with-the-aws-cli"), None);
    assert_eq!(broken(from, "#steps"), None);
}

#[test]
fn the_summary_names_every_page_of_the_book() {
    let contents = Page::read(&root().join("docs/SUMMARY.md"));
    let named: BTreeSet<PathBuf> = contents.links().into_iter().map(|link| Path::new("docs").join(link)).collect();
    let pages: BTreeSet<PathBuf> = of_the_book().into_iter().filter(|path| !path.ends_with("SUMMARY.md")).collect();
    assert_eq!(named, pages);
}

#[test]
fn no_page_is_long() {
    // The limit of a page is five screens of 50 lines.
    for (pages, most) in [(vec![PathBuf::from("README.md")], 150), (of_the_book(), 250)] {
        for path in pages {
            let lines = fs::read_to_string(root().join(&path)).unwrap().lines().count();
            assert!(lines <= most, "{} has {lines} lines, more than {most}", path.display());
        }
    }
}

#[test]
fn generated_pages_are_up_to_date() {
    let pages = reference::pages(root()).unwrap();
    assert!(pages.len() > 20);
    for (path, expected) in pages {
        let now = fs::read_to_string(root().join(&path)).unwrap_or_default();
        assert!(now == expected, "{} is not up to date: run `make generate`", path.display());
    }
}
