//! The next page of a list, as RFC 8288 names it.

use url::Url;

/// The target of the first link with the relation `next`, resolved against the page it came with.
/// `None` where there is none, or none that is a URL.
pub fn next<'a>(headers: impl IntoIterator<Item = &'a str>, page: &Url) -> Option<Url> {
    headers
        .into_iter()
        .flat_map(links)
        .find(|link| link.is_next())
        .and_then(|link| page.join(link.target).ok())
}

struct Link<'a> {
    target: &'a str,
    parameters: &'a str,
}

impl Link<'_> {
    /// Relations are words in `rel`, which counts where it stands first (RFC 8288 §3.3).
    fn is_next(&self) -> bool {
        let rel = split_outside_quotes(self.parameters, ';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("rel").then(|| value.trim().trim_matches('"'))
        });
        rel.is_some_and(|rel| rel.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("next")))
    }
}

/// The links of one header: `<target>; parameters`, parted by commas that are in no target and no quotes.
fn links(header: &str) -> impl Iterator<Item = Link<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        let parameters = split_outside_quotes(after, ',').next().unwrap_or("");
        rest = after.get(parameters.len()..).unwrap_or("");
        Some(Link { target, parameters })
    })
}

fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c: char| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_of(headers: &[&str]) -> Option<String> {
        let page = "http://127.0.0.1:8701/v1/audit/events?limit=2".parse().unwrap();
        next(headers.iter().copied(), &page).map(|url| url.to_string())
    }

    #[test]
    fn the_relation_is_found_among_others_and_resolved() {
        let there = Some("http://127.0.0.1:8701/v1/audit/events?cursor=a,b".to_owned());
        for headers in [
            &["</v1/audit/events?cursor=a,b>; rel=\"next\""] as &[_],
            &["</v1/audit/events?cursor=a,b>; rel=next"],
            &["<?cursor=a,b>;title=\"a, <b>; rel=prev\";REL=\"last next\""],
            &["</first>; rel=\"first\", <?cursor=a,b>; rel=\"next\", </last>; rel=\"last\""],
            &["</first>; rel=\"first\"", "<?cursor=a,b>; rel=\"next\""],
        ] {
            assert_eq!(next_of(headers), there, "{headers:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(header in "[<>;,=\"a-z/é ]{0,40}|(<x>; *rel=\"?next\"?[,;é]*){0,3}") {
            let _ = next_of(&[&header]);
        }
    }

    #[test]
    fn no_relation_no_page() {
        for header in
            ["", "<", "</x>", "</x>; rel=prev", "</x>; title=\"rel=next\"", "</x>; rel=nextish", "next"]
        {
            assert_eq!(next_of(&[header]), None, "{header:?}");
        }
        assert_eq!(next_of(&["</x>; rel=prev; rel=next"]), None, "only the first rel counts");
    }
}
