//! Expand: the function as it was, inside a call of the cache.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Error, FnArg, GenericArgument, ItemFn, PathArguments, Result, ReturnType, Safety, Type,
    spanned::Spanned,
};

use crate::{
    key::{self, Key},
    options::Options,
};

pub(crate) fn expand(options: Options, function: ItemFn) -> Result<TokenStream> {
    check(&function, options.cache.is_some())?;
    // Names of our own that no argument and nothing in the body can mean.
    let ours = |name| Ident::new(name, Span::mixed_site());
    let (key_name, tags_name, instance) = (ours("key"), ours("tags"), ours("instance"));
    let (work, found) = (ours("work"), ours("found"));
    let Key { told, text, shape } = key::key(&options, &function, &instance)?;
    let Options { cache, ttl_millis, tags, .. } = &options;
    let ItemFn { attrs, vis, sig, block, .. } = &function;
    let returned = returned(&sig.output)?;
    let (value, call) = match &returned {
        Returned::Plain(value) => (value, quote!(get_or_fetch)),
        Returned::Result { value, .. } => (value, quote!(try_get_or_fetch)),
    };

    let name = sig.ident.to_string();
    let cache = match cache {
        Some(cache) => quote!((#cache)),
        None => quote!({
            static CACHE: ::std::sync::LazyLock<::larder::Cache<#value>> =
                ::std::sync::LazyLock::new(|| ::larder::Cache::builder().name(#name).build());
            &*CACHE
        }),
    };
    let ttl =
        ttl_millis.map(|millis| quote!(.fresh_for(::core::time::Duration::from_millis(#millis))));
    let count = tags.len();
    let tags = quote! {
        let #tags_name: [::std::string::String; #count] = [#(::std::format!(#tags)),*];
    };
    let fetched = quote!(::larder::Fetched::new(#found) #ttl .tags(#tags_name));
    let (output, fetched) = match &returned {
        Returned::Plain(value) => {
            (quote!(#value), quote!({ let #found: #value = #work.await; #fetched }))
        }
        Returned::Result { value, error, whole } => (
            quote!(::core::result::Result<#value, ::larder::FetchError<#error>>),
            quote!({
                let #found: #whole = #work.await;
                ::core::result::Result::map(#found, |#found| #fetched)
            }),
        ),
    };
    let (name, inputs, generics) = (&sig.ident, &sig.inputs, &sig.generics);
    let bounds = &sig.generics.where_clause;
    Ok(quote! {
        #(#attrs)*
        #vis async fn #name #generics (#inputs) -> #output #bounds {
            // A block, so that the body does not see the name.
            let #instance = {
                static KEYS: ::larder::KeysOf = ::larder::KeysOf::function(
                    ::core::concat!(::core::file!(), ":", ::core::line!()),
                );
                KEYS.instance(|| (), ::larder::Told::#told)
            };
            let #key_name = #text;
            #cache.claim_keys(&#instance, #shape).#call(&#key_name, move || async move {
                #tags
                let #work = async move #block;
                #fetched
            })
            .await
        }
    })
}

enum Returned {
    Plain(Box<Type>),
    Result { value: Box<Type>, error: Box<Type>, whole: Box<Type> },
}

fn returned(output: &ReturnType) -> Result<Returned> {
    let whole = match output {
        ReturnType::Default => Box::new(syn::parse_quote!(())),
        ReturnType::Type(_, whole) => whole.clone(),
    };
    let Type::Path(path) = &*whole else { return Ok(Returned::Plain(whole)) };
    let Some(last) = path.path.segments.last() else { return Ok(Returned::Plain(whole)) };
    if last.ident != "Result" {
        return Ok(Returned::Plain(whole));
    }
    if let PathArguments::AngleBracketed(arguments) = &last.arguments
        && let [GenericArgument::Type(value), GenericArgument::Type(error)] =
            &arguments.args.iter().collect::<Vec<_>>()[..]
    {
        let (value, error) = (Box::new(value.clone()), Box::new(error.clone()));
        return Ok(Returned::Result { value, error, whole });
    }
    Err(Error::new(last.span(), "name both types, as `Result<T, E>`: the error's is needed here"))
}

/// What the compiler would say about the expansion, said about the function.
fn check(function: &ItemFn, has_cache: bool) -> Result<()> {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        let message = "only an `async fn` can be cached: its readers wait for one another";
        return Err(Error::new(signature.fn_token.span, message));
    }
    if let Safety::Unsafe(unsafety) = &signature.safety {
        let message =
            "an unsafe function cannot be cached: a fetch may outlive what its caller vouches for";
        return Err(Error::new(unsafety.span, message));
    }
    if !has_cache && let Some(itself) = itself(signature.output.to_token_stream()) {
        let message = "write the type's name in place of `Self`, or name a cache, `cache = …`: that of the \
                       function's own is one for all types";
        return Err(Error::new(itself, message));
    }
    if !has_cache && signature.generics.type_params().next().is_some() {
        let message = "a generic function needs a cache of its own: `cache = …`";
        return Err(Error::new(signature.generics.span(), message));
    }
    for input in &signature.inputs {
        match input {
            FnArg::Receiver(receiver) => {
                let message = "a method cannot be cached: a fetch may outlive `self`. Cache a free \
                               function, or call `get_or_fetch` in the method";
                return Err(Error::new(receiver.span(), message));
            }
            FnArg::Typed(argument) => {
                if let Type::Reference(reference) = &*argument.ty
                    && reference.lifetime.as_ref().is_none_or(|lifetime| lifetime.ident != "static")
                {
                    let message = "take this by value: a fetch may outlive its caller";
                    return Err(Error::new(reference.span(), message));
                }
            }
        }
    }
    Ok(())
}

/// Where `Self` stands.
fn itself(tokens: TokenStream) -> Option<Span> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) => (ident == "Self").then(|| ident.span()),
        TokenTree::Group(group) => itself(group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => None,
    })
}
