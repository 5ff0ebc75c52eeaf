//! Whether a public key is a point at all, and one that only the holder of a private key can sign for.
//!
//! ring looks at a point when it verifies, and does not mind an Ed25519 key of small order, by which anybody can sign
//! anything. So each key is looked at here when it is read: in an agent's file, in a JWK set, in a DPoP proof.

mod field;

use field::{Element, Field};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPoint {
    #[error("is not the one spelling that a point has")]
    NotCanonical,
    #[error("is no point of its curve")]
    OffCurve,
    #[error("is a point of small order, for which anybody can sign")]
    SmallOrder,
}

/// 2^255 - 19.
const EDWARDS: Field<4> = Field::new([!18, !0, !0, !0 >> 1]);
/// -121665 / 121666 (RFC 8032 §5.1).
const EDWARDS_D: [u64; 4] =
    [0x75eb_4dca_1359_78a3, 0x0070_0a4d_4141_d8ab, 0x8cc7_4079_7779_e898, 0x5203_6cee_2b6f_fe73];

/// FIPS 186-4 §D.1.2.3.
const P256: Field<4> = Field::new([!0, 0xffff_ffff, 0, 0xffff_ffff_0000_0001]);
const P256_B: [u64; 4] =
    [0x3bce_3c3e_27d2_604b, 0x651d_06b0_cc53_b0f6, 0xb3eb_bd55_7698_86bc, 0x5ac6_35d8_aa3a_93e7];

/// FIPS 186-4 §D.1.2.4.
const P384: Field<6> = Field::new([0xffff_ffff, 0xffff_ffff_0000_0000, !1, !0, !0, !0]);
const P384_B: [u64; 6] = [
    0x2a85_c8ed_d3ec_2aef,
    0xc656_398d_8a2e_d19d,
    0x0314_088f_5013_875a,
    0x181d_9c6e_fe81_4112,
    0x988e_056b_e3f8_2d19,
    0xb331_2fa7_e23e_e7e4,
];

/// Checks an Ed25519 public key (RFC 8032 §5.1.3): 32 bytes.
pub fn check_ed25519(key: &[u8]) -> Result<(), BadPoint> {
    let field = &EDWARDS;
    let mut bytes: Vec<u8> = key.iter().rev().copied().collect();
    // The sign of x, which every y but those of small order leaves open.
    *bytes.first_mut().ok_or(BadPoint::NotCanonical)? &= 0x7f;
    let y = field.of(&bytes).ok_or(BadPoint::NotCanonical)?;
    let mut point = Projected { y, z: field.small(1) };
    let [u, v] = point.x_squared();
    if !field.is_square(field.mul(u, v)) {
        return Err(BadPoint::OffCurve);
    }
    // The orders of small points divide eight.
    for _ in 0..3 {
        point = point.doubled();
    }
    if point.y == point.z { Err(BadPoint::SmallOrder) } else { Ok(()) }
}

/// Checks a P-256 public key by its big-endian coordinates: 32 bytes each.
pub fn check_p256(x: &[u8], y: &[u8]) -> Result<(), BadPoint> {
    check_weierstrass(&P256, P256_B, x, y)
}

/// Checks a P-384 public key by its big-endian coordinates: 48 bytes each.
pub fn check_p384(x: &[u8], y: &[u8]) -> Result<(), BadPoint> {
    check_weierstrass(&P384, P384_B, x, y)
}

/// y² = x³ - 3x + b. Both curves have a prime order, so no point is of a small one.
fn check_weierstrass<const N: usize>(
    field: &Field<N>,
    b: [u64; N],
    x: &[u8],
    y: &[u8],
) -> Result<(), BadPoint> {
    let (Some(x), Some(y)) = (field.of(x), field.of(y)) else { return Err(BadPoint::NotCanonical) };
    let cubic = field.mul(field.sub(field.square(x), field.small(3)), x);
    if field.square(y) == field.add(cubic, field.element(b)) { Ok(()) } else { Err(BadPoint::OffCurve) }
}

/// The y of a point of edwards25519, as the fraction y / z: the order of a point can be told from it alone.
#[derive(Clone, Copy)]
struct Projected {
    y: Element<4>,
    z: Element<4>,
}

impl Projected {
    /// x² as a fraction, by the equation of the curve: (y² - z²) / (d y² + z²).
    fn x_squared(self) -> [Element<4>; 2] {
        let field = &EDWARDS;
        let (y, z) = (field.square(self.y), field.square(self.z));
        [field.sub(y, z), field.add(field.mul(field.element(EDWARDS_D), y), z)]
    }

    /// y of twice the point: (y² + x²) / (2 - y² + x²).
    fn doubled(self) -> Self {
        let field = &EDWARDS;
        let [u, v] = self.x_squared();
        let (y, z) = (field.square(self.y), field.square(self.z));
        let (yv, uz, vz) = (field.mul(y, v), field.mul(u, z), field.mul(v, z));
        Self { y: field.add(yv, uz), z: field.add(field.sub(field.add(vz, vz), yv), uz) }
    }
}

#[cfg(test)]
mod tests;
