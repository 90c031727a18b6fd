//! Borrowed: arguments that borrow from the caller, whom a fetch may outlive: it gets a copy, and the body sees it
//! as it was written.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::{
    Error, FnArg, GenericArgument, Pat, PatIdent, PathArguments, Result, Type, TypeReference,
    spanned::Spanned,
};

use crate::{
    returned::{last_segment, types},
    told_at,
};

/// An argument that borrows.
pub(crate) struct Borrowed<'a> {
    name: &'a PatIdent,
    /// How the copy is called: like nothing of the caller's.
    copy: Ident,
    how: How<'a>,
}

enum How<'a> {
    /// `&T`.
    Reference(&'a Type),
    /// `Cow<T>`.
    Cow(&'a Type),
    /// An `Option` of such.
    Option(Box<How<'a>>),
}

impl<'a> Borrowed<'a> {
    /// `None`: it does not borrow. `place` is that among the arguments.
    ///
    /// # Errors
    ///
    /// What borrows in another way.
    pub(crate) fn of(input: &'a FnArg, place: usize) -> Result<Option<Borrowed<'a>>> {
        let FnArg::Typed(argument) = input else { return Ok(None) };
        let Some(how) = How::of(&argument.ty) else {
            return match borrowing(&argument.ty) {
                Some(borrowing) => Err(outlived(borrowing)),
                None => Ok(None),
            };
        };
        if let Some(borrowing) = borrowing(how.lent()) {
            return Err(outlived(borrowing));
        }
        let Pat::Ident(name) = &*argument.pat else {
            let message =
                "name this argument, and take it apart in the body: the fetch gets a copy of it";
            return Err(Error::new(argument.pat.span(), message));
        };
        let copy = Ident::new(&format!("copy_{place}"), Span::mixed_site());
        Ok(Some(Borrowed { name, copy, how }))
    }

    pub(crate) fn is_of(&self, name: &Ident) -> bool {
        self.name.ident == *name
    }

    /// Makes the copy.
    pub(crate) fn copy(&self) -> TokenStream {
        let Borrowed { name, copy, how } = self;
        let (span, name) = (told_at(how.lent().span()), &name.ident);
        let made = how.copied(&quote_spanned!(span=> #name), span);
        quote_spanned!(span=> let #copy = #made;)
    }

    /// Gives the copy the name, and the type, that the body knows.
    pub(crate) fn lend(&self) -> TokenStream {
        let Borrowed { name, copy, how } = self;
        let (span, PatIdent { mutability, ident, .. }) = (told_at(how.lent().span()), name);
        let lent = how.lend(&quote_spanned!(span=> &#copy), span);
        quote_spanned!(span=> #[allow(unused_variables)] let #mutability #ident = #lent;)
    }
}

impl<'a> How<'a> {
    fn of(whole: &'a Type) -> Option<How<'a>> {
        match whole {
            Type::Paren(inner) => return How::of(&inner.elem),
            Type::Group(inner) => return How::of(&inner.elem),
            Type::Reference(reference) => {
                let is_lent = reference.mutability.is_none() && !is_static(reference);
                return is_lent.then_some(How::Reference(&reference.elem));
            }
            _ => {}
        }
        let last = last_segment(whole)?;
        if last.ident == "Option" {
            return Some(How::Option(Box::new(How::of(types(last).next()?)?)));
        }
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
        let is_lent = !arguments.args.iter().any(
            |argument| matches!(argument, GenericArgument::Lifetime(it) if it.ident == "static"),
        );
        (last.ident == "Cow" && is_lent).then_some(())?;
        types(last).next().map(How::Cow)
    }

    /// What is borrowed in the end.
    fn lent(&self) -> &'a Type {
        match self {
            How::Reference(lent) | How::Cow(lent) => lent,
            How::Option(inner) => inner.lent(),
        }
    }

    fn copied(&self, value: &TokenStream, span: Span) -> TokenStream {
        match self {
            How::Reference(lent) => {
                quote_spanned!(span=> <#lent as ::std::borrow::ToOwned>::to_owned(#value))
            }
            How::Cow(lent) => {
                quote_spanned!(span=> ::std::borrow::Cow::<#lent>::into_owned(#value))
            }
            How::Option(inner) => {
                let copied = inner.copied(&quote_spanned!(span=> value), span);
                quote_spanned!(span=> ::core::option::Option::map(#value, |value| #copied))
            }
        }
    }

    /// `copy` is a reference to it.
    fn lend(&self, copy: &TokenStream, span: Span) -> TokenStream {
        match self {
            How::Reference(lent) => {
                quote_spanned!(span=> ::core::borrow::Borrow::<#lent>::borrow(#copy))
            }
            How::Cow(lent) => {
                let lent = quote_spanned!(span=> ::core::borrow::Borrow::<#lent>::borrow(#copy));
                quote_spanned!(span=> ::std::borrow::Cow::Borrowed(#lent))
            }
            How::Option(inner) => {
                let lent = inner.lend(&quote_spanned!(span=> copy), span);
                quote_spanned!(span=> ::core::option::Option::map(::core::option::Option::as_ref(#copy), |copy| #lent))
            }
        }
    }
}

fn outlived(borrowing: Span) -> Error {
    let message = "this borrows from the caller, whom a fetch may outlive: take it by value. Of `&T`, `Cow<T>`, \
                   and an `Option` of them, the fetch gets a copy";
    Error::new(borrowing, message)
}

fn is_static(reference: &TypeReference) -> bool {
    reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static")
}

/// Where a type borrows, as far as can be seen.
fn borrowing(whole: &Type) -> Option<Span> {
    match whole {
        Type::Reference(reference) if is_static(reference) => borrowing(&reference.elem),
        Type::Reference(reference) => Some(reference.span()),
        Type::Paren(inner) => borrowing(&inner.elem),
        Type::Group(inner) => borrowing(&inner.elem),
        Type::Array(inner) => borrowing(&inner.elem),
        Type::Slice(inner) => borrowing(&inner.elem),
        Type::Tuple(parts) => parts.elems.iter().find_map(borrowing),
        Type::Path(path) => {
            path.path.segments.iter().find_map(|segment| match &segment.arguments {
                PathArguments::AngleBracketed(arguments) => {
                    arguments.args.iter().find_map(|argument| match argument {
                        GenericArgument::Type(of) => borrowing(of),
                        GenericArgument::Lifetime(lifetime) => {
                            (lifetime.ident != "static").then(|| lifetime.span())
                        }
                        _ => None,
                    })
                }
                // A function takes what it takes, and keeps nothing of it.
                PathArguments::None | PathArguments::Parenthesized(_) => None,
            })
        }
        _ => None,
    }
}
