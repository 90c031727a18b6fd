//! Expand: the function as it was, inside a call of the cache.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::{
    Error, FnArg, GenericArgument, GenericParam, ItemFn, LitStr, Pat, PathArguments, Result,
    ReturnType, Type, ext::IdentExt, spanned::Spanned,
};

use crate::{
    options::Options,
    template::{Piece, Template},
};

pub(crate) fn expand(options: Options, function: ItemFn) -> Result<TokenStream> {
    check(&function, options.cache.is_some())?;
    let arguments = arguments(&function)?;
    let key = key(&options, &function, &arguments)?;
    let Options { cache, ttl_millis, tags, .. } = &options;
    let ItemFn { attrs, vis, sig, block } = &function;
    let returned = returned(&sig.output)?;
    let (value, call) = match &returned {
        Returned::Plain(value) => (value, quote!(get_or_fetch)),
        Returned::Result { value, .. } => (value, quote!(try_get_or_fetch)),
    };

    // Names of our own that no argument and nothing in the body can mean.
    let ours = |name| Ident::new(name, Span::mixed_site());
    let (key_name, tags_name) = (ours("key"), ours("tags"));
    let (work, found) = (ours("work"), ours("found"));
    let cache = match cache {
        Some(cache) => {
            let name = sig.ident.to_string();
            let shape = key_shape(options.key.as_ref(), function.sig.ident.to_string());
            // A block, so that the body does not see the name.
            quote!((#cache).claim_keys({
                static KEYS: ::larder::KeysOf = ::larder::KeysOf::function(
                    #shape,
                    ::core::concat!(::core::file!(), ":", ::core::line!(), " (", #name, ")"),
                );
                &KEYS
            }))
        }
        None => {
            let name = sig.ident.to_string();
            quote!({
                static CACHE: ::std::sync::LazyLock<::larder::Cache<#value>> =
                    ::std::sync::LazyLock::new(|| ::larder::Cache::builder().name(#name).build());
                &*CACHE
            })
        }
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
            let #key_name = #key;
            #cache.#call(&#key_name, move || async move {
                #tags
                let #work = async move #block;
                #fetched
            })
            .await
        }
    })
}

/// The expression that makes the key.
fn key(options: &Options, function: &ItemFn, arguments: &[Ident]) -> Result<TokenStream> {
    for skipped in &options.skip {
        let is_type = |parameter: &GenericParam| match parameter {
            GenericParam::Type(parameter) => parameter.ident == *skipped,
            GenericParam::Const(parameter) => parameter.ident == *skipped,
            GenericParam::Lifetime(_) => false,
        };
        if !arguments.contains(skipped) && !function.sig.generics.params.iter().any(is_type) {
            let message = format!("there is no argument `{skipped}` to leave out of the key");
            return Err(Error::new(skipped.span(), message));
        }
        if options.key.as_ref().is_some_and(|key| key.has_whole(&skipped.unraw().to_string())) {
            let message = format!("`{skipped}` is in the key, so it is not left out");
            return Err(Error::new(skipped.span(), message));
        }
    }
    match &options.key {
        Some(template) => {
            check_whole(options, template, function, arguments)?;
            Ok(written_key(template))
        }
        None => Ok(usual_key(options, function, arguments)),
    }
}

/// What the body goes by and the key does not tell would be answered with others' values.
fn check_whole(
    options: &Options,
    template: &Template,
    function: &ItemFn,
    arguments: &[Ident],
) -> Result<()> {
    let constants = function.sig.generics.const_params().map(|parameter| &parameter.ident);
    let mut types = function.sig.generics.type_params().map(|parameter| &parameter.ident);
    if let Some(left_out) = types.find(|name| !options.skip.contains(name)) {
        let message = format!(
            "`{left_out}` is not in the key, so calls that differ in it would share one value: leave \
             `key` out (the usual key names types), or write `skip({left_out})` if that is meant"
        );
        return Err(Error::new(left_out.span(), message));
    }
    if let Some(unnamed) = unnamed_type(function) {
        let message = "the type of this argument is not in the key, so calls that differ in it would share \
                       one value: leave `key` out (the usual key names types), or name the type, as \
                       `f<T: …>(argument: T)`, and write `skip(T)` if that is meant";
        return Err(Error::new(unnamed.span(), message));
    }
    for name in arguments.iter().chain(constants) {
        let text = name.unraw().to_string();
        if options.skip.contains(name) || template.has_whole(&text) {
            continue;
        }
        let message = if template.has(&text) {
            format!(
                "`{text}` cannot be told from the key (a precision cuts it, or a width makes ` a` of `a`), \
                 so calls that differ in it would share one value: write it as it is, or `skip({text})` \
                 if that is meant"
            )
        } else {
            format!(
                "`{text}` is not in the key, so calls that differ in it would share one value: name it \
                 in the key, or write `skip({text})` if that is meant"
            )
        };
        return Err(Error::new(name.span(), message));
    }
    Ok(())
}

/// An argument whose type differs from call to call and has no name.
fn unnamed_type(function: &ItemFn) -> Option<&Type> {
    function.sig.inputs.iter().find_map(|input| match input {
        FnArg::Typed(argument) if has_impl(argument.ty.to_token_stream()) => Some(&*argument.ty),
        FnArg::Typed(_) | FnArg::Receiver(_) => None,
    })
}

/// `impl` stands in a type for one without a name, and for nothing else.
fn has_impl(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "impl",
        TokenTree::Group(group) => has_impl(group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// As it was written. An argument that others follow cannot come out as what stands between them.
fn written_key(template: &Template) -> TokenStream {
    let mut format = String::new();
    let mut values = Vec::new();
    for piece in template.pieces() {
        match piece {
            Piece::Text(text) => format.push_str(&text.replace('{', "{{").replace('}', "}}")),
            Piece::Argument { argument, until } => {
                format.push_str("{}");
                // The names in it are the caller's, and errors about them point at the key.
                let written = LitStr::new(&argument.written, template.span());
                let value = quote_spanned!(template.span()=> ::core::format_args!(#written));
                values.push(match until {
                    Some(until) => quote!(::larder::KeyPart::new(#value, #until)),
                    None => value,
                });
            }
        }
    }
    quote!(::std::format!(#format, #(#values),*))
}

/// Module path, function and all arguments, each as its `Debug` says.
fn usual_key(options: &Options, function: &ItemFn, arguments: &[Ident]) -> TokenStream {
    let kept = |name: &&Ident| !options.skip.contains(name);
    let name = &function.sig.ident;
    let types: Vec<_> = function
        .sig
        .generics
        .type_params()
        .map(|parameter| &parameter.ident)
        .filter(kept)
        .collect();
    let constants = function.sig.generics.const_params().map(|parameter| &parameter.ident);
    let values = constants
        .chain(arguments)
        .filter(kept)
        .map(|value| quote!(::larder::KeyPart::new(::core::format_args!("{:?}", #value), ';')));
    let types = types.iter().map(|name| quote!(::core::any::type_name::<#name>()));
    // A type without a name is that of what the argument binds.
    let unnamed = function.sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(argument) if has_impl(argument.ty.to_token_stream()) => {
            let mut names = Vec::new();
            bound(&argument.pat, &mut names).ok()?;
            Some(names)
        }
        FnArg::Typed(_) | FnArg::Receiver(_) => None,
    });
    let unnamed: Vec<_> = unnamed.flatten().filter(|name| kept(&name)).collect();
    let unnamed = unnamed.iter().map(|name| quote!(::core::any::type_name_of_val(&#name)));
    let parts: Vec<_> = types.chain(unnamed).chain(values).collect();
    let format = format!("{{}}::{name}({})", vec!["{}"; parts.len()].join("; "));
    quote!(::std::format!(#format, ::core::module_path!(), #(#parts),*))
}

/// What two functions must not have in common in one cache.
fn key_shape(template: Option<&Template>, function: String) -> TokenStream {
    match template {
        Some(template) => {
            let shape = template.shape();
            quote!(#shape)
        }
        None => quote!(::core::concat!(::core::module_path!(), "::", #function)),
    }
}

/// The names that the body knows its arguments by.
fn arguments(function: &ItemFn) -> Result<Vec<Ident>> {
    let mut names = Vec::new();
    for input in &function.sig.inputs {
        if let FnArg::Typed(argument) = input {
            bound(&argument.pat, &mut names)?;
        }
    }
    Ok(names)
}

fn bound(pattern: &Pat, names: &mut Vec<Ident>) -> Result<()> {
    match pattern {
        Pat::Ident(pattern) => {
            names.push(pattern.ident.clone());
            match &pattern.subpat {
                Some((_, part)) => bound(part, names),
                None => Ok(()),
            }
        }
        Pat::Paren(inner) => bound(&inner.pat, names),
        Pat::Reference(inner) => bound(&inner.pat, names),
        Pat::Tuple(parts) => parts.elems.iter().try_for_each(|part| bound(part, names)),
        Pat::TupleStruct(parts) => parts.elems.iter().try_for_each(|part| bound(part, names)),
        Pat::Slice(parts) => parts.elems.iter().try_for_each(|part| bound(part, names)),
        Pat::Struct(fields) => fields.fields.iter().try_for_each(|field| bound(&field.pat, names)),
        // The body cannot tell what stands there.
        Pat::Wild(_) | Pat::Rest(_) => Ok(()),
        other => {
            let message = "name this argument, and take it apart in the body: its parts are to be in \
                           the key";
            Err(Error::new(other.span(), message))
        }
    }
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
