//! Options: what stands in the parentheses of `#[cached(…)]`.

use proc_macro2::Span;
use syn::{
    Error, Expr, Ident, LitStr, Result, Token, parenthesized,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
};

pub(crate) struct Options {
    pub(crate) cache: Option<Expr>,
    pub(crate) key: LitStr,
    pub(crate) ttl_millis: Option<u64>,
    pub(crate) tags: Vec<LitStr>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Options> {
        let (mut cache, mut key, mut ttl_millis, mut tags) = (None, None, None, None);
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            let is_new = match name.to_string().as_str() {
                "cache" => {
                    input.parse::<Token![=]>()?;
                    cache.replace(input.parse::<Expr>()?).is_none()
                }
                "key" => {
                    input.parse::<Token![=]>()?;
                    key.replace(input.parse::<LitStr>()?).is_none()
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
                _ => {
                    let message = "unknown option: there are `cache = …`, `key = \"…\"`, \
                                   `ttl = \"…\"` and `tags(\"…\")`";
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
        let key = key.ok_or_else(|| {
            Error::new(Span::call_site(), "a key is missing, such as `key = \"post:{id}\"`")
        })?;
        Ok(Options { cache, key, ttl_millis, tags: tags.unwrap_or_default() })
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
