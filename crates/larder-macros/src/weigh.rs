//! Weigh: a struct or an enum owns what its fields own.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, Field, Fields, Generics, Member, Result, Token,
    Type, parse_quote, spanned::Spanned,
};

/// What a field adds.
enum Part {
    /// What its type says.
    Weigh,
    /// What this function of it says.
    With(Box<Expr>),
    Nothing,
}

pub(crate) fn expand(input: DeriveInput) -> Result<TokenStream> {
    let DeriveInput { ident: name, attrs, mut generics, data, .. } = input;
    refuse(&attrs)?;
    let variants = match data {
        Data::Struct(data) => vec![(quote!(Self), data.fields)],
        Data::Enum(data) => {
            let mut variants = Vec::new();
            for variant in data.variants {
                refuse(&variant.attrs)?;
                let name = &variant.ident;
                variants.push((quote!(Self::#name), variant.fields));
            }
            variants
        }
        Data::Union(data) => {
            let message = "which field of a union holds is not known here, so neither is what it owns: \
                           implement `larder::Weigh` by hand";
            return Err(Error::new(data.union_token.span, message));
        }
    };
    let (mut arms, mut weighed) = (Vec::new(), Vec::new());
    for (variant, fields) in &variants {
        let Arm { bindings, parts } = arm(fields, &mut weighed)?;
        arms.push(quote!(#variant { #bindings .. } => 0_usize #(.saturating_add(#parts))*));
    }
    bind(&mut generics, &weighed);
    let sum = match arms.is_empty() {
        // There is no value of it, and a reference is not known to refer to one.
        true => quote!(match *self {}),
        false => quote!(match self { #(#arms,)* }),
    };
    let (parameters, arguments, bounds) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #parameters ::larder::Weigh for #name #arguments #bounds {
            fn heap_bytes(&self) -> usize {
                #sum
            }
        }
    })
}

/// The fields of one variant.
struct Arm {
    /// Those that add something, in a pattern.
    bindings: TokenStream,
    /// What each of them adds.
    parts: Vec<TokenStream>,
}

fn arm<'f>(fields: &'f Fields, weighed: &mut Vec<&'f Type>) -> Result<Arm> {
    let mut arm = Arm { bindings: TokenStream::new(), parts: Vec::new() };
    for (place, field) in fields.iter().enumerate() {
        let binding = format_ident!("field_{place}");
        // What is wrong with a type is said where it stands.
        let span = field.ty.span();
        arm.parts.push(match part(field)? {
            Part::Nothing => continue,
            Part::With(weigher) => quote!((#weigher)(#binding)),
            Part::Weigh => {
                weighed.push(&field.ty);
                quote_spanned!(span=> ::larder::Weigh::heap_bytes(#binding))
            }
        });
        let member = match &field.ident {
            Some(name) => Member::Named(name.clone()),
            None => Member::from(place),
        };
        arm.bindings.extend(quote!(#member: #binding,));
    }
    Ok(arm)
}

/// What a generic type weighs is known if that is known of the parameters it is made of.
fn bind(generics: &mut Generics, weighed: &[&Type]) {
    for parameter in generics.type_params_mut() {
        if weighed.iter().any(|weighed| names(weighed.to_token_stream(), &parameter.ident)) {
            parameter.bounds.push(parse_quote!(::larder::Weigh));
        }
    }
}

fn names(tokens: TokenStream, name: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => names(group.stream(), name),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

fn part(field: &Field) -> Result<Part> {
    let mut part = Part::Weigh;
    for attribute in field.attrs.iter().filter(is_ours) {
        attribute.parse_nested_meta(|option| {
            if !matches!(part, Part::Weigh) {
                return Err(option.error("one of them says it all"));
            }
            part = if option.path.is_ident("skip") {
                Part::Nothing
            } else if option.path.is_ident("with") {
                option.input.parse::<Token![=]>()?;
                Part::With(Box::new(option.input.parse()?))
            } else {
                return Err(option.error("there are `skip` and `with = a_function`"));
            };
            Ok(())
        })?;
    }
    Ok(part)
}

/// Where it would say nothing.
fn refuse(attributes: &[Attribute]) -> Result<()> {
    match attributes.iter().find(is_ours) {
        Some(attribute) => Err(Error::new(
            attribute.span(),
            "write this above a field: only fields weigh something",
        )),
        None => Ok(()),
    }
}

fn is_ours(attribute: &&Attribute) -> bool {
    attribute.path().is_ident("weigh")
}
