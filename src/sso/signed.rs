//! A signed token in its compact form (RFC 7515 section 3.1): header, signature, and only then the claims.
//!
//! Nothing of a token decides how it is verified: algorithm and keys are the provider's, as configured and fetched. Its
//! own words for them (`alg`, `kid`) are compared, those for other places of keys (`jku`, `x5u`, `jwk`, `x5c`) not read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::Object;
use super::{KeySet, SigningAlgorithm, TokenProblem};

/// What changes the meaning of a token for those who understand it. We understand none of it, and so must refuse
/// (RFC 7515 section 4.1.11, RFC 7797, RFC 7516, RFC 7519 section 5.2).
const EXTENSIONS: [&str; 5] = ["crit", "b64", "enc", "zip", "cty"];

/// The claims of a token that was signed by the provider; whether they are meant for us is another question.
///
/// `types`: what `typ` may say, in lower case; it may always be absent.
pub(super) fn verify(
    text: &str,
    bytes_max: usize,
    types: &[&str],
    algorithm: SigningAlgorithm,
    keys: &KeySet,
) -> Result<Object, TokenProblem> {
    if text.len() > bytes_max {
        return Err(TokenProblem::TooLong);
    }
    let (message, signature) = text.rsplit_once('.').ok_or(TokenProblem::NotSigned)?;
    let (header, claims) = message.split_once('.').ok_or(TokenProblem::NotSigned)?;
    // Five parts are an encrypted token (RFC 7516).
    if claims.contains('.') {
        return Err(TokenProblem::NotSigned);
    }
    let header = decode(header).as_deref().and_then(Object::read).ok_or(TokenProblem::BadHeader)?;
    let id = read_header(&header, types, algorithm)?;
    let signature = decode(signature).ok_or(TokenProblem::NotSigned)?;
    keys.verify(algorithm, id, message, &signature)?;
    decode(claims).as_deref().and_then(Object::read).ok_or(TokenProblem::BadClaims)
}

/// Checks the header and returns the key's id.
fn read_header<'a>(
    header: &'a Object,
    types: &[&str],
    algorithm: SigningAlgorithm,
) -> Result<Option<&'a str>, TokenProblem> {
    if header.text("alg")? != Some(algorithm.name()) {
        return Err(TokenProblem::WrongAlgorithm);
    }
    if EXTENSIONS.iter().any(|name| header.has(name)) {
        return Err(TokenProblem::Extension);
    }
    // Media types are compared without regard to case (RFC 7515 section 4.1.9).
    let kind = header.text("typ")?;
    if kind.is_some_and(|kind| !types.iter().any(|allowed| kind.eq_ignore_ascii_case(allowed))) {
        return Err(TokenProblem::WrongType);
    }
    header.text("kid")
}

/// Without padding, without anything but the alphabet, without left-over bits: one spelling a token.
fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}
