//! Options: what stands in the parentheses of `#[cached(…)]`.

use syn::{
    Error, Expr, ExprLit, Ident, Lit, LitStr, Result, Token,
    ext::IdentExt,
    parenthesized,
    parse::{Parse, ParseStream},
    parse_quote,
    punctuated::Punctuated,
};

use crate::template::Template;

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) cache: Option<Expr>,
    /// The name of a cache of the function's own, for others.
    pub(crate) own: Option<Ident>,
    pub(crate) key: Option<Template>,
    /// What is left out of the key on purpose.
    pub(crate) skip: Vec<Ident>,
    /// An expression of type `Duration`, as all of these.
    pub(crate) ttl: Option<Expr>,
    pub(crate) negative_ttl: Option<Setting>,
    pub(crate) stale_if_error: Option<Setting>,
    pub(crate) stale_while_revalidate: Option<Setting>,
    pub(crate) tags: Vec<LitStr>,
}

/// What is said of a cache of the function's own.
pub(crate) struct Setting {
    pub(crate) name: Ident,
    pub(crate) value: Expr,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Options> {
        let mut options = Options::default();
        let mut seen: Vec<Ident> = Vec::new();
        while !input.is_empty() {
            // `static` is no name otherwise.
            let name = Ident::parse_any(input)?;
            options.read(&name, input)?;
            if seen.contains(&name) {
                return Err(Error::new(name.span(), format!("`{name}` is given twice")));
            }
            seen.push(name);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        options.check(&seen)?;
        Ok(options)
    }
}

impl Options {
    fn read(&mut self, name: &Ident, input: ParseStream<'_>) -> Result<()> {
        match name.to_string().as_str() {
            "cache" => self.cache = Some(after_sign(input)?),
            "static" => self.own = Some(input.parse()?),
            "key" => self.key = Some(Template::parse(&after_sign(input)?)?),
            "ttl" => self.ttl = Some(duration(after_sign(input)?)?),
            "negative_ttl" => self.negative_ttl = Some(Setting::read(name, input)?),
            "stale_if_error" => self.stale_if_error = Some(Setting::read(name, input)?),
            "stale_while_revalidate" => {
                self.stale_while_revalidate = Some(Setting::read(name, input)?);
            }
            "tags" => {
                let list;
                parenthesized!(list in input);
                let all = Punctuated::<LitStr, Token![,]>::parse_terminated(&list)?;
                self.tags = all.into_iter().collect();
            }
            "skip" => {
                let list;
                parenthesized!(list in input);
                // `Self` and `self` are no names otherwise.
                let all =
                    Punctuated::<Ident, Token![,]>::parse_terminated_with(&list, Ident::parse_any)?;
                self.skip = all.into_iter().collect();
            }
            _ => {
                let message = "unknown option: there are `cache = …`, `static NAME`, `key = \"…\"`, `skip(…)`, \
                               `ttl = …`, `negative_ttl = …`, `stale_if_error = …`, `stale_while_revalidate = …` \
                               and `tags(\"…\")`";
                return Err(Error::new(name.span(), message));
            }
        }
        Ok(())
    }

    /// What is said of a cache can be said of one that is made here only.
    fn check(&self, seen: &[Ident]) -> Result<()> {
        if self.cache.is_none() {
            return Ok(());
        }
        if let Some(name) = seen.iter().find(|name| *name == "static") {
            let message =
                "a function has one cache: of its own, `static NAME`, or another, `cache = …`";
            return Err(Error::new(name.span(), message));
        }
        match [&self.stale_if_error, &self.stale_while_revalidate].into_iter().flatten().next() {
            Some(Setting { name, .. }) => {
                let message = format!(
                    "`{name}` is for a cache of the function's own: of this one its builder says it"
                );
                Err(Error::new(name.span(), message))
            }
            None => Ok(()),
        }
    }
}

impl Setting {
    fn read(name: &Ident, input: ParseStream<'_>) -> Result<Setting> {
        Ok(Setting { name: name.clone(), value: duration(after_sign(input)?)? })
    }
}

fn after_sign<T: Parse>(input: ParseStream<'_>) -> Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

/// `"5m"`, or what is a `Duration` already.
fn duration(written: Expr) -> Result<Expr> {
    let Expr::Lit(ExprLit { lit, .. }) = &written else { return Ok(written) };
    let millis = match lit {
        Lit::Str(text) => millis(&text.value()),
        _ => None,
    };
    let Some(millis) = millis else {
        let message = "no duration: write a whole number with ms, s, m, h or d, as \"5m\", or a constant of type \
                       `Duration`";
        return Err(Error::new(lit.span(), message));
    };
    Ok(parse_quote!(::core::time::Duration::from_millis(#millis)))
}

fn millis(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}
