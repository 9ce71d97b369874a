//! Numbers for values, so that a state is small and hashable without a loss: two values with the same number are equal.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, RwLock};

/// Values of one kind, and their numbers.
pub struct Pool<T>(RwLock<Known<T>>);

/// The numbers by the texts of the values, and the values by number.
type Known<T> = (HashMap<String, u32>, Vec<Arc<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Pool(RwLock::default())
    }
}

impl<T: Debug> Pool<T> {
    /// The number of a value. Values with the same text are equal.
    pub fn number(&self, value: T) -> u32 {
        let key = format!("{value:?}");
        if let Some(number) = self.0.read().unwrap().0.get(&key) {
            return *number;
        }
        let mut inner = self.0.write().unwrap();
        let (numbers, values) = &mut *inner;
        *numbers.entry(key).or_insert_with(|| {
            values.push(Arc::new(value));
            u32::try_from(values.len() - 1).unwrap()
        })
    }

    /// The value of a number.
    pub fn get(&self, number: u32) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap().1[number as usize])
    }
}

/// The results of a pure function by its arguments, so that each is computed once.
pub struct Memo<K, V>(RwLock<HashMap<K, Arc<V>>>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Memo(RwLock::default())
    }
}

impl<K: Clone + Eq + Hash, V> Memo<K, V> {
    pub fn of(&self, key: &K, compute: impl FnOnce() -> V) -> Arc<V> {
        if let Some(known) = self.0.read().unwrap().get(key) {
            return Arc::clone(known);
        }
        let computed = Arc::new(compute());
        Arc::clone(self.0.write().unwrap().entry(key.clone()).or_insert(computed))
    }
}
