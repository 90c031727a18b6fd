//! Claim: which function of a cache has which keys, so that no two return each other's values.

use std::{
    any::{TypeId, type_name},
    collections::HashSet,
    fmt,
    sync::{
        OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::shape::KeyShape;

/// A function whose calls have keys in a cache, for [`Cache::claim_keys`](crate::Cache::claim_keys).
/// `#[cached]` has one for each function.
#[derive(Debug)]
pub struct KeysOf {
    /// For people: what a macro writes is all in one place.
    place: &'static str,
    /// A cache in which an instance of it has its keys, for a quick answer: most functions have one of each.
    first: OnceLock<(u64, TypeId)>,
}

impl KeysOf {
    /// `place`: where the function is, for a message.
    pub const fn function(place: &'static str) -> KeysOf {
        KeysOf { place, first: OnceLock::new() }
    }

    /// The function with the types that it is called with. A `static` in it is one for all of them, and
    /// cannot tell. `inside` can: any closure that is written in the function has all of them in its
    /// own type, those of the `impl` or `trait` around it and `Self` included. Lifetimes do not count. A closure
    /// that captures nothing is `'static` whatever these types are, as the cache's fetch has to be.
    pub fn instance<F: 'static>(&'static self, _inside: F, told: Told) -> Instance {
        Instance { keys: self, id: TypeId::of::<F>(), closure: type_name::<F>(), told }
    }
}

/// Which of the types that a function is called with can be told from its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// All of them, so instances are told apart exactly.
    All,
    /// Some of its own parameters are left out, so instances are told apart by the names of the types of
    /// the `impl` or `trait` around it.
    Around,
    /// None: all instances share their values.
    Nothing,
}

/// A function with the types that it is called with.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    keys: &'static KeysOf,
    id: TypeId,
    closure: &'static str,
    told: Told,
}

impl Instance {
    /// Its path, as `blog::Table<blog::Post>::load`. Its own types, as in `load<u8>`, come with it if all
    /// are [`Told`].
    pub fn name(&self) -> &'static str {
        let mut name = self.closure;
        while let Some(outside) = name.strip_suffix("::{{closure}}") {
            name = outside;
        }
        if self.told == Told::All { name } else { without_own_types(name) }
    }

    fn owner(&self) -> Owner {
        let (id, around) = match self.told {
            Told::All => (Some(self.id), ""),
            Told::Around => (None, self.name()),
            Told::Nothing => (None, ""),
        };
        Owner { instance: *self, id, around }
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name(), self.keys.place)
    }
}

/// `a::Table<u8>::load` of `a::Table<u8>::load<u16, '>'>`.
fn without_own_types(name: &str) -> &str {
    let mut open = Vec::new();
    let mut last = None;
    let mut letters = name.char_indices().peekable();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '<' => open.push(place),
            '>' => last = open.pop().filter(|_| open.is_empty()),
            // The arrow of a function's type is no bracket.
            '-' => {
                letters.next_if(|(_, next)| *next == '>');
            }
            '\'' => {
                let rest = &name[place + 1..];
                // A character, or else a lifetime, of which there is only `'_`.
                let end = match rest.strip_prefix('\\') {
                    Some(escaped) => escaped
                        .char_indices()
                        .skip(1)
                        .find(|(_, c)| *c == '\'')
                        .map(|(at, _)| at + 2),
                    None => {
                        rest.char_indices().nth(1).filter(|(_, c)| *c == '\'').map(|(at, _)| at + 1)
                    }
                };
                let end = place + 1 + end.unwrap_or(0);
                while letters.next_if(|(at, _)| *at < end).is_some() {}
            }
            _ => {}
        }
    }
    last.filter(|_| name.ends_with('>') && open.is_empty()).map_or(name, |place| &name[..place])
}

/// Who has a shape of keys.
#[derive(Clone, Copy, Debug)]
struct Owner {
    instance: Instance,
    id: Option<TypeId>,
    around: &'static str,
}

impl Owner {
    fn is(&self, other: &Owner) -> bool {
        std::ptr::eq(self.instance.keys, other.instance.keys)
            && self.id == other.id
            && self.around == other.around
    }
}

/// Which function of a cache has which keys.
#[derive(Debug)]
pub(crate) struct Claims {
    /// No other cache's, and not zero.
    cache: u64,
    /// One for each function that names this cache, so there are few. Nothing of the user's runs under it.
    claimed: RwLock<Claimed>,
}

#[derive(Debug, Default)]
struct Claimed {
    instances: HashSet<TypeId>,
    shapes: Vec<(KeyShape, Owner)>,
}

impl Claims {
    pub(crate) fn new() -> Claims {
        static CACHES: AtomicU64 = AtomicU64::new(0);
        let cache = CACHES.fetch_add(1, Ordering::Relaxed) + 1;
        Claims { cache, claimed: RwLock::default() }
    }

    /// Once claimed, a look at two numbers, or in a set if the function has several caches or types.
    ///
    /// # Errors
    ///
    /// Another function has them, or this one with other types.
    pub(crate) fn claim(
        &self,
        instance: &Instance,
        shape: impl FnOnce() -> KeyShape,
    ) -> Result<(), Box<Clash>> {
        let this = (self.cache, instance.id);
        if instance.keys.first.get() == Some(&this) {
            return Ok(());
        }
        if self
            .claimed
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .instances
            .contains(&instance.id)
        {
            return Ok(());
        }
        let (shape, owner) = (shape(), instance.owner());
        let mut claimed = self.claimed.write().unwrap_or_else(PoisonError::into_inner);
        let others = claimed.shapes.iter().filter(|(_, other)| !other.is(&owner));
        if let Some((first, other)) = others.into_iter().find(|(other, _)| other.overlaps(&shape)) {
            let first = (first.clone(), other.instance);
            return Err(Box::new(Clash { first, second: (shape, *instance) }));
        }
        if !claimed.shapes.iter().any(|(known, _)| *known == shape) {
            claimed.shapes.push((shape, owner));
        }
        claimed.instances.insert(instance.id);
        drop(claimed);
        // Another of its instances may have been quicker: then this one is looked up.
        instance.keys.first.get_or_init(|| this);
        Ok(())
    }
}

/// Two that would return each other's values.
#[derive(Debug)]
pub(crate) struct Clash {
    first: (KeyShape, Instance),
    second: (KeyShape, Instance),
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Clash { first: (one, first), second: (two, second) } = self;
        let (one, two) = (one.to_string(), two.to_string());
        let advice = if std::ptr::eq(first.keys, second.keys) {
            "name the type in the key, as `{Self}`, or write `skip(Self)` if that is meant"
        } else {
            "give one of them another key, one that begins differently"
        };
        write!(
            f,
            "the key {one:?} of {first} can be the key {two:?} of {second}, so they would return each \
             other's values: {advice}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_own_types_are_told_from_those_around_it() {
        for (name, outside) in [
            ("a::load", "a::load"),
            ("a::load<u8>", "a::load"),
            ("a::Table<u8>::load", "a::Table<u8>::load"),
            ("a::Table<u8>::load<a::Table<u16>, 3>", "a::Table<u8>::load"),
            (
                "<a::Table<u8> as a::Of<()>>::load<'_, fn(u8) -> u8>",
                "<a::Table<u8> as a::Of<()>>::load",
            ),
            ("a::Table<fn() -> u8>::load<'>', '\\'', '<'>", "a::Table<fn() -> u8>::load"),
            ("a::load<'_', '\\u{1}', '_>", "a::load"),
            ("<dyn Fn(u8) -> u8 as a::Of<'<'>>::load", "<dyn Fn(u8) -> u8 as a::Of<'<'>>::load"),
        ] {
            assert_eq!(without_own_types(name), outside);
        }
    }
}
