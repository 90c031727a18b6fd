//! Method: a function of a value, of which the fetch gets a copy. Its body goes into a method of its own, for `self`
//! cannot be another's name.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Attribute, Error, FnArg, ItemFn, Pat, Receiver, ReceiverKind, Result, Signature, Type,
    spanned::Spanned,
};

use crate::told_at;

pub(crate) struct Method<'a> {
    receiver: &'a Receiver,
    /// The names of its arguments.
    arguments: Vec<&'a Ident>,
    uncached: Ident,
    /// How the copy of `self` is called.
    copy: Ident,
}

impl<'a> Method<'a> {
    /// `None`: it has no `self`.
    pub(crate) fn of(function: &'a ItemFn) -> Result<Option<Method<'a>>> {
        let Some(FnArg::Receiver(receiver)) = function.sig.inputs.first() else { return Ok(None) };
        let is_changed = match &receiver.kind {
            ReceiverKind::Reference(_, _, mutability) => mutability.is_some(),
            ReceiverKind::Typed(_, of) => {
                matches!(&**of, Type::Reference(reference) if reference.mutability.is_some())
            }
            _ => false,
        };
        if is_changed {
            let message = "what changes `self` cannot be cached: a hit would not do it";
            return Err(Error::new(receiver.span(), message));
        }
        let arguments = function.sig.inputs.iter().filter_map(|input| match input {
            FnArg::Receiver(_) => None,
            FnArg::Typed(argument) => Some(match &*argument.pat {
                Pat::Ident(name) => Ok(&name.ident),
                other => {
                    let message =
                        "name this argument, and take it apart in the body: a method hands it on";
                    Err(Error::new(other.span(), message))
                }
            }),
        });
        let arguments = arguments.collect::<Result<_>>()?;
        let uncached = format_ident!("__{}_uncached", function.sig.ident);
        let copy = Ident::new("itself", Span::mixed_site());
        Ok(Some(Method { receiver, arguments, uncached, copy }))
    }

    /// The method that has the body.
    pub(crate) fn uncached(&self, function: &ItemFn) -> TokenStream {
        let attrs = function.attrs.iter().filter(|it| is_of_the_body(it) || is_of_both(it));
        let (uncached, block) = (&self.uncached, &function.block);
        let Signature { generics, inputs, output, .. } = &function.sig;
        let bounds = &generics.where_clause;
        quote! {
            #(#attrs)*
            async fn #uncached #generics (#inputs) #output #bounds #block
        }
    }

    /// Makes the copy of `self`.
    pub(crate) fn copy(&self) -> TokenStream {
        let (copy, span) = (&self.copy, told_at(self.receiver.span()));
        let itself = Ident::new("self", self.receiver.self_token.span);
        let borrowed = match self.is_reference() {
            true => quote!(#itself),
            false => quote!(&#itself),
        };
        quote_spanned!(span=> let #copy = ::core::clone::Clone::clone(#borrowed);)
    }

    /// The call of that method, by the fetch.
    pub(crate) fn call(&self, signature: &Signature) -> TokenStream {
        let Method { arguments, uncached, copy, .. } = self;
        let generics = &signature.generics;
        let types = generics.type_params().map(|parameter| &parameter.ident);
        let types = types.chain(generics.const_params().map(|parameter| &parameter.ident));
        let itself = match self.is_reference() {
            true => quote!(&#copy),
            false => quote!(#copy),
        };
        quote!(Self::#uncached::<#(#types),*>(#itself, #(#arguments),*))
    }

    fn is_reference(&self) -> bool {
        match &self.receiver.kind {
            ReceiverKind::Reference(..) => true,
            ReceiverKind::Typed(_, of) => matches!(**of, Type::Reference(_)),
            _ => false,
        }
    }
}

/// Whether an attribute is for the body alone: what is expected there would be missed elsewhere.
pub(crate) fn is_of_the_body(attribute: &Attribute) -> bool {
    attribute.path().is_ident("expect")
}

fn is_of_both(attribute: &Attribute) -> bool {
    ["cfg", "allow", "warn", "deny", "forbid"].iter().any(|name| attribute.path().is_ident(name))
}
