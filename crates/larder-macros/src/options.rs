//! Options: what stands in the parentheses of `#[cached(…)]`.

use syn::{
    Error, Expr, Ident, LitStr, Result, Token,
    ext::IdentExt,
    parenthesized,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
};

use crate::template::Template;

pub(crate) struct Options {
    pub(crate) cache: Option<Expr>,
    pub(crate) key: Option<Template>,
    /// What is left out of the key on purpose.
    pub(crate) skip: Vec<Ident>,
    pub(crate) ttl_millis: Option<u64>,
    pub(crate) tags: Vec<LitStr>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Options> {
        let (mut cache, mut key, mut ttl_millis, mut tags, mut skip) =
            (None, None, None, None, None);
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            let is_new = match name.to_string().as_str() {
                "cache" => {
                    input.parse::<Token![=]>()?;
                    cache.replace(input.parse::<Expr>()?).is_none()
                }
                "key" => {
                    input.parse::<Token![=]>()?;
                    key.replace(Template::parse(&input.parse()?)?).is_none()
                }
                "ttl" => {
                    input.parse::<Token![=]>()?;
                    ttl_millis.replace(millis(&input.parse()?)?).is_none()
                }
                "tags" => {
                    let list;
                    parenthesized!(list in input);
                    let all = Punctuated::<LitStr, Token![,]>::parse_terminated(&list)?;
                    tags.replace(all.into_iter().collect()).is_none()
                }
                "skip" => {
                    let list;
                    parenthesized!(list in input);
                    let all = Punctuated::<Ident, Token![,]>::parse_terminated_with(
                        &list,
                        // `Self` is no name otherwise.
                        Ident::parse_any,
                    )?;
                    skip.replace(all.into_iter().collect()).is_none()
                }
                _ => {
                    let message = "unknown option: there are `cache = …`, `key = \"…\"`, \
                                   `skip(…)`, `ttl = \"…\"` and `tags(\"…\")`";
                    return Err(Error::new(name.span(), message));
                }
            };
            if !is_new {
                return Err(Error::new(name.span(), format!("`{name}` is given twice")));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let (tags, skip) = (tags.unwrap_or_default(), skip.unwrap_or_default());
        Ok(Options { cache, key, skip, ttl_millis, tags })
    }
}

fn millis(text: &LitStr) -> Result<u64> {
    let value = text.value();
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = value.split_at(digits);
    let unit: Option<u64> = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let millis = unit.and_then(|unit| number.parse::<u64>().ok()?.checked_mul(unit));
    millis.ok_or_else(|| {
        Error::new(
            text.span(),
            "no duration: write a whole number with ms, s, m, h or d, as \"5m\"",
        )
    })
}
