//! Expand: the function as it was, inside a call of the cache.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::{
    Error, Expr, FnArg, ItemFn, LitStr, Pat, Result, Safety, Signature, Type, spanned::Spanned,
};

use crate::{
    borrowed::Borrowed,
    key::{self, Key},
    method::{self, Method},
    options::{Options, Setting},
    returned::{Failure, Found, Returned},
    told_at,
};

/// Names of our own that no argument and nothing in the body can mean.
struct Names {
    instance: Ident,
    key: Ident,
    ttl: Ident,
    negative_ttl: Ident,
    tags: Ident,
    work: Ident,
    found: Ident,
}

impl Names {
    fn new() -> Names {
        let ours = |name| Ident::new(name, Span::mixed_site());
        Names {
            instance: ours("instance"),
            key: ours("key"),
            ttl: ours("ttl"),
            negative_ttl: ours("negative_ttl"),
            tags: ours("tags"),
            work: ours("work"),
            found: ours("found"),
        }
    }
}

pub(crate) fn expand(options: Options, function: ItemFn) -> Result<TokenStream> {
    let returned = Returned::of(&function.sig.output);
    check(&options, &function, &returned)?;
    let names = Names::new();
    let method = Method::of(&function)?;
    let Key { told, text, shape } = key::key(&options, &function, &names.instance)?;
    let Home { item, cache } = home(&options, &function, &returned);
    let ItemFn { attrs, vis, sig, block, .. } = &function;
    let borrowed = sig.inputs.iter().enumerate();
    let borrowed = borrowed.map(|(place, input)| Borrowed::of(input, place));
    let borrowed = borrowed.filter_map(Result::transpose).collect::<Result<Vec<_>>>()?;

    // In the caller's hands: `self` and all arguments are there.
    let times = times(&options, &returned, &names);
    let moved = sig.inputs.iter().filter_map(|input| moved(input, &borrowed));
    let copies = borrowed.iter().map(Borrowed::copy).chain(method.iter().map(Method::copy));
    // In the fetch's.
    let lent = borrowed.iter().map(Borrowed::lend);
    let (count, tags) = (options.tags.len(), &options.tags);
    let body = match &method {
        None => quote!(async move #block),
        Some(method) => method.call(sig),
    };
    let (call, fetched) = fetched(&options, &returned, &names);

    let attrs = attrs.iter().filter(|it| method.is_none() || !method::is_of_the_body(it));
    let inputs = inputs(sig, &borrowed, method.is_some());
    let output = output(&returned);
    let beside = method.iter().map(|method| method.uncached(&function));
    let (name, generics, bounds) = (&sig.ident, &sig.generics, &sig.generics.where_clause);
    let Names { instance, key: key_name, tags: tags_name, work, .. } = &names;
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
            fn __is_moved<T: ::core::marker::Send + 'static>(_: &T) {}
            #(#moved)*
            let #key_name = #text;
            #times
            #(#copies)*
            #cache.claim_keys(&#instance, #shape).#call(&#key_name, move || async move {
                #(#lent)*
                // Before the body, which may take what they are made of.
                let #tags_name: [::std::string::String; #count] = [#(::std::format!(#tags)),*];
                let #work = #body;
                #fetched
            })
            .await
        }
        #(#beside)*
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
    let builder = quote_spanned!(told_at(kept.span())=> ::larder::Cache::<#kept>::builder());
    // An error is the cache's to remember.
    let negative_ttl = options.negative_ttl.as_ref().filter(|_| returned.error.is_some());
    let settings =
        [negative_ttl, options.stale_if_error.as_ref(), options.stale_while_revalidate.as_ref()];
    let settings = settings.into_iter().flatten();
    let settings = settings.map(|Setting { name, value }| quote!(.#name(#value)));
    // One that an alias hides is what it is.
    let is_written = !matches!(kept, Type::Path(path) if path.qself.is_some());
    let is_plain = matches!(returned.value, Found::Value(_)) && is_written;
    let check = is_plain.then(|| undisguised(kept));
    let cache = quote!(::std::sync::LazyLock<::larder::Cache<#kept>>);
    let built = quote!(::std::sync::LazyLock::new(|| #builder.name(#name) #(#settings)* .build()));
    match &options.own {
        Some(own) => {
            let (vis, about) = (&function.vis, format!("What [`{name}`] returned."));
            let item = quote! {
                #check
                #[doc = #about]
                #vis static #own: #cache = #built;
            };
            Home { item, cache: quote!((#own)) }
        }
        None => {
            let cache = quote!({
                #check
                static CACHE: #cache = #built;
                &*CACHE
            });
            Home { item: TokenStream::new(), cache }
        }
    }
}

/// Refuses what is kept as a value, and is none.
fn undisguised(kept: &Type) -> TokenStream {
    let message = "this is an `Option` or a `Result` by another name: write it by its own, for otherwise \
                   `None` and errors would be remembered as values are";
    quote_spanned! {told_at(kept.span())=>
        const _: () = {
            #[allow(unused_imports)]
            use ::larder::Undisguised as _;
            ::core::assert!(!::larder::Disguised::<#kept>::IS_ONE, #message)
        };
    }
}

/// What callers get.
fn output(returned: &Returned) -> TokenStream {
    let kept = returned.value.kept();
    match &returned.error {
        None => quote!(#kept),
        Some(Failure { error, .. }) => {
            quote!(::core::result::Result<#kept, ::larder::FetchError<#error>>)
        }
    }
}

/// Makes the times that what is fetched is kept for.
fn times(options: &Options, returned: &Returned, names: &Names) -> TokenStream {
    let time = |name: &Ident, time: &Expr| quote!(let #name: ::core::time::Duration = #time;);
    let negative_ttl = options.negative_ttl.as_ref().filter(|_| returned.value.is_option());
    let negative_ttl = negative_ttl.map(|Setting { value, .. }| time(&names.negative_ttl, value));
    let ttl = options.ttl.as_ref().map(|ttl| time(&names.ttl, ttl));
    quote!(#ttl #negative_ttl)
}

/// Which method of the cache is called, and the expression of what its fetch brings.
fn fetched(options: &Options, returned: &Returned, names: &Names) -> (TokenStream, TokenStream) {
    let (work, found, whole) = (&names.work, &names.found, &returned.whole);
    let kept = kept(options, &returned.value, names);
    match &returned.error {
        None => (
            quote!(get_or_fetch),
            quote!({
                let #found: #whole = #work.await;
                #kept
            }),
        ),
        Some(Failure { span, .. }) => (
            // That it does not say what went wrong is told there.
            quote_spanned!(told_at(*span)=> try_get_or_fetch),
            quote!({
                let #found: #whole = #work.await;
                ::core::result::Result::map(#found, |#found| #kept)
            }),
        ),
    }
}

/// The expression that says how `found` is kept.
fn kept(options: &Options, value: &Found, names: &Names) -> TokenStream {
    let Names { found, ttl, negative_ttl, tags, .. } = names;
    let with_ttl = |method: TokenStream| options.ttl.as_ref().map(|_| quote!(.#method(#ttl)));
    let fresh = with_ttl(quote!(fresh_for));
    let usual = quote!(::larder::Fetched::new(#found) #fresh .tags(#tags));
    match value {
        Found::Value(_) => usual,
        Found::Fetched(_) => {
            let fresh = with_ttl(quote!(or_fresh_for));
            quote!(#found #fresh .and_tags(#tags))
        }
        Found::Option(_) => {
            let none = match &options.negative_ttl {
                Some(_) => quote!(::larder::Fetched::new(#found).ttl(#negative_ttl).tags(#tags)),
                None => quote!(::larder::Fetched::gone(#found)),
            };
            quote!(if ::core::option::Option::is_some(&#found) { #usual } else { #none })
        }
    }
}

/// An argument that cannot be moved into the fetch is told of where it stands.
fn moved(input: &FnArg, borrowed: &[Borrowed<'_>]) -> Option<TokenStream> {
    let FnArg::Typed(argument) = input else { return None };
    let Pat::Ident(name) = &*argument.pat else { return None };
    let (name, span) = (&name.ident, told_at(argument.ty.span()));
    let is_copied = borrowed.iter().any(|it| it.is_of(name));
    (!is_copied).then(|| quote_spanned!(span=> __is_moved(&#name);))
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
        && !returned.value.is_option()
    {
        if returned.error.is_none() {
            let message =
                "there is nothing to remember: the function returns no `Option` and no `Result`";
            return Err(Error::new(name.span(), message));
        }
        if has_cache {
            let message = "how long errors are remembered, this cache's builder says: `Builder::negative_ttl`";
            return Err(Error::new(name.span(), message));
        }
    }
    let has_self = matches!(signature.inputs.first(), Some(FnArg::Receiver(_)));
    let names_self = |tag: &&LitStr| ["{self}", "{self:"].iter().any(|it| tag.value().contains(it));
    if has_self && let Some(tag) = options.tags.iter().find(names_self) {
        let message = "`self` is not there any more when the value gets its tags: return a `Fetched` that has this one";
        return Err(Error::new(tag.span(), message));
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
