//! What makes the answer of an identity provider acceptable: the relying party of OpenID Connect, without its sockets.
//!
//! A provider is believed about its own tenant's people and about nothing else. Everything it says arrives here as
//! bytes, and leaves as a type that could not have been made of a wrong answer: metadata whose issuer is the one that
//! was configured, keys that are strong enough, an ID token that is signed, meant for us and fresh.
//!
//! *Why not the crate `openidconnect`?* It verifies with the `rsa`, `p256` and `ed25519-dalek` crates, which are a second
//! crypto stack (one of them with RUSTSEC-2023-0071), and it leaves to its caller most of what the stricter outcome
//! asks for: the age of a token, `azp`, other audiences, `at_hash`, the pinned algorithm, `iss` of RFC 9207, log-out
//! tokens. What it would take off us is the shape of some JSON. Signatures are verified by aws-lc-rs (`keys` says why not
//! by way of `jsonwebtoken`).

mod callback;
mod claims;
mod hint;
mod json;
mod keys;
mod logout;
mod metadata;
mod outbound;
mod proof;
mod roster;
mod settings;
mod signed;
mod suite;
mod ticket;
mod token;
mod transaction;

pub use callback::{Answer, AnswerError, Callback, CallbackProblem, authorization_url, check_issuer};
pub use claims::{ClaimProblem, display_name, username, verified_email};
pub use hint::IdTokenHint;
pub use keys::{KeyProblem, KeySet};
pub use logout::LogoutToken;
pub use metadata::{Metadata, MetadataProblem};
pub use outbound::{OUTBOUND_TIMEOUT_DEFAULT, OutboundSettings};
pub use proof::Proof;
pub use roster::{Entry, LineProblem, read_roster, write_roster};
pub use settings::{
    Audience, CLIENT_ID_BYTES_MAX, ClientAuthentication, ClientSecret, Issuer, IssuerProblem, LIST_MAX,
    MAX_AGE_SECONDS_MAX, ProviderSettings, SigningAlgorithm, Subject, USERNAME_CLAIM_DEFAULT, is_client_id,
    is_word, max_age,
};
pub use suite::{MODULES_MAX, Module, Suite};
pub use ticket::{ClassTicket, TICKET_MAX, TICKET_PURPOSE, TestTicket, TicketProblem};
pub use token::{Expected, IdToken, TokenProblem, UserInfo};
pub use transaction::{
    Arrival, CallbackOf, Nonce, Purpose, TRANSACTION_MAX, Transaction, TransactionProblem, Verifier,
};

/// The longest metadata, key set or user info that is read, in bytes.
pub const PUBLISHED_BYTES_MAX: usize = 256 * 1024;
/// The longest ID token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// The longest log-out token, in bytes: anybody may post one.
pub const LOGOUT_TOKEN_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests;
