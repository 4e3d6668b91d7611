//! CURVE key pairs for peers over ZeroMQ. Source: RFC 7748, VOLTTRON `volttron/platform/keystore.py`.

use rand::TryRng;
use rand::rngs::SysRng;
use vt_types::{CurveKeyPair, PublicKey, SecretKey};

use crate::error::PkiError;

/// Makes a new pair from the operating system's random source. Neither half begins with `-` in its text form, because command lines
/// would take it for an option.
///
/// # Errors
/// [`PkiError::Random`] if the operating system gives no random bytes.
pub fn generate_curve() -> Result<CurveKeyPair, PkiError> {
    loop {
        let mut bytes = [0; 32];
        SysRng.try_fill_bytes(&mut bytes).map_err(|error| PkiError::Random(error.to_string()))?;
        let secret = SecretKey::new(bytes);
        let public = curve_public(&secret);
        if !public.to_string().starts_with('-') && !secret.expose_text().starts_with('-') {
            return Ok(CurveKeyPair { public, secret });
        }
    }
}

/// The public half of a secret key.
#[must_use]
pub fn curve_public(secret: &SecretKey) -> PublicKey {
    let secret = x25519_dalek::StaticSecret::from(*secret.expose());
    PublicKey::new(x25519_dalek::PublicKey::from(&secret).to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_half_is_the_one_that_libzmq_computes() {
        // The pair of the manual page zmq_curve(7).
        let secret = SecretKey::parse("JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6").unwrap();
        let public = PublicKey::parse("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7").unwrap();
        assert_eq!(curve_public(&secret), public);
    }

    #[test]
    fn pairs_differ_fit_together_and_never_look_like_options() {
        let pairs: Vec<_> = (0..200).map(|_| generate_curve().unwrap()).collect();
        for pair in &pairs {
            assert_eq!(curve_public(&pair.secret), pair.public);
            assert!(!pair.public.to_string().starts_with('-') && !pair.secret.expose_text().starts_with('-'));
            assert_eq!(pair.public.to_string().len(), 43);
        }
        assert!(pairs.windows(2).all(|two| two[0] != two[1]));
    }
}
