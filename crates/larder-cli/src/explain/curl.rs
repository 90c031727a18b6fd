//! Curl: a request as a line for curl has it, which browsers copy.
//!
//! The console's Explain reads such lines as well: `curl.vectors.json` beside its parser says for both what a line means.

use std::collections::VecDeque;

use form_urlencoded::byte_serialize;

/// The request of such a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pasted {
    pub(super) url: String,
    pub(super) method: String,
    pub(super) fields: Vec<(String, String)>,
    /// What of the line is not looked at, though it may matter.
    pub(super) left_out: Vec<String>,
}

/// What `--compressed` asks for.
const COMPRESSED: &str = "deflate, gzip, br, zstd";

/// Long options with a value that changes nothing in the request, or nothing that is looked at.
const PASSED_OVER: &str = "abstract-unix-socket alt-svc aws-sigv4 cacert capath cert cert-type ciphers config \
    connect-timeout connect-to continue-at cookie-jar create-file-mode crlfile curves delegation \
    dns-interface dns-ipv4-addr dns-ipv6-addr dns-servers doh-url dump-header ech egd-file engine \
    etag-compare etag-save expect100-timeout ftp-account ftp-alternative-to-user ftp-method \
    ftp-port ftp-ssl-ccc-mode happy-eyeballs-timeout-ms haproxy-clientip hostpubmd5 hostpubsha256 \
    hsts interface ip-tos ipfs-gateway keepalive-cnt keepalive-time key key-type krb libcurl \
    limit-rate local-port login-options mail-auth mail-from mail-rcpt max-filesize max-redirs \
    max-time netrc-file noproxy output output-dir parallel-max pass pinnedpubkey preproxy proto \
    proto-default proto-redir proxy proxy-cacert proxy-capath proxy-cert proxy-cert-type \
    proxy-ciphers proxy-crlfile proxy-header proxy-key proxy-key-type proxy-pass \
    proxy-pinnedpubkey proxy-service-name proxy-tls13-ciphers proxy-tlsauthtype proxy-tlspassword \
    proxy-tlsuser proxy-user proxy1.0 pubkey quote random-file rate request-target resolve retry \
    retry-delay retry-max-time sasl-authzid service-name socks4 socks4a socks5 \
    socks5-gssapi-service socks5-hostname speed-limit speed-time stderr telnet-option tftp-blksize \
    time-cond tls-max tls13-ciphers tlsauthtype tlspassword tlsuser trace trace-ascii trace-config \
    unix-socket url-query variable vlan-priority write-out";

/// Options of one letter with a value.
const SHORT_WITH_VALUE: &str = "ACDEFHKPQTUXYbcdemortuwxyz";

/// # Errors
///
/// It says what of the line is not understood.
pub(super) fn read(line: Vec<String>) -> Result<Pasted, String> {
    let line = match &line[..] {
        [one] if one.contains(char::is_whitespace) => words(one)?,
        _ => line,
    };
    let mut rest: VecDeque<String> = line.into();
    let is_program = |word: &String| {
        let name = word.rsplit('/').next().unwrap_or_default();
        word == "$" || name == "curl" || name == "curl.exe"
    };
    while rest.front().is_some_and(is_program) {
        rest.pop_front();
    }
    let mut pasted = Pasted::default();
    let (mut method, mut data, mut has_content) = (None, Vec::new(), false);
    let (mut is_head, mut is_get) = (false, false);
    while let Some(word) = rest.pop_front() {
        let (option, own) = split(&word, &mut rest);
        let mut value = || {
            let value = own.clone().or_else(|| rest.pop_front());
            value.ok_or_else(|| format!("{option} has no value in the line for curl"))
        };
        let fields = &mut pasted.fields;
        let mut add = |name: &str, value: String| fields.push((name.to_owned(), value));
        match option.as_str() {
            "" => url(&mut pasted, &word)?,
            "--url" => url(&mut pasted, &value()?)?,
            "-H" | "--header" => {
                if let Some((name, value)) = field(&value()?) {
                    add(&name, value);
                }
            }
            "-X" | "--request" => method = Some(value()?),
            "-b" | "--cookie" => {
                let text = value()?;
                match text.contains('=') {
                    true => add("cookie", text),
                    // Without a sign between it is the name of a file.
                    false => pasted.left_out.push(format!("the cookies in {text}")),
                }
            }
            "-A" | "--user-agent" => add("user-agent", value()?),
            "-e" | "--referer" => add("referer", value()?),
            "-r" | "--range" => add("range", format!("bytes={}", value()?)),
            // Whose they are makes no difference here, and they are not to be passed around.
            "-u" | "--user" => {
                value()?;
                add("authorization", "Basic (hidden)".to_owned());
            }
            "--oauth2-bearer" => {
                value()?;
                add("authorization", "Bearer (hidden)".to_owned());
            }
            "--compressed" => add("accept-encoding", COMPRESSED.to_owned()),
            "-d" | "--data" | "--data-raw" | "--data-binary" | "--data-ascii" => {
                data.push(value()?)
            }
            "--data-urlencode" => data.push(encoded(&value()?)),
            "--json" => {
                data.push(value()?);
                add("content-type", "application/json".to_owned());
                add("accept", "application/json".to_owned());
            }
            "-F" | "--form" | "--form-string" | "-T" | "--upload-file" => {
                value()?;
                has_content = true;
            }
            "-I" | "--head" => is_head = true,
            "-G" | "--get" => is_get = true,
            "--url-query" => pasted.left_out.push(format!("--url-query {}", value()?)),
            long if long.strip_prefix("--").is_some_and(is_passed_over) => {
                value()?;
            }
            short
                if short
                    .strip_prefix('-')
                    .is_some_and(|letter| SHORT_WITH_VALUE.contains(letter)) =>
            {
                value()?;
            }
            // The others are switches about the connection, and what is printed.
            _ => {}
        }
    }
    if pasted.url.is_empty() {
        return Err("there is no URL in the line for curl".to_owned());
    }
    if !pasted.url.contains("://") {
        // As curl takes it.
        pasted.url.insert_str(0, "http://");
    }
    if is_get && !data.is_empty() {
        pasted.url.push(if pasted.url.contains('?') { '&' } else { '?' });
        pasted.url.push_str(&data.join("&"));
    }
    has_content |= !data.is_empty();
    pasted.method = method.unwrap_or_else(|| match (is_head, has_content && !is_get) {
        (true, _) => "HEAD".to_owned(),
        (false, true) => "POST".to_owned(),
        (false, false) => "GET".to_owned(),
    });
    Ok(pasted)
}

fn is_passed_over(name: &str) -> bool {
    PASSED_OVER.split_whitespace().any(|known| known == name)
}

fn url(pasted: &mut Pasted, word: &str) -> Result<(), String> {
    if !pasted.url.is_empty() {
        return Err(format!("there are two URLs in the line for curl: {} and {word}", pasted.url));
    }
    pasted.url = word.to_owned();
    Ok(())
}

/// `name: value`; `name;` is a field without a value. `name:` and what is no field send none.
fn field(text: &str) -> Option<(String, String)> {
    let (name, value) = match text.split_once(':') {
        Some((name, value)) => (name, Some(value.trim()).filter(|value| !value.is_empty())?),
        None => (text.trim_end().strip_suffix(';')?, ""),
    };
    Some((name.trim().to_owned(), value.to_owned()))
}

/// What `--data-urlencode` sends: `name=content`, of which the content is encoded, or content alone.
fn encoded(text: &str) -> String {
    let (name, content) = match text.split_once('=') {
        Some((name, content)) => (name, content),
        None => ("", text),
    };
    let content = byte_serialize(content.as_bytes()).collect::<String>().replace('+', "%20");
    if name.is_empty() { content } else { format!("{name}={content}") }
}

/// An option, and the value that is written to it without a space. The option is empty where it is none. Letters in one word
/// are options of their own: those behind the first go back to the rest.
fn split(word: &str, rest: &mut VecDeque<String>) -> (String, Option<String>) {
    if word == "--" {
        return ("--".to_owned(), None);
    }
    if word.starts_with("--") {
        return match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word.to_owned(), None),
        };
    }
    let Some(letter) = word.strip_prefix('-').and_then(|letters| letters.chars().next()) else {
        return (String::new(), None);
    };
    let behind = &word[1 + letter.len_utf8()..];
    let own = match (behind.is_empty(), SHORT_WITH_VALUE.contains(letter)) {
        (true, _) => None,
        (false, true) => Some(behind.to_owned()),
        (false, false) => {
            rest.push_front(format!("-{behind}"));
            None
        }
    };
    (format!("-{letter}"), own)
}

/// The words of a line, as a shell takes them.
fn words(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, '$') if letters.peek() == Some(&'\'') => {
                letters.next();
                word.get_or_insert_default().push_str(&escaped(&mut letters)?);
            }
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), close) if open == close => quote = None,
            // A line that goes on, as Windows has it.
            (None, '^') if letters.peek() == Some(&'\n') => {
                letters.next();
            }
            (None | Some('"'), '\\') => match letters.next() {
                // A line that goes on.
                Some('\n') | None => {}
                Some(next) => {
                    let word = word.get_or_insert_default();
                    if quote.is_some() && !"\"\\$`".contains(next) {
                        word.push('\\');
                    }
                    word.push(next);
                }
            },
            (None, space) if space.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err(NOT_CLOSED.to_owned());
    }
    words.extend(word);
    Ok(words)
}

const NOT_CLOSED: &str = "a quote is not closed in the line for curl";

/// What stands between `$'` and `'`.
fn escaped(letters: &mut impl Iterator<Item = char>) -> Result<String, String> {
    let mut text = String::new();
    loop {
        let letter = match letters.next().ok_or(NOT_CLOSED)? {
            '\'' => return Ok(text),
            '\\' => match letters.next().ok_or(NOT_CLOSED)? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                coded @ ('u' | 'x') => {
                    let digits = letters.take(if coded == 'u' { 4 } else { 2 }).collect::<String>();
                    let number = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                    number.unwrap_or(char::REPLACEMENT_CHARACTER)
                }
                other => other,
            },
            letter => letter,
        };
        text.push(letter);
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// What both parsers are tried by.
    #[derive(Deserialize)]
    struct Vectors {
        requests: Vec<Request>,
        refused: Vec<String>,
        /// Options with a value that changes nothing in the request.
        valued: Vec<String>,
    }

    #[derive(Deserialize)]
    struct Request {
        line: String,
        method: String,
        url: String,
        headers: Vec<(String, String)>,
    }

    fn vectors() -> Vectors {
        let text = include_str!("../../../../web/src/features/console/explain/curl.vectors.json");
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_line_is_the_request_that_the_console_makes_of_it_as_well() {
        for Request { line, method, url, headers } in vectors().requests {
            let pasted = read(vec![line.clone()]).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(
                (pasted.method, pasted.url, pasted.fields),
                (method, url, headers),
                "{line}"
            );
        }
    }

    #[test]
    fn words_that_a_shell_has_split_are_the_same() {
        let words = ["curl", "-so", "/dev/null", "-H", "x: 'a'", "https://a.example/"];
        let pasted = read(words.map(str::to_owned).into()).unwrap();
        assert_eq!(pasted.fields, [("x".to_owned(), "'a'".to_owned())]);
    }

    #[test]
    fn an_option_takes_its_value_along() {
        for option in vectors().valued {
            let line = format!("curl {option} value https://a.example/");
            let pasted = read(vec![line.clone()]).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(
                (pasted.url.as_str(), pasted.fields.len()),
                ("https://a.example/", 0),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_no_request_is_told() {
        for line in vectors().refused {
            assert!(read(vec![line.clone()]).is_err(), "{line}");
        }
        let left_out =
            read(vec!["curl -b jar.txt https://a.example/".to_owned()]).unwrap().left_out;
        assert_eq!(left_out, ["the cookies in jar.txt"]);
    }
}
