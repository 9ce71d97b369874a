//! Detects two installations of the operator that reconcile the same resource, by the name of the installation in the
//! status.

use std::time::Duration;

use crate::settings::Tick;

/// The least time after which the operator restores its name in a status. Thus both installations detect each other,
/// and do not overwrite each other in a loop.
const MARK_AGAIN: Duration = Duration::from_secs(10 * 60);

/// Whether the status of a resource has named this installation, and when the operator last restored that name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    was_ours: bool,
    put_back: Option<Tick>,
}

/// The installation to name in a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The name of the installation to write.
    pub name: String,
    /// Another installation that has written the same status.
    pub rival: Option<String>,
}

impl Mark {
    /// Decides by the name in the status. At first, another name belongs to a former installation. If another name
    /// replaces ours later, both installations are running.
    pub fn found(&mut self, mark: Option<&str>, ours: &str, now: Tick) -> Marked {
        match mark.filter(|mark| *mark != ours) {
            Some(rival) if self.was_ours => {
                let was_just_put_back = self.put_back.is_some_and(|at| now.saturating_sub(at) < MARK_AGAIN);
                if !was_just_put_back {
                    self.put_back = Some(now);
                }
                let name = if was_just_put_back { rival } else { ours };
                Marked { name: name.to_owned(), rival: Some(rival.to_owned()) }
            }
            _ => {
                self.was_ours = true;
                Marked { name: ours.to_owned(), rival: None }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Tick {
        Tick::from_secs(n)
    }

    #[test]
    fn two_installations_detect_each_other_and_do_not_compete() {
        let (mut first, mut second) = (Mark::default(), Mark::default());
        let mut status = None;
        let mut changes = Vec::new();
        for second_of_time in 0..1300 {
            let now = seconds(second_of_time);
            let mut installations = vec![("a/one", &mut first)];
            if second_of_time > 5 {
                installations.push(("b/two", &mut second));
            }
            for (ours, mark) in installations {
                let marked = mark.found(status.as_deref(), ours, now);
                if status.as_ref() != Some(&marked.name) {
                    changes.push((second_of_time, marked.name.clone(), marked.rival.is_some()));
                    status = Some(marked.name);
                }
            }
        }
        let one = |at, notices| (at, "a/one".to_owned(), notices);
        let two = |at, notices| (at, "b/two".to_owned(), notices);
        assert_eq!(
            changes,
            [
                one(0, false),
                two(6, false),
                one(7, true),
                two(7, true),
                one(607, true),
                two(607, true),
                one(1207, true),
                two(1207, true)
            ]
        );
    }

    #[test]
    fn the_mark_of_a_removed_installation_is_replaced_without_an_event() {
        let mut mark = Mark::default();
        let expected = Marked { name: "b/two".into(), rival: None };
        assert_eq!(mark.found(Some("a/one"), "b/two", seconds(0)), expected);
        assert_eq!(mark.found(Some("b/two"), "b/two", seconds(1)), expected);
    }
}
