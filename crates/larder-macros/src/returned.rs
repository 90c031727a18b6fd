//! Returned: what the function brings, and which of it is kept.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::{GenericArgument, PathArguments, PathSegment, ReturnType, Type, spanned::Spanned};

use crate::told_at;

/// What a function returns.
pub(crate) struct Returned {
    /// As it is written.
    pub(crate) whole: Type,
    /// The type of its values.
    pub(crate) value: Found,
    /// If it returns a `Result`, by whatever path.
    pub(crate) error: Option<Failure>,
}

/// The type of errors.
pub(crate) struct Failure {
    pub(crate) error: TokenStream,
    /// Where it stands, or else the alias that does not write it.
    pub(crate) span: Span,
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
        let (value, error) = {
            let mut types = types(result);
            (types.next().cloned(), types.next().cloned())
        };
        // An alias writes one type, like `anyhow::Result<T>`, or none.
        let span = told_at(whole.span());
        let value = value.unwrap_or_else(
            || syn::parse_quote_spanned!(span=> <#whole as ::larder::Fallible>::Value),
        );
        let error = match error {
            Some(error) => Failure { span: error.span(), error: error.into_token_stream() },
            None => {
                let error = quote_spanned!(span=> <#whole as ::larder::Fallible>::Error);
                Failure { error, span }
            }
        };
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

    pub(crate) fn is_option(&self) -> bool {
        matches!(self, Found::Option(_))
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
