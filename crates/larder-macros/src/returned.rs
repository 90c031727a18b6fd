//! Returned: what the function brings, and which of it is kept.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{GenericArgument, PathArguments, PathSegment, ReturnType, Type};

/// What a function returns.
pub(crate) struct Returned {
    /// As it is written.
    pub(crate) whole: Type,
    /// The type of its values.
    pub(crate) value: Found,
    /// The type of its errors, if it returns a `Result`, by whatever path.
    pub(crate) error: Option<TokenStream>,
}

/// A value, as far as can be seen.
pub(crate) enum Found {
    Value(Box<Type>),
    /// An `Option`: that there is nothing is another answer than a value.
    Option(Box<Type>),
    /// A `Fetched` of this: it says itself how it is kept.
    Fetched(Box<Type>),
}

impl Returned {
    pub(crate) fn of(output: &ReturnType) -> Returned {
        let whole = match output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, whole) => (**whole).clone(),
        };
        let Some(result) = last_segment(&whole).filter(|last| last.ident == "Result") else {
            return Returned { value: Found::of(whole.clone()), error: None, whole };
        };
        // An alias writes one type, like `anyhow::Result<T>`, or none.
        let fallible = quote!(<#whole as ::larder::Fallible>);
        let (value, error) = {
            let mut types = types(result);
            (types.next().cloned(), types.next().map(|error| quote!(#error)))
        };
        let value = value.unwrap_or_else(|| syn::parse_quote!(#fallible::Value));
        let error = error.unwrap_or_else(|| quote!(#fallible::Error));
        Returned { value: Found::of(value), error: Some(error), whole }
    }
}

impl Found {
    fn of(whole: Type) -> Found {
        let is = |name: &str| last_segment(&whole).filter(|last| last.ident == name);
        if is("Option").is_some() {
            return Found::Option(Box::new(whole));
        }
        match is("Fetched").and_then(|fetched| types(fetched).next()) {
            Some(value) => Found::Fetched(Box::new(value.clone())),
            None => Found::Value(Box::new(whole)),
        }
    }

    /// What is kept, and what callers get.
    pub(crate) fn kept(&self) -> &Type {
        let (Found::Value(kept) | Found::Option(kept) | Found::Fetched(kept)) = self;
        kept
    }
}

pub(crate) fn last_segment(whole: &Type) -> Option<&PathSegment> {
    match whole {
        Type::Path(path) => path.path.segments.last(),
        Type::Paren(inner) => last_segment(&inner.elem),
        Type::Group(inner) => last_segment(&inner.elem),
        _ => None,
    }
}

/// The types in its angle brackets.
pub(crate) fn types(segment: &PathSegment) -> impl Iterator<Item = &Type> {
    let arguments = match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
        PathArguments::None | PathArguments::Parenthesized(_) => None,
    };
    arguments.into_iter().flatten().filter_map(|argument| match argument {
        GenericArgument::Type(of) => Some(of),
        _ => None,
    })
}
