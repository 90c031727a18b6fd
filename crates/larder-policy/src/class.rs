//! Class: by which number a cache accounts for what is stored.

/// A number for all that is stored by the same rules: a cache tells what each class holds, and may bound it. Zero is
/// [`NONE`](Class::NONE).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Class(u16);

impl Class {
    /// What nobody has given a class.
    pub const NONE: Class = Class(0);

    /// The class of this number.
    pub const fn new(number: u16) -> Class {
        Class(number)
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}
