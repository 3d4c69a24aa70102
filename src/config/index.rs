//! Where a service of that name stands in the list: a thousand of them are asked for by name a
//! thousand times. Only ever a hint: what it says is held against the list itself.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::model::Service;

/// Below this a walk along the list is as quick.
const FEW: usize = 16;

#[derive(Debug, Default)]
pub struct Index(OnceLock<HashMap<String, usize>>);

impl Index {
    /// The service, if the index knows its place; it may be older than the list.
    pub(super) fn find<'a>(&self, name: &str, all: &'a [Service]) -> Option<&'a Service> {
        if all.len() <= FEW {
            return None;
        }
        let places = self.0.get_or_init(|| {
            let mut places = HashMap::with_capacity(all.len());
            for (i, s) in all.iter().enumerate() {
                places.entry(s.name.clone()).or_insert(i);
            }
            places
        });
        places.get(name).and_then(|i| all.get(*i)).filter(|s| s.name == name)
    }
}

/// A copy is made to be changed, or kept: it makes its own.
impl Clone for Index {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// It says nothing that the list does not say.
impl PartialEq for Index {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
