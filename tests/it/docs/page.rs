//! A page of Markdown: its links, its headings, and its blocks of commands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A page.
pub struct Page {
    text: String,
}

impl Page {
    /// Reads a page.
    pub fn read(path: &Path) -> Self {
        Page { text: std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) }
    }

    fn events(&self) -> Parser<'_> {
        Parser::new_ext(&self.text, Options::ENABLE_TABLES)
    }

    /// The destinations of its links and pictures.
    pub fn links(&self) -> Vec<String> {
        let destination = |event| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.into_string()),
            _ => None,
        };
        self.events().filter_map(destination).collect()
    }

    /// The ids of its headings in mdBook and on GitHub.
    pub fn headings(&self) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        let mut times = BTreeMap::<String, usize>::new();
        let mut heading: Option<String> = None;
        for event in self.events() {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    let id = id(&heading.take().unwrap_or_default());
                    let time = times.entry(id.clone()).or_default();
                    ids.insert(if *time == 0 { id } else { format!("{id}-{time}") });
                    *time += 1;
                }
                _ => {}
            }
        }
        ids
    }

    /// Its blocks of a language, from a heading to the next heading of the same or a higher level; without a heading,
    /// of the whole page.
    pub fn blocks(&self, under: Option<&str>, language: &str) -> Vec<String> {
        let mut blocks = Vec::new();
        let mut level = None;
        let mut heading: Option<String> = None;
        let mut block: Option<String> = None;
        for event in self.events() {
            match event {
                Event::Start(Tag::Heading { level: of, .. }) => {
                    heading = Some(String::new());
                    if level.is_some_and(|level| of <= level) {
                        level = None;
                    }
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(of)))
                    if of.as_ref() == language && (under.is_none() || level.is_some()) =>
                {
                    block = Some(String::new());
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some(into) = heading.as_mut().or(block.as_mut()) {
                        into.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(of)) if heading.take().as_deref() == under => level = level.or(Some(of)),
                Event::End(TagEnd::CodeBlock) => blocks.extend(block.take()),
                _ => {}
            }
        }
        blocks
    }
}

/// The id of a heading: in lower case, with letters, digits, `-` and `_`, and with `-` for each space.
fn id(heading: &str) -> String {
    let of = |character: char| match character {
        character if character.is_alphanumeric() || "-_".contains(character) => Some(character.to_ascii_lowercase()),
        character if character.is_whitespace() => Some('-'),
        _ => None,
    };
    heading.trim().chars().filter_map(of).collect()
}
