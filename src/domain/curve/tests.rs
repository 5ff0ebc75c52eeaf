use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

use super::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[expect(clippy::disallowed_methods, reason = "test keys need no seed of ours")]
fn system() -> ring::rand::SystemRandom {
    ring::rand::SystemRandom::new()
}

/// Every point whose order divides eight, in every spelling that libraries have been seen to take: the second half
/// of the list is not canonical (y of p, p + 1, or a sign where x is zero).
const SMALL: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

#[test]
fn points_of_small_order_are_refused_in_every_spelling() {
    for (n, text) in SMALL.iter().enumerate() {
        let expected = if (8..12).contains(&n) { BadPoint::NotCanonical } else { BadPoint::SmallOrder };
        assert_eq!(check_ed25519(&hex(text)), Err(expected), "{text}");
    }
}

/// What the check is for: ring takes a signature that nobody's key made.
#[test]
fn anybody_signs_for_the_neutral_point() {
    let neutral = hex(SMALL[0]);
    // R is the neutral point and S is zero: [S]B = R + [k]A for every message.
    let forged = [neutral.as_slice(), &[0; 32]].concat();
    let key = signature::UnparsedPublicKey::new(&signature::ED25519, &neutral);
    assert!(key.verify(b"any message", &forged).is_ok());
    assert_eq!(check_ed25519(&neutral), Err(BadPoint::SmallOrder));
}

#[test]
fn other_numbers_are_no_points() {
    // 2^255 - 1 down to p: below 2^255, and not below p.
    for low in 0xed..=0xffu8 {
        let mut key = [0xff; 32];
        (key[0], key[31]) = (low, 0x7f);
        assert_eq!(check_ed25519(&key), Err(BadPoint::NotCanonical), "{low:x}");
    }
    for (y, is_point) in [(2, false), (3, true), (4, true), (7, false), (8, false), (9, true), (11, false)] {
        let mut key = [0; 32];
        key[0] = y;
        assert_eq!(check_ed25519(&key).is_ok(), is_point, "{y}");
        assert!(is_point || check_ed25519(&key) == Err(BadPoint::OffCurve));
    }
    for length in [0, 31, 33, 40, 64] {
        assert_eq!(check_ed25519(&vec![3; length]), Err(BadPoint::NotCanonical), "{length} bytes");
    }
}

#[test]
fn good_keys_are_good() {
    // The base point, the same plus a point of order eight, and the first vector of RFC 8032 §7.1.
    for text in [
        "5866666666666666666666666666666666666666666666666666666666666666",
        "13661d745ad63221ca5da0456fa618713511dc60668aa464e55b09a20ff7fc1d",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    ] {
        assert_eq!(check_ed25519(&hex(text)), Ok(()), "{text}");
    }
    let random = system();
    for _ in 0..40 {
        let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        assert_eq!(check_ed25519(pair.public_key().as_ref()), Ok(()));
    }
}

#[test]
fn a_weierstrass_point_is_on_its_curve() {
    let random = system();
    for (by, check, size) in [
        (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, check_p256 as fn(&[u8], &[u8]) -> _, 32),
        (&signature::ECDSA_P384_SHA384_FIXED_SIGNING, check_p384, 48),
    ] {
        for n in 0..20 {
            let document = EcdsaKeyPair::generate_pkcs8(by, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(by, document.as_ref(), &random).unwrap();
            let (x, y) = pair.public_key().as_ref()[1..].split_at(size);
            assert_eq!(check(x, y), Ok(()), "{size} {n}");
            assert_eq!(check(y, x), Err(BadPoint::OffCurve));
            let mut off = y.to_vec();
            off[n] ^= 1 << (n % 8);
            assert_ne!(check(x, &off), Ok(()), "{size} {n}");
            assert_eq!(check(&x[1..], y), Err(BadPoint::NotCanonical));
        }
        let zeros = vec![0; size];
        assert_eq!(check(&zeros, &zeros), Err(BadPoint::OffCurve), "the point at infinity");
        assert_eq!(check(&vec![0xff; size], &zeros), Err(BadPoint::NotCanonical));
    }
    // (0, √b) is on the curve, and so is x = p to whoever reduces it.
    let y = hex("66485c780e2f83d72433bd5d84a06bb6541c2af31dae871728bf856a174f93f4");
    assert_eq!(check_p256(&[0; 32], &y), Ok(()));
    let p = hex("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
    assert_eq!(check_p256(&p, &y), Err(BadPoint::NotCanonical));
}
