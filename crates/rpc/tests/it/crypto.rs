//! The signatures behind the tokens that clients see.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// RFC 7515, appendix A.2: the published example of an RS256 signature.
const RFC_MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const RFC_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

fn timeless(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    validation
}

#[test]
fn the_published_rs256_example_verifies_and_an_altered_one_does_not() {
    rpc::install_crypto();
    let key = DecodingKey::from_rsa_components(RFC_MODULUS, "AQAB").unwrap();
    let claims = decode::<Value>(RFC_TOKEN, &key, &timeless(Algorithm::RS256))
        .unwrap()
        .claims;
    assert_eq!(claims["iss"], "joe");
    let altered = RFC_TOKEN.replacen(".eyJpc3MiOiJqb2Ui", ".eyJpc3MiOiJqb2Uj", 1);
    assert!(decode::<Value>(&altered, &key, &timeless(Algorithm::RS256)).is_err());
    assert!(decode::<Value>(RFC_TOKEN, &key, &timeless(Algorithm::EdDSA)).is_err());
}

#[test]
fn eddsa_signs_and_verifies_and_no_other_algorithm_is_offered() {
    rpc::install_crypto();
    rpc::install_crypto();
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let public = Ed25519KeyPair::from_pkcs8(der.as_ref())
        .unwrap()
        .public_key()
        .as_ref()
        .to_vec();
    let (secret, public) = (
        EncodingKey::from_ed_der(der.as_ref()),
        DecodingKey::from_ed_der(&public),
    );
    let token = encode(
        &Header::new(Algorithm::EdDSA),
        &json!({"sub": "ann"}),
        &secret,
    )
    .unwrap();
    let claims = decode::<Value>(&token, &public, &timeless(Algorithm::EdDSA))
        .unwrap()
        .claims;
    assert_eq!(claims["sub"], "ann");
    let shared = EncodingKey::from_secret(b"secret");
    assert!(encode(&Header::new(Algorithm::HS256), &claims, &shared).is_err());
}
