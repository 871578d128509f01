//! How passwords are kept: Argon2id (RFC 9106) in PHC string form, keyed with a pepper from the master key.
//!
//! Why a pepper? A stolen store or backup alone then allows no guessing at all (SEC-R7, K3). Why are parameters
//! from the store bounded before anything is allocated? Because the store's bytes are not trusted: one row that
//! says `m=4 GiB` would stop the gateway (L8).

use std::fmt;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq as _;
use zeroize::ZeroizeOnDrop;

use crate::base::MasterKey;

/// Bounds for parameters that come out of the store.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 8;
const OUTPUT_BYTES: usize = 32;

/// A password as it is kept: a PHC string such as `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.
#[derive(Clone, Eq, PartialEq, ZeroizeOnDrop)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a PHC string from the store. Whether it makes sense shows when a password is held against it.
    pub const fn from_phc(text: String) -> Self {
        Self(text)
    }

    /// Whether it was made at this cost; `false` too for a text that is no hash.
    pub fn has_cost(&self, cost: HashCost) -> bool {
        let params = phc::PasswordHash::new(&self.0).ok().and_then(|stored| Params::try_from(&stored).ok());
        params.is_some_and(|params| {
            (params.m_cost(), params.t_cost(), params.p_cost()) == (cost.memory_kib, cost.passes, cost.lanes)
        })
    }

    /// The PHC string, for the store.
    pub fn as_phc(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// The key that every hash of this installation is made with.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Pepper([u8; 32]);

impl Pepper {
    /// The pepper that belongs to a master key.
    pub fn of(master: &MasterKey) -> Self {
        Self(master.derive_bytes("password pepper v1"))
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(..)")
    }
}

/// What one hash costs (OWASP Password Storage: 19 MiB, 2 passes, 1 lane).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HashCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for HashCost {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

/// Why a hash could not be made or compared. Never says anything of the password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HashProblem {
    /// The configured cost is outside what Argon2 allows.
    #[error("the hashing cost is outside what Argon2id allows")]
    Cost,
    /// The stored text is no Argon2id hash, or asks for more than is ever configured.
    #[error("a stored password hash is not one this program could have made")]
    Stored,
}

/// Hashes `password`, which the caller has normalised.
///
/// - `salt`: 16 bytes that the caller drew from a secure source.
/// - Errors: [`HashProblem::Cost`].
pub fn hash_password(
    password: &str,
    salt: [u8; 16],
    pepper: &Pepper,
    cost: HashCost,
) -> Result<PasswordHash, HashProblem> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(OUTPUT_BYTES));
    let params = params.map_err(|_| HashProblem::Cost)?;
    let mut output = [0; OUTPUT_BYTES];
    hasher(pepper, params.clone())
        .and_then(|argon| argon.hash_password_into(password.as_bytes(), &salt, &mut output).ok())
        .ok_or(HashProblem::Cost)?;
    let text = phc::PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: phc::ParamsString::try_from(&params).map_err(|_| HashProblem::Cost)?,
        salt: Some(phc::Salt::new(&salt).map_err(|_| HashProblem::Cost)?),
        hash: Some(phc::Output::new(&output).map_err(|_| HashProblem::Cost)?),
    };
    Ok(PasswordHash(text.to_string()))
}

/// Holds `password`, which the caller has normalised, against a stored hash.
///
/// Errors: [`HashProblem::Stored`], before anything is allocated for it (L8).
pub fn verify_password(password: &str, hash: &PasswordHash, pepper: &Pepper) -> Result<bool, HashProblem> {
    let stored = phc::PasswordHash::new(&hash.0).map_err(|_| HashProblem::Stored)?;
    let ours = stored.algorithm == Algorithm::Argon2id.ident() && stored.version == Some(Version::V0x13.into());
    let params = Params::try_from(&stored).map_err(|_| HashProblem::Stored)?;
    let bounded =
        params.m_cost() <= MEMORY_KIB_MAX && params.t_cost() <= PASSES_MAX && params.p_cost() <= LANES_MAX;
    let (Some(salt), Some(want), true, true) = (&stored.salt, &stored.hash, ours, bounded) else {
        return Err(HashProblem::Stored);
    };
    let mut output = [0; OUTPUT_BYTES];
    if want.len() != OUTPUT_BYTES {
        return Err(HashProblem::Stored);
    }
    hasher(pepper, params)
        .and_then(|argon| argon.hash_password_into(password.as_bytes(), salt.as_ref(), &mut output).ok())
        .ok_or(HashProblem::Stored)?;
    Ok(output.ct_eq(want.as_bytes()).into())
}

fn hasher(pepper: &Pepper, params: Params) -> Option<Argon2<'_>> {
    Argon2::new_with_secret(&pepper.0, Algorithm::Argon2id, Version::V0x13, params).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: HashCost = HashCost { memory_kib: 8, passes: 1, lanes: 1 };

    fn pepper(byte: u8) -> Pepper {
        Pepper::of(&MasterKey::from_bytes([byte; 32]))
    }

    #[test]
    fn a_password_matches_its_own_hash_and_nothing_else_does() {
        let hash = hash_password("correct horse", [1; 16], &pepper(1), CHEAP).unwrap();
        assert_eq!(verify_password("correct horse", &hash, &pepper(1)), Ok(true));
        assert_eq!(verify_password("Correct horse", &hash, &pepper(1)), Ok(false));
        assert_eq!(
            verify_password("correct horse", &hash, &pepper(2)),
            Ok(false),
            "k3: useless without the pepper"
        );
    }

    #[test]
    fn the_default_cost_is_the_documented_one() {
        let hash = hash_password("x", [1; 16], &pepper(1), HashCost::default()).unwrap();
        assert!(hash.as_phc().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.as_phc());
    }

    #[test]
    fn l8_a_stored_hash_cannot_ask_for_more_than_we_ever_configure() {
        let salt_and_hash = "c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for head in [
            "$argon2id$v=19$m=4194304,t=2,p=1$",
            "$argon2id$v=19$m=8,t=1000000,p=1$",
            "$argon2i$v=19$m=8,t=1,p=1$",
            "$argon2id$v=16$m=8,t=1,p=1$",
            "$scrypt$ln=16,r=8,p=1$",
            "plain",
        ] {
            let hash = PasswordHash::from_phc(format!("{head}{salt_and_hash}"));
            assert_eq!(verify_password("x", &hash, &pepper(1)), Err(HashProblem::Stored), "{head}");
        }
    }
}
