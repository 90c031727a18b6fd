//! Scope: what holds in a block, of what stands in it and around it; and what became of each directive.

use std::collections::{BTreeMap, BTreeSet};

use super::syntax::Directive;
use crate::import::Note;

/// The blocks that something stands in, the outermost first.
#[derive(Clone, Debug)]
pub(super) struct Scope<'d>(pub(super) Vec<&'d [Directive]>);

/// What became of each directive, by its number.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    carried: BTreeSet<usize>,
    notes: BTreeMap<usize, Vec<Note>>,
}

impl<'d> Scope<'d> {
    pub(super) fn within(&self, block: &'d [Directive]) -> Scope<'d> {
        let mut levels = self.0.clone();
        levels.push(block);
        Scope(levels)
    }

    /// The one that holds: of the innermost block that has one.
    pub(super) fn one(&self, name: &str, ledger: &mut Ledger) -> Option<&'d Directive> {
        self.all(name, ledger).pop()
    }

    /// Those that hold: all of the innermost block that has any. Those of blocks around it are seen with them.
    pub(super) fn all(&self, name: &str, ledger: &mut Ledger) -> Vec<&'d Directive> {
        let mut found = Vec::new();
        for level in &self.0 {
            let own: Vec<_> = level.iter().filter(|directive| directive.name == name).collect();
            own.iter().for_each(|directive| ledger.carry(directive));
            if !own.is_empty() {
                found = own;
            }
        }
        found
    }

    /// The first word of the one that holds.
    pub(super) fn word(&self, name: &str, ledger: &mut Ledger) -> Option<&'d str> {
        self.one(name, ledger).map(Directive::word)
    }

    pub(super) fn is_on(&self, name: &str, ledger: &mut Ledger) -> bool {
        self.word(name, ledger) == Some("on")
    }

    /// What stands in the block itself.
    pub(super) fn own(&self) -> &'d [Directive] {
        self.0.last().copied().unwrap_or_default()
    }
}

impl Ledger {
    /// It is in what is printed, or says what is so in any case.
    pub(super) fn carry(&mut self, directive: &Directive) {
        self.carried.insert(directive.number);
    }

    /// It is not, or not as it was. A line is told of once in the same words.
    pub(super) fn note(&mut self, directive: &Directive, why: impl Into<String>) {
        self.carry(directive);
        let Directive { place, number, .. } = directive;
        let note = Note { place: place.to_string(), line: directive.shown(), why: why.into() };
        let notes = self.notes.entry(*number).or_default();
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    pub(super) fn has(&self, directive: &Directive) -> bool {
        self.carried.contains(&directive.number)
    }

    /// All notes, in the order of the lines.
    pub(super) fn notes(self) -> Vec<Note> {
        self.notes.into_values().flatten().collect()
    }
}
