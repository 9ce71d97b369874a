//! Who is next. Plain and synchronous.

use std::collections::{HashMap, VecDeque};

/// Which of two queues somebody waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// A write, or the first read of a certificate: somebody waits for it.
    First,
    /// A refresh: what it will most likely tell is known.
    Refresh,
}

/// So many that go first are followed by one that does not, if any waits: a stream of writes must not keep
/// certificates from being refreshed.
const FIRST_IN_A_ROW: u32 = 4;

/// Those who wait, each with a namespace. Namespaces take turns, so that a large one does not hold up a small one.
#[derive(Debug)]
pub(super) struct Turns<T> {
    first: Lane<T>,
    refresh: Lane<T>,
    in_a_row: u32,
}

#[derive(Debug)]
struct Lane<T> {
    namespaces: VecDeque<String>,
    waiting: HashMap<String, VecDeque<T>>,
    len: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Turns { first: Lane::default(), refresh: Lane::default(), in_a_row: 0 }
    }
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Lane { namespaces: VecDeque::new(), waiting: HashMap::new(), len: 0 }
    }
}

impl<T> Turns<T> {
    pub(super) fn push(&mut self, turn: Turn, namespace: &str, item: T) {
        match turn {
            Turn::First => self.first.push(namespace, item),
            Turn::Refresh => self.refresh.push(namespace, item),
        }
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        if (self.in_a_row < FIRST_IN_A_ROW || self.refresh.len == 0)
            && let Some(item) = self.first.pop()
        {
            self.in_a_row += 1;
            return Some(item);
        }
        self.in_a_row = 0;
        self.refresh.pop()
    }

    pub(super) fn len(&self) -> usize {
        self.first.len + self.refresh.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Lane<T> {
    fn push(&mut self, namespace: &str, item: T) {
        self.len += 1;
        match self.waiting.get_mut(namespace) {
            Some(waiting) => waiting.push_back(item),
            None => {
                self.namespaces.push_back(namespace.to_owned());
                self.waiting.insert(namespace.to_owned(), VecDeque::from([item]));
            }
        }
    }

    fn pop(&mut self) -> Option<T> {
        let namespace = self.namespaces.pop_front()?;
        let waiting = self.waiting.get_mut(&namespace)?;
        let item = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(&namespace);
        } else {
            self.namespaces.push_back(namespace);
        }
        self.len -= usize::from(item.is_some());
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(turns: &mut Turns<u32>) -> Vec<u32> {
        std::iter::from_fn(|| turns.pop()).collect()
    }

    #[test]
    fn namespaces_take_turns_and_each_keeps_its_order() {
        let mut turns = Turns::default();
        (0..5).for_each(|n| turns.push(Turn::Refresh, "large", n));
        turns.push(Turn::Refresh, "small", 10);
        turns.push(Turn::Refresh, "other", 20);
        assert_eq!(turns.len(), 7);
        assert_eq!(all(&mut turns), [0, 10, 20, 1, 2, 3, 4]);
        assert!(turns.is_empty());
    }

    #[test]
    fn what_somebody_waits_for_goes_first_but_not_for_ever() {
        let mut turns = Turns::default();
        turns.push(Turn::Refresh, "a", 100);
        turns.push(Turn::Refresh, "a", 101);
        (0..10).for_each(|n| turns.push(Turn::First, "a", n));
        assert_eq!(all(&mut turns), [0, 1, 2, 3, 100, 4, 5, 6, 7, 101, 8, 9]);
    }
}
