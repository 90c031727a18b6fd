//! Glob: patterns in which a star stands for any characters.

/// Whether `name` is what `pattern` stands for, in which `*` stands for any number of characters. Nothing fits an empty name. Its time is at most their lengths multiplied.
pub fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    // Where to go on if what follows the last star does not fit: one character of the name further.
    let mut last_star = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                last_star = Some((at, in_name));
            }
            Some(byte) if *byte == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => match last_star {
                Some((after, from)) => {
                    at = after;
                    in_name = from + 1;
                    last_star = Some((after, in_name));
                }
                None => return false,
            },
        }
    }
    !name.is_empty() && pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_everything_else_for_itself() {
        for (pattern, name, does_fit) in [
            ("_ga", "_ga", true),
            ("_ga", "_GA", false),
            ("_ga", "_gat", false),
            ("_ga", "x_ga", false),
            ("_ga*", "_ga", true),
            ("_ga*", "_gat_UA-1", true),
            ("*_id", "user_id", true),
            ("*_id", "user_id2", false),
            ("a*b*c", "aXbXbYc", true),
            ("a*b*c", "aXcXb", false),
            ("mp_*_mixpanel", "mp_0a1b_mixpanel", true),
            ("mp_*_mixpanel", "mp_0a1b_other", false),
            ("*", "anything", true),
            // Without a name there is nothing to go by.
            ("*", "", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), does_fit, "{pattern} {name}");
        }
        // Long runs of stars and near misses take no long time.
        assert!(!fits("*a".repeat(2000).as_bytes(), "a".repeat(1999).as_bytes()));
    }
}
