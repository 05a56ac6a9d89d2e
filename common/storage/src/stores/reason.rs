//! The reason of a store's error, from what the store and its client say.

use std::error::Error as _;

use datafusion::object_store::Error;

use crate::refusal::without_number;

/// The reason for people, in one line: `object_store` gives the request with its URL, and the answer as XML.
pub(super) fn reason_of(url: &str, error: &Error) -> String {
    let text = error.to_string();
    let reason = match (between(&text, "<Code>", "</Code>"), status_of(&text)) {
        (Some(code), _) => {
            let message = between(&text, "<Message>", "</Message>").unwrap_or_default();
            of_code(url, code).unwrap_or_else(|| format!("{} ({code})", unescaped(message)))
        }
        (None, Some(status)) => of_status(status).unwrap_or_else(|| format!("it answers {status}")),
        (None, None) if text.contains("without LOCATION") => {
            "the bucket is in another region: set `s3.region` or `AWS_REGION`".to_owned()
        }
        (None, None) => root_of(error),
    };
    match retries_of(&text) {
        Some(retries) if retries != "0" => format!("{reason}, after {retries} retries"),
        _ => reason,
    }
}

/// Codes of S3, and of those that speak as S3 does.
fn of_code(url: &str, code: &str) -> Option<String> {
    const KEYS: &str = "`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`";
    Some(match code {
        "NoSuchBucket" => format!("there is no bucket `{url}`"),
        "InvalidAccessKeyId" => {
            "the store does not know the access key: see `AWS_ACCESS_KEY_ID` or `s3.access_key_id`".to_owned()
        }
        "SignatureDoesNotMatch" => {
            "the secret key is not that of the access key: see `AWS_SECRET_ACCESS_KEY` or `s3.secret_access_key`"
                .to_owned()
        }
        "ExpiredToken" | "InvalidToken" => {
            "the session token has expired or is none: see `AWS_SESSION_TOKEN` or `s3.session_token`".to_owned()
        }
        "AccessDenied" => format!("access is denied: see the rights of the keys, {KEYS}"),
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
            "the bucket is in another region: set `s3.region` or `AWS_REGION`".to_owned()
        }
        "SlowDown" | "ServiceUnavailable" | "RequestLimitExceeded" => {
            format!("the store asks for fewer requests ({code})")
        }
        _ => return None,
    })
}

/// Answers without a body, as those to `HEAD` are.
fn of_status(status: &str) -> Option<String> {
    Some(match status.split(' ').next()? {
        "401" => "the credentials are not accepted (401)".to_owned(),
        "403" => {
            "access is denied (403): see the credentials, for S3 `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`"
                .to_owned()
        }
        "404" => "it is not there (404)".to_owned(),
        "429" | "503" => format!("the store asks for fewer requests ({status})"),
        _ => return None,
    })
}

/// The status in the text of `object_store`, such as `403 Forbidden`.
fn status_of(text: &str) -> Option<&str> {
    between(text, "status code: ", ":")
}

fn retries_of(text: &str) -> Option<&str> {
    between(text, "after ", " retries")
}

/// The last cause: `Connection refused` below `error sending request`.
fn root_of(error: &Error) -> String {
    let mut root = error.source();
    while let Some(cause) = root.and_then(std::error::Error::source) {
        root = Some(cause);
    }
    without_number(&root.map_or_else(|| error.to_string(), ToString::to_string))
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    rest.split_once(end).map(|(found, _)| found)
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    text.replace("&apos;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        reason_of("s3://b", &Error::Generic { store: "S3", source: text.into() })
    }

    #[test]
    fn answers_become_reasons() {
        let answer = |status: &str, body: &str| {
            format!(
                "Error performing GET http://h/b in 1ms - Server returned non-2xx status code: {status}: {body}"
            )
        };
        let xml = |code: &str| {
            format!("<Error><Code>{code}</Code><Message>It&apos;s so</Message></Error>")
        };
        for (text, expected) in [
            (answer("404 Not Found", &xml("NoSuchBucket")), "there is no bucket `s3://b`"),
            (answer("403 Forbidden", &xml("InvalidAccessKeyId")), "does not know the access key"),
            (answer("403 Forbidden", &xml("SignatureDoesNotMatch")), "the secret key is not"),
            (answer("400 Bad Request", &xml("Odd")), "It's so (Odd)"),
            (answer("403 Forbidden", ""), "access is denied (403)"),
            (answer("418 I'm a teapot", ""), "it answers 418 I'm a teapot"),
            ("Connection refused (os error 111)".to_owned(), "connection refused"),
        ] {
            assert!(
                reason(&text).starts_with(expected) || reason(&text).contains(expected),
                "{}",
                reason(&text)
            );
        }
        let text = "Error performing PUT http://h/b in 2s, after 10 retries, max_retries: 10, retry_timeout: 60s  - \
                    Server returned non-2xx status code: 503 Service Unavailable: <Code>SlowDown</Code>";
        assert_eq!(reason(text), "the store asks for fewer requests (SlowDown), after 10 retries");
    }
}
