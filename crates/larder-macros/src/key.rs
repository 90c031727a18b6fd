//! Key: what tells two calls apart, or a refusal where something would not.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::{
    Error, FnArg, ItemFn, LitStr, Pat, PatType, Result, Type, ext::IdentExt, spanned::Spanned,
};

use crate::{
    options::Options,
    template::{Argument, Piece, Template, Whole, is_delimiter},
};

/// What the expansion says about keys.
pub(crate) struct Key {
    /// The variant of `larder::Told`.
    pub(crate) told: TokenStream,
    /// The expression that makes the key.
    pub(crate) text: TokenStream,
    /// What two functions, or one with other types, must not have in common in one cache.
    pub(crate) shape: TokenStream,
}

/// `instance` is the name of the `larder::Instance`.
pub(crate) fn key(options: &Options, function: &ItemFn, instance: &Ident) -> Result<Key> {
    let parameters = Parameters::of(options, function)?;
    check_skipped(options, &parameters)?;
    let is_skipped = |name: &Ident| options.skip.contains(name);
    let itself = options.skip.iter().find(|name| *name == "Self");
    let told = match itself {
        Some(_) => quote!(Nothing),
        None if parameters.generic().any(is_skipped) => quote!(Around),
        None => quote!(All),
    };
    let (text, shape) = match &options.key {
        Some(template) => {
            check_whole(options, template, &parameters)?;
            (written(options, template, &parameters), written_shape(template, &parameters))
        }
        None => usual(options, function, &parameters, instance),
    };
    // Says where it stands that there is no such type, if there is none.
    let text = match itself {
        Some(itself) => quote!({
            let _ = ::core::any::type_name::<#itself>;
            #text
        }),
        None => text,
    };
    Ok(Key { told, text, shape })
}

/// What a function is called with.
struct Parameters {
    types: Vec<Ident>,
    constants: Vec<Ident>,
    /// The names that the body knows its arguments by.
    arguments: Vec<Ident>,
    /// Those of them that are whole numbers, as far as can be seen.
    numbers: Vec<Ident>,
    /// Those of them whose type is an `impl Trait`.
    unnamed: Vec<Ident>,
    /// The first `impl Trait`.
    unnamed_type: Option<Type>,
    /// Whether it is a method.
    has_self: bool,
}

impl Parameters {
    /// # Errors
    ///
    /// An argument without a name, and a method without a key: nobody knows what of `self` its body goes by.
    fn of(options: &Options, function: &ItemFn) -> Result<Parameters> {
        let generics = &function.sig.generics;
        let (mut arguments, mut numbers) = (Vec::new(), Vec::new());
        let (mut unnamed, mut unnamed_type) = (Vec::new(), None);
        let mut has_self = false;
        for input in &function.sig.inputs {
            let argument = match input {
                FnArg::Typed(argument) => argument,
                FnArg::Receiver(receiver) => {
                    if options.key.is_none() {
                        let message = "a method needs a `key = \"…\"`: what of `self` its body goes by cannot \
                                       be seen here";
                        return Err(Error::new(receiver.span(), message));
                    }
                    has_self = true;
                    // What is kept in `self` is not shared with another.
                    if !options
                        .cache
                        .as_ref()
                        .is_some_and(|cache| names_self(cache.to_token_stream()))
                    {
                        arguments.push(Ident::new("self", receiver.self_token.span));
                    }
                    continue;
                }
            };
            let known = arguments.len();
            numbers.extend(number(argument));
            bound(&argument.pat, &mut arguments)?;
            if has_impl(argument.ty.to_token_stream()) {
                unnamed.extend_from_slice(&arguments[known..]);
                unnamed_type.get_or_insert_with(|| (*argument.ty).clone());
            }
        }
        Ok(Parameters {
            types: generics.type_params().map(|parameter| parameter.ident.clone()).collect(),
            constants: generics.const_params().map(|parameter| parameter.ident.clone()).collect(),
            arguments,
            numbers,
            unnamed,
            unnamed_type,
            has_self,
        })
    }

    /// Those by which one function is many.
    fn generic(&self) -> impl Iterator<Item = &Ident> {
        self.types.iter().chain(&self.constants).chain(&self.unnamed)
    }

    fn all(&self) -> impl Iterator<Item = &Ident> {
        self.types.iter().chain(&self.constants).chain(&self.arguments)
    }

    /// The type that a key means with this name.
    fn type_named(&self, name: &str) -> Option<Ident> {
        let itself = || (name == "Self").then(|| Ident::new(name, proc_macro2::Span::call_site()));
        self.types.iter().find(|parameter| is_named(parameter, name)).cloned().or_else(itself)
    }
}

/// Of a type that the compiler knows, and not taken apart.
fn number(argument: &PatType) -> Option<Ident> {
    const NUMBERS: [&str; 12] =
        ["u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize"];
    let (Pat::Ident(pattern), Type::Path(path)) = (&*argument.pat, &*argument.ty) else {
        return None;
    };
    let known = path.path.get_ident()?;
    NUMBERS.iter().any(|number| known == number).then(|| pattern.ident.clone())
}

fn is_named(ident: &Ident, name: &str) -> bool {
    ident.unraw() == name
}

fn check_skipped(options: &Options, parameters: &Parameters) -> Result<()> {
    for (place, skipped) in options.skip.iter().enumerate() {
        let name = skipped.unraw().to_string();
        let is_itself = skipped == "Self" || (skipped == "self" && parameters.has_self);
        let message = if !is_itself && !parameters.all().any(|known| known == skipped) {
            format!("there is no argument `{name}` to leave out of the key")
        } else if options.skip[..place].contains(skipped) {
            format!("`{name}` is left out already")
        } else if options.key.as_ref().is_some_and(|key| key.has_whole(&name)) {
            format!("`{name}` is in the key, so it is not left out")
        } else {
            continue;
        };
        return Err(Error::new(skipped.span(), message));
    }
    Ok(())
}

/// What the body goes by and the key does not tell would be answered with others' values.
fn check_whole(options: &Options, template: &Template, parameters: &Parameters) -> Result<()> {
    let is_type = |argument: &&Argument| parameters.type_named(&argument.name).is_some();
    if let Some(Argument { name, written, .. }) =
        template.arguments().filter(is_type).find(|argument| !argument.is_plain())
    {
        let message = format!(
            "`{name}` is a type, of which only the name is in the key: write `{{{name}}}`, not `{written}`"
        );
        return Err(Error::new(template.span(), message));
    }
    let is_left_out = |name: &&Ident| {
        !options.skip.contains(name) && !template.has_whole(&name.unraw().to_string())
    };
    if let Some(left_out) = parameters.types.iter().find(is_left_out) {
        let message = format!(
            "`{left_out}` is not in the key, so calls that differ in it would share one value: write \
             `{{{left_out}}}` in the key, leave `key` out (the usual key names types), or write \
             `skip({left_out})` if that is meant"
        );
        return Err(Error::new(left_out.span(), message));
    }
    if let Some(unnamed) = &parameters.unnamed_type {
        let message = "the type of this argument is not in the key, so calls that differ in it would share \
                       one value: leave `key` out (the usual key names types), or name the type, as \
                       `f<T: …>(argument: T)`, and write `{T}` in the key, or `skip(T)` if that is meant";
        return Err(Error::new(unnamed.span(), message));
    }
    if let Some(name) = parameters.arguments.iter().chain(&parameters.constants).find(is_left_out) {
        let text = name.unraw().to_string();
        let message = if *name == "self" && !template.has("self") {
            "`self` is not in the key, so two values would share theirs: keep them in it, as \
             `cache = self.posts`, name it in the key, or write `skip(self)` if all of them return the same"
                .to_owned()
        } else if template.has(&text) {
            format!(
                "`{text}` cannot be told from the key (a precision cuts it, a width makes ` a` of `a`, and \
                 an address is soon another's), so calls that differ in it would share one value: write it \
                 as it is, or `skip({text})` if that is meant"
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

/// As it was written. What stands beside an argument cannot come out of it.
fn written(options: &Options, template: &Template, parameters: &Parameters) -> TokenStream {
    let mut format = String::new();
    let mut values = Vec::new();
    for piece in template.pieces() {
        match piece {
            Piece::Text(text) => format.push_str(&braced(text)),
            Piece::Argument { argument, borders } => {
                format.push_str("{}");
                let value = match parameters.type_named(&argument.name) {
                    Some(named) => type_name(&named, template),
                    None => {
                        // The names in it are the caller's, and errors about them point at the key.
                        let written = LitStr::new(&argument.written, template.span());
                        quote_spanned!(template.span()=> ::core::format_args!(#written))
                    }
                };
                values.push(match is_number(argument, &borders, parameters) {
                    true => value,
                    false => encoded(value, &borders),
                });
            }
        }
    }
    // Behind zeros a number can be told, and nothing else.
    let is_zeroed = |name: &&Ident| {
        !options.skip.contains(name)
            && template.whole(&name.unraw().to_string()) == Some(Whole::IfNumber)
    };
    let zeroed = parameters.arguments.iter().chain(&parameters.constants).filter(is_zeroed);
    let zeroed =
        zeroed.map(|name| quote_spanned!(name.span()=> ::larder::ZeroPadded::is_told(&#name);));
    quote!({
        #(#zeroed)*
        ::std::format!(#format, #(#values),*)
    })
}

/// Whether digits come out and a minus sign, none of which is a border.
fn is_number(argument: &Argument, borders: &[char], parameters: &Parameters) -> bool {
    argument.is_plain()
        && parameters.numbers.iter().any(|number| is_named(number, &argument.name))
        && !borders.iter().any(|border| *border == '-' || border.is_ascii_digit())
}

fn encoded(value: TokenStream, borders: &[char]) -> TokenStream {
    borders.iter().fold(value, |value, border| quote!(::larder::KeyPart::new(#value, #border)))
}

/// Which keys can come out while the types are the same.
fn written_shape(template: &Template, parameters: &Parameters) -> TokenStream {
    let pieces = template.pieces().map(|piece| match piece {
        Piece::Text(text) => quote!(.text(#text)),
        Piece::Argument { argument, borders } => {
            let is_constant = |constant: &Ident| is_named(constant, &argument.name);
            if let Some(named) = parameters.type_named(&argument.name) {
                let name = encoded(type_name(&named, template), &borders);
                quote!(.text(#name))
            } else if parameters.constants.iter().any(is_constant) {
                let written = LitStr::new(&argument.written, template.span());
                let constant = encoded(quote!(::core::format_args!(#written)), &borders);
                quote!(.text(#constant))
            } else if is_number(argument, &borders, parameters) {
                quote!(.number())
            } else {
                let without = borders.iter().filter(|border| is_delimiter(**border));
                quote!(.any(&[#(#without),*]))
            }
        }
    });
    quote!(|| ::larder::KeyShape::new() #(#pieces)*)
}

fn braced(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

fn type_name(named: &Ident, template: &Template) -> TokenStream {
    let named = Ident::new(
        &named.to_string(),
        if named == "Self" { template.span() } else { named.span() },
    );
    quote!(::core::any::type_name::<#named>())
}

/// The function with its types, and all arguments, each as its `Debug` says: text and shape.
fn usual(
    options: &Options,
    function: &ItemFn,
    parameters: &Parameters,
    instance: &Ident,
) -> (TokenStream, TokenStream) {
    let kept = |name: &&Ident| !options.skip.contains(name);
    let name = match options.skip.iter().any(|skipped| skipped == "Self") {
        // Without the types around it.
        true => {
            let function = function.sig.ident.unraw().to_string();
            quote!(::core::concat!(::core::module_path!(), "::", #function))
        }
        false => quote!(#instance.name()),
    };
    // Where all are told, they are in the name.
    let has_types_left_out = options.skip.iter().any(|skipped| {
        skipped == "Self" || parameters.generic().any(|parameter| parameter == skipped)
    });
    let parts: Vec<_> = if has_types_left_out {
        let types = parameters.types.iter().filter(kept);
        let types = types.map(|name| quote!(::core::any::type_name::<#name>()));
        let unnamed = parameters.unnamed.iter().filter(kept);
        let unnamed = unnamed.map(|name| quote!(::core::any::type_name_of_val(&#name)));
        let constants = parameters.constants.iter().filter(kept).map(value);
        types.chain(unnamed).chain(constants).collect()
    } else {
        Vec::new()
    };
    let parts: Vec<_> =
        parts.into_iter().chain(parameters.arguments.iter().filter(kept).map(value)).collect();
    let format = format!("{{}}({})", vec!["{}"; parts.len()].join("; "));
    (
        quote!(::std::format!(#format, #name, #(#parts),*)),
        quote!(|| ::larder::KeyShape::new().text(#name).text("(").any(&[]).text(")")),
    )
}

fn value(name: &Ident) -> TokenStream {
    quote!(::larder::KeyPart::new(::core::format_args!("{:?}", #name), ';'))
}

fn names_self(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "self",
        TokenTree::Group(group) => names_self(group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
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
