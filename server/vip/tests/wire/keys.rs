//! §1.4: one key in seven forms.

use vt_vip::{KeyError, PublicKey, SecretKey};

const BASE64: &str = "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";
const HEX: &str = "c5dfcf94cfcbaba9a9dd39e27af5c7ffb7805d09897584b1825af6e63f356243";
const Z85: &str = "-OY1a==-w*SOGO]DIbtUW$4-<IfjGRF)d)gkq=[q";
/// A key of ZeroMQ's own tests, in both forms.
const VECTOR: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
const VECTOR_HEX: &str = "54fcba24e93249969316fb617c872bb0c1d1ff14800427c594cbfacf1bc2d652";

/// Base64 of the Z85 text, by an encoder of its own.
fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: String = text.bytes().map(|byte| format!("{byte:08b}")).collect();
    let bits: Vec<char> = bits.chars().collect();
    bits.chunks(6)
        .map(|chunk| {
            let six = format!("{:0<6}", chunk.iter().collect::<String>());
            char::from(DIGITS[usize::from_str_radix(&six, 2).unwrap()])
        })
        .collect()
}

#[test]
fn all_forms_are_the_same_key() {
    let hex_of_z85: String = Z85.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64_of_z85 = base64(Z85);
    assert_eq!(base64_of_z85.len(), 54);
    let forms = [
        Z85.to_owned(),
        BASE64.to_owned(),
        format!("{BASE64}="),
        base64_of_z85.clone(),
        format!("{base64_of_z85}=="),
        HEX.to_owned(),
        HEX.to_uppercase(),
        hex_of_z85,
    ];
    for form in forms {
        let key = PublicKey::parse(&form).unwrap();
        assert_eq!(key.to_string(), BASE64, "{form}");
        assert_eq!(key.to_z85(), Z85, "{form}");
        let secret = SecretKey::parse(&form).unwrap();
        assert_eq!((secret.to_base64().as_str(), secret.to_z85().as_str()), (BASE64, Z85), "{form}");
    }
}

#[test]
fn z85_is_that_of_zeromq() {
    let key = PublicKey::parse(VECTOR).unwrap();
    let hex: String = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, VECTOR_HEX);
    assert_eq!(PublicKey::parse(VECTOR_HEX).unwrap().to_z85(), VECTOR);
}

#[test]
fn extreme_keys_survive() {
    for bytes in [[0; 32], [0xff; 32]] {
        let key = PublicKey::from_bytes(bytes);
        assert_eq!(PublicKey::parse(&key.to_string()), Ok(key));
        assert_eq!(PublicKey::parse(&key.to_z85()), Ok(key));
    }
}

#[test]
fn what_is_no_key_says_why() {
    assert_eq!(PublicKey::parse(""), Err(KeyError::Length(0)));
    assert_eq!(PublicKey::parse(&BASE64[1..]), Err(KeyError::Length(42)));
    let spoiled = [
        BASE64.replace('_', "/"),
        format!("{BASE64}-"),
        HEX.replace('c', "g"),
        Z85.replace('=', " "),
        "#".repeat(40),
        "=".repeat(44),
        "A".repeat(54),
        "A".repeat(56),
        "0".repeat(80),
        "\u{e9}".repeat(20),
    ];
    for text in spoiled {
        assert_eq!(PublicKey::parse(&text), Err(KeyError::Character), "{text}");
    }
}

#[test]
fn keys_that_look_like_options_are_known() {
    let mut bytes = [0; 32];
    assert!(!PublicKey::from_bytes(bytes).begins_with_dash());
    bytes[0] = 0b1111_1000;
    assert!(PublicKey::from_bytes(bytes).begins_with_dash());
    assert!(SecretKey::from_bytes(bytes).begins_with_dash());
}

#[test]
fn secrets_are_not_shown() {
    assert_eq!(format!("{:?}", SecretKey::parse(BASE64).unwrap()), "SecretKey(..)");
}
