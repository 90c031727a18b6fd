//! Curl: a request as a line for curl has it, which browsers copy.

/// The request of such a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pasted {
    pub(super) url: String,
    pub(super) method: String,
    pub(super) fields: Vec<(String, String)>,
}

/// What `--compressed` asks for.
const COMPRESSED: &str = "deflate, gzip, br, zstd";

/// Options with a value that changes nothing in the request.
const PASSED_OVER: &str = "-o --output -w --write-out -m --max-time --connect-timeout --retry --resolve --connect-to \
    --cacert --capath -E --cert --key -x --proxy --interface -c --cookie-jar -D --dump-header -K --config --ciphers \
    --tls-max --max-redirs --limit-rate -y -Y --dns-servers --unix-socket --stderr --trace --trace-ascii";

/// # Errors
///
/// It says what of the line is not understood.
pub(super) fn read(line: Vec<String>) -> Result<Pasted, String> {
    let line = match &line[..] {
        [one] if one.contains(char::is_whitespace) => words(one)?,
        _ => line,
    };
    let mut words = line.into_iter().peekable();
    words.next_if(|word| word == "curl" || word.ends_with("/curl"));
    let mut pasted = Pasted::default();
    let (mut method, mut has_content, mut is_head, mut is_get) = (None, false, false, false);
    while let Some(word) = words.next() {
        let (option, own) = split(&word);
        let mut value = |option: &str| {
            let value = own.map(str::to_owned).or_else(|| words.next());
            value.ok_or_else(|| format!("{option} has no value in the line for curl"))
        };
        match option {
            "" => url(&mut pasted, &word)?,
            "--url" => url(&mut pasted, &value(option)?)?,
            "-H" | "--header" => {
                let text = value(option)?;
                // `name;` is a field without a value.
                let (name, text) = text
                    .split_once(':')
                    .or_else(|| text.strip_suffix(';').map(|name| (name, "")))
                    .ok_or_else(|| {
                        format!("{option} {text:?} is not a name, a colon and a value")
                    })?;
                pasted.fields.push((name.trim().to_owned(), text.trim().to_owned()));
            }
            "-X" | "--request" => method = Some(value(option)?),
            "-b" | "--cookie" => {
                let text = value(option)?;
                if !text.contains('=') {
                    return Err(format!(
                        "{option} {text:?} is a file of cookies: write them as name=value"
                    ));
                }
                pasted.fields.push(("cookie".to_owned(), text));
            }
            "-A" | "--user-agent" => pasted.fields.push(("user-agent".to_owned(), value(option)?)),
            "-e" | "--referer" => pasted.fields.push(("referer".to_owned(), value(option)?)),
            "-r" | "--range" => {
                let range = format!("bytes={}", value(option)?);
                pasted.fields.push(("range".to_owned(), range));
            }
            "-u" | "--user" => {
                value(option)?;
                // Whose it is makes no difference here, and it is not to be passed around.
                pasted.fields.push(("authorization".to_owned(), "Basic (hidden)".to_owned()));
            }
            "--compressed" => {
                pasted.fields.push(("accept-encoding".to_owned(), COMPRESSED.to_owned()));
            }
            "-d" | "--data" | "--data-raw" | "--data-binary" | "--data-ascii"
            | "--data-urlencode" | "--json" | "-F" | "--form" | "--form-string" | "-T"
            | "--upload-file" => {
                value(option)?;
                has_content = true;
            }
            "-I" | "--head" => is_head = true,
            "-G" | "--get" => is_get = true,
            option if PASSED_OVER.split_whitespace().any(|known| known == option) => {
                value(option)?;
            }
            // What is left of long options are switches about the connection, and what is printed.
            option if option.starts_with("--") => {}
            _ => {
                // Several in one: the last may have a value.
                for letter in word[1..].chars() {
                    match letter {
                        'I' => is_head = true,
                        'G' => is_get = true,
                        _ => {}
                    }
                }
            }
        }
    }
    if pasted.url.is_empty() {
        return Err("there is no URL in the line for curl".to_owned());
    }
    if !pasted.url.contains("://") {
        // As curl takes it.
        pasted.url.insert_str(0, "http://");
    }
    pasted.method = method.unwrap_or_else(|| match (is_head, has_content && !is_get) {
        (true, _) => "HEAD".to_owned(),
        (false, true) => "POST".to_owned(),
        (false, false) => "GET".to_owned(),
    });
    Ok(pasted)
}

fn url(pasted: &mut Pasted, word: &str) -> Result<(), String> {
    if !pasted.url.is_empty() {
        return Err(format!("there are two URLs in the line for curl: {} and {word}", pasted.url));
    }
    pasted.url = word.to_owned();
    Ok(())
}

/// An option, and the value that is written to it without a space. The option is empty where it is none.
fn split(word: &str) -> (&str, Option<&str>) {
    const WITH_VALUE: &str = "HXbAeruodmxwFTcDKEyY";
    if let Some(long) = word.strip_prefix("--") {
        return match long.split_once('=') {
            Some((name, value)) => (&word[..2 + name.len()], Some(value)),
            None => (word, None),
        };
    }
    let mut letters = word.chars();
    match (letters.next(), letters.next()) {
        (Some('-'), Some(letter)) if letter.is_ascii() => {
            let rest = &word[2..];
            let has_value = WITH_VALUE.contains(letter);
            match has_value || rest.is_empty() {
                true => (&word[..2], (!rest.is_empty()).then_some(rest)),
                false => ("-several", None),
            }
        }
        _ => ("", None),
    }
}

/// The words of a line, as a shell takes them.
fn words(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), close) if open == close => quote = None,
            (None | Some('"'), '\\') => match letters.next() {
                // A line that goes on.
                Some('\n') | None => {}
                Some(next) => word.get_or_insert_default().push(next),
            },
            (None, space) if space.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed in the line for curl".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<(String, String, Vec<String>), String> {
        let Pasted { url, method, fields } = read(vec![line.to_owned()])?;
        let fields = fields.into_iter().map(|(name, value)| format!("{name}={value}"));
        Ok((method, url, fields.collect()))
    }

    #[test]
    fn a_line_as_browsers_copy_it_is_a_request() {
        let rows: [(&str, &str, &str, &[&str]); 8] = [
            ("curl https://a.example/", "GET", "https://a.example/", &[]),
            (
                "curl 'https://a.example/p?q=1' \\\n  -H 'accept: text/html' -b 'sid=1; lang=de' --compressed",
                "GET",
                "https://a.example/p?q=1",
                &[
                    "accept=text/html",
                    "cookie=sid=1; lang=de",
                    "accept-encoding=deflate, gzip, br, zstd",
                ],
            ),
            ("curl -sSI a.example/x", "HEAD", "http://a.example/x", &[]),
            ("curl -s -XPURGE https://a.example/", "PURGE", "https://a.example/", &[]),
            ("curl https://a.example/ --data-raw 'a=1'", "POST", "https://a.example/", &[]),
            ("curl -G -d a=1 https://a.example/", "GET", "https://a.example/", &[]),
            (
                "curl -u me:secret -o /dev/null https://a.example/ -H\"x: a \\\"b\\\"\"",
                "GET",
                "https://a.example/",
                &["authorization=Basic (hidden)", "x=a \"b\""],
            ),
            (
                "curl --header=x:1 --url https://a.example/ -r 0-9",
                "GET",
                "https://a.example/",
                &["x=1", "range=bytes=0-9"],
            ),
        ];
        for (line, method, url, fields) in rows {
            let fields: Vec<_> = fields.iter().map(ToString::to_string).collect();
            assert_eq!(of(line), Ok((method.to_owned(), url.to_owned(), fields)), "{line}");
        }
    }

    #[test]
    fn what_is_no_request_is_told() {
        for (line, told) in [
            ("curl -s", "no URL"),
            ("curl a b", "two URLs"),
            ("curl 'a", "not closed"),
            ("curl -H", "no value"),
            ("curl -H x https://a/", "a colon"),
            ("curl -b cookies.txt https://a/", "a file of cookies"),
        ] {
            assert!(of(line).unwrap_err().contains(told), "{line}");
        }
    }
}
