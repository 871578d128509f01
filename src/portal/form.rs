//! Reading the forms that are posted to us, bounded, each field once, nothing kept; and what stands in an address.
//!
//! Each field is held against the ones before it. The bytes alone bound that badly: a form of a megabyte has room for half
//! a million names, whose comparison would hold a request thread for minutes (D3).

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use zeroize::Zeroizing;

/// The most fields that are read. Our own longest form, a company's provider, has fifteen; what a provider posts has one or
/// two of ours, and may have some that we do not know.
const FIELDS_MAX: usize = 32;

/// The fields of a posted form. A password may be among them: there is no `Debug`, and the memory is wiped.
pub struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// Reads `application/x-www-form-urlencoded` of at most `bytes_max`.
    ///
    /// Errors: 415 for another media type, 413 for more bytes or fields than that, 400 for a field that is there twice (two readers of the
    /// same form must not read different things).
    pub async fn read(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Self, StatusCode> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let bytes = to_bytes(body, bytes_max).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
        let mut fields: Vec<(String, Zeroizing<String>)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(&bytes) {
            if fields.len() == FIELDS_MAX {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(StatusCode::BAD_REQUEST);
            }
            fields.push((name.into_owned(), Zeroizing::new(value.into_owned())));
        }
        Ok(Self(fields))
    }

    /// A field's value, which may be empty; `None` when the form has no such field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The first value of that name in an address's query.
pub(super) fn query(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    async fn check(kind: &str, body: &str, want: Result<(Option<&str>, Option<&str>), StatusCode>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        let form = Form::read(&headers, Body::from(body.to_owned()), 64).await;
        let got = form.as_ref().map(|form| (form.field("a"), form.field("b"))).map_err(|status| *status);
        assert_eq!(got, want, "{kind} {body}");
    }

    #[tokio::test]
    async fn a_form_is_read_whole_or_refused() {
        const FORM: &str = "application/x-www-form-urlencoded";
        check(FORM, "a=1&b=x%20y%2B+z", Ok((Some("1"), Some("x y+ z")))).await;
        check("Application/X-WWW-Form-Urlencoded; charset=UTF-8", "b=", Ok((None, Some("")))).await;
        check(FORM, "a=1&a=2", Err(StatusCode::BAD_REQUEST)).await;
        check(FORM, &"x".repeat(65), Err(StatusCode::PAYLOAD_TOO_LARGE)).await;
        check("text/plain", "a=1", Err(StatusCode::UNSUPPORTED_MEDIA_TYPE)).await;
        check("application/json", "{}", Err(StatusCode::UNSUPPORTED_MEDIA_TYPE)).await;
    }
    #[tokio::test]
    async fn d3_a_form_of_a_thousand_fields_is_refused_at_the_first_that_no_form_of_ours_has() {
        let read = async |count: usize| {
            let body: String = (0..count).map(|number| format!("f{number}&")).collect();
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            Form::read(&headers, Body::from(body), 1 << 20).await.map(|form| form.0.len())
        };
        assert_eq!(read(FIELDS_MAX).await, Ok(FIELDS_MAX));
        for count in [FIELDS_MAX + 1, 1000, 100_000] {
            assert_eq!(read(count).await, Err(StatusCode::PAYLOAD_TOO_LARGE), "{count}");
        }
    }
}
