//! Expand: the function as it was, inside a call of the cache.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Error, FnArg, ItemFn, Pat, Result, Safety, Signature, spanned::Spanned};

use crate::{
    borrowed::Borrowed,
    key::{self, Key},
    method::{self, Method},
    options::{Options, Setting},
    returned::{Found, Returned},
};

pub(crate) fn expand(options: Options, function: ItemFn) -> Result<TokenStream> {
    let returned = Returned::of(&function.sig.output);
    check(&options, &function, &returned)?;
    // Names of our own that no argument and nothing in the body can mean.
    let ours = |name| Ident::new(name, Span::mixed_site());
    let (key_name, tags_name, ttl_name) = (ours("key"), ours("tags"), ours("ttl"));
    let (work, found, instance) = (ours("work"), ours("found"), ours("instance"));
    let method = Method::of(&function)?;
    let Key { told, text, shape } = key::key(&options, &function, &instance)?;
    let Home { item, cache } = home(&options, &function, &returned);
    let ItemFn { attrs, vis, sig, block, .. } = &function;
    let borrowed = sig.inputs.iter().enumerate();
    let borrowed = borrowed.map(|(place, input)| Borrowed::of(input, place));
    let borrowed = borrowed.filter_map(Result::transpose).collect::<Result<Vec<_>>>()?;
    let (copies, lent) = (borrowed.iter().map(Borrowed::copy), borrowed.iter().map(Borrowed::lend));

    let count = options.tags.len();
    let tags = &options.tags;
    let tags = quote! {
        let #tags_name: [::std::string::String; #count] = [#(::std::format!(#tags)),*];
    };
    // Before the body, which may take what it is made of.
    let ttl = options.ttl.iter().map(|ttl| quote!(let #ttl_name: ::core::time::Duration = #ttl;));
    let fetched = fetched(&options, &returned.value, &found, &ttl_name, &tags_name);
    let (whole, kept) = (&returned.whole, returned.value.kept());
    let (output, call, fetched) = match &returned.error {
        None => (
            quote!(#kept),
            quote!(get_or_fetch),
            quote!({ let #found: #whole = #work.await; #fetched }),
        ),
        Some(error) => (
            quote!(::core::result::Result<#kept, ::larder::FetchError<#error>>),
            quote_spanned!(whole.span()=> try_get_or_fetch),
            quote!({
                let #found: #whole = #work.await;
                ::core::result::Result::map(#found, |#found| #fetched)
            }),
        ),
    };
    let (beside, copied_self, body) = match &method {
        None => (None, None, quote!(async move #block)),
        Some(method) => {
            (Some(method.uncached(&function)), Some(method.copy()), method.call(&function.sig))
        }
    };
    let attrs = attrs.iter().filter(|it| method.is_none() || !method::is_of_the_body(it));
    let inputs = inputs(sig, &borrowed, method.is_some());
    let (name, generics, bounds) = (&sig.ident, &sig.generics, &sig.generics.where_clause);
    Ok(quote! {
        #item
        #(#attrs)*
        #vis async fn #name #generics (#(#inputs),*) -> #output #bounds {
            // A block, so that the body does not see the name.
            let #instance = {
                static KEYS: ::larder::KeysOf = ::larder::KeysOf::function(
                    ::core::concat!(::core::file!(), ":", ::core::line!()),
                );
                KEYS.instance(|| (), ::larder::Told::#told)
            };
            let #key_name = #text;
            #(#copies)*
            #copied_self
            #cache.claim_keys(&#instance, #shape).#call(&#key_name, move || async move {
                #(#lent)*
                #tags
                #(#ttl)*
                let #work = #body;
                #fetched
            })
            .await
        }
        #beside
    })
}

/// Where what the function returns is kept.
struct Home {
    /// What stands beside the function for it.
    item: TokenStream,
    /// The expression.
    cache: TokenStream,
}

fn home(options: &Options, function: &ItemFn, returned: &Returned) -> Home {
    if let Some(cache) = &options.cache {
        return Home { item: TokenStream::new(), cache: quote!((#cache)) };
    }
    let (kept, name) = (returned.value.kept(), function.sig.ident.to_string());
    // That it does not say what it weighs is told where it stands.
    let builder = quote_spanned!(kept.span()=> ::larder::Cache::<#kept>::builder());
    // An error is the cache's to remember.
    let negative_ttl = options.negative_ttl.as_ref().filter(|_| returned.error.is_some());
    let settings =
        [negative_ttl, options.stale_if_error.as_ref(), options.stale_while_revalidate.as_ref()];
    let settings = settings.into_iter().flatten();
    let settings = settings.map(|Setting { name, value }| quote!(.#name(#value)));
    let cache = quote!(::std::sync::LazyLock<::larder::Cache<#kept>>);
    let built = quote!(::std::sync::LazyLock::new(|| #builder.name(#name) #(#settings)* .build()));
    match &options.own {
        Some(own) => {
            let (vis, about) = (&function.vis, format!("What [`{name}`] returned."));
            let item = quote!(#[doc = #about] #vis static #own: #cache = #built;);
            Home { item, cache: quote!((#own)) }
        }
        None => {
            let cache = quote!({
                static CACHE: #cache = #built;
                &*CACHE
            });
            Home { item: TokenStream::new(), cache }
        }
    }
}

/// The expression that says how `found` is kept.
fn fetched(
    options: &Options,
    value: &Found,
    found: &Ident,
    ttl_name: &Ident,
    tags_name: &Ident,
) -> TokenStream {
    let ttl = |method: TokenStream| options.ttl.iter().map(move |_| quote!(.#method(#ttl_name)));
    let fresh = ttl(quote!(fresh_for));
    let usual = quote!(::larder::Fetched::new(#found) #(#fresh)* .tags(#tags_name));
    match value {
        Found::Value(_) => usual,
        Found::Fetched(_) => {
            let fresh = ttl(quote!(or_fresh_for));
            quote!(#found #(#fresh)* .and_tags(#tags_name))
        }
        Found::Option(_) => {
            let none = match &options.negative_ttl {
                Some(Setting { value, .. }) => {
                    quote!(::larder::Fetched::new(#found).ttl(#value).tags(#tags_name))
                }
                None => quote!(::larder::Fetched::gone(#found)),
            };
            quote!(if ::core::option::Option::is_some(&#found) { #usual } else { #none })
        }
    }
}

/// What the function around the body takes: what is only handed on need not be `mut`.
fn inputs(sig: &Signature, borrowed: &[Borrowed<'_>], is_method: bool) -> Vec<FnArg> {
    let is_handed_on = |ident: &Ident| is_method || borrowed.iter().any(|it| it.is_of(ident));
    let mut inputs: Vec<_> = sig.inputs.iter().cloned().collect();
    for input in &mut inputs {
        match input {
            FnArg::Receiver(receiver) => receiver.mutability = None,
            FnArg::Typed(argument) => {
                if let Pat::Ident(name) = &mut *argument.pat
                    && is_handed_on(&name.ident)
                {
                    name.mutability = None;
                }
            }
        }
    }
    inputs
}

/// What the compiler would say about the expansion, said about the function.
fn check(options: &Options, function: &ItemFn, returned: &Returned) -> Result<()> {
    let has_cache = options.cache.is_some();
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
    if let Some(Setting { name, .. }) = &options.negative_ttl
        && !matches!(returned.value, Found::Option(_))
    {
        let message = match &returned.error {
            None => {
                "there is nothing to remember: the function returns no `Option` and no `Result`"
            }
            Some(_) if has_cache => {
                "how long errors are remembered, this cache's builder says: `Builder::negative_ttl`"
            }
            Some(_) => return Ok(()),
        };
        return Err(Error::new(name.span(), message));
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
