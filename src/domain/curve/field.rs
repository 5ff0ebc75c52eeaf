//! Arithmetic of a prime field, for public values alone: its time depends on them.

/// The integers modulo a prime of `N` words, the lowest word first. At most six words.
pub(super) struct Field<const N: usize> {
    modulus: [u64; N],
    /// What `modulus[0]` has to be multiplied with to be -1 modulo 2^64.
    inverse: u64,
    /// The square of the Montgomery radix, 2^(64 N).
    radix_squared: [u64; N],
}

/// An element in Montgomery form, below the modulus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<const N: usize>([u64; N]);

/// Two words more than the widest field has.
const WORDS: usize = 8;

impl<const N: usize> Field<N> {
    pub(super) const fn new(modulus: [u64; N]) -> Self {
        // Each round of Newton's method doubles the bits that are right.
        let mut inverse = 1u64;
        let mut round = 0;
        while round < 6 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(modulus[0].wrapping_mul(inverse)));
            round += 1;
        }
        let mut radix_squared = [0; N];
        radix_squared[0] = 1;
        let mut doubled = 0;
        while doubled < 128 * N {
            radix_squared = add(&radix_squared, &radix_squared, &modulus);
            doubled += 1;
        }
        Self { modulus, inverse: inverse.wrapping_neg(), radix_squared }
    }

    /// The element of big-endian bytes, unless they are not below the modulus: each has one spelling.
    pub(super) fn of(&self, bytes: &[u8]) -> Option<Element<N>> {
        if bytes.len() != 8 * N {
            return None;
        }
        let mut words = [0; N];
        for (word, bytes) in words.iter_mut().zip(bytes.rchunks_exact(8)) {
            *word = bytes.iter().fold(0, |so_far, byte| so_far << 8 | u64::from(*byte));
        }
        is_below(&words, &self.modulus).then(|| self.element(words))
    }

    /// The element of a number below the modulus.
    pub(super) fn element(&self, words: [u64; N]) -> Element<N> {
        self.mul(Element(words), Element(self.radix_squared))
    }

    pub(super) fn small(&self, number: u64) -> Element<N> {
        let mut words = [0; N];
        words[0] = number;
        self.element(words)
    }

    pub(super) fn add(&self, a: Element<N>, b: Element<N>) -> Element<N> {
        Element(add(&a.0, &b.0, &self.modulus))
    }

    pub(super) fn sub(&self, a: Element<N>, b: Element<N>) -> Element<N> {
        let (difference, borrows) = subtract(&a.0, &b.0);
        Element(if borrows { wrapping_add(&difference, &self.modulus, false).0 } else { difference })
    }

    /// Montgomery multiplication, word by word.
    pub(super) fn mul(&self, a: Element<N>, b: Element<N>) -> Element<N> {
        let mut sum = [0u64; WORDS];
        for word in b.0 {
            let mut carry = 0;
            for (place, a) in sum.iter_mut().zip(a.0) {
                (*place, carry) = multiply_add(a, word, *place, carry);
            }
            let (low, overflow) = sum[N].overflowing_add(carry);
            (sum[N], sum[N + 1]) = (low, u64::from(overflow));
            let factor = sum[0].wrapping_mul(self.inverse);
            let (_, mut carry) = multiply_add(factor, self.modulus[0], sum[0], 0);
            for place in 1..N {
                (sum[place - 1], carry) = multiply_add(factor, self.modulus[place], sum[place], carry);
            }
            let (low, overflow) = sum[N].overflowing_add(carry);
            (sum[N - 1], sum[N]) = (low, sum[N + 1] + u64::from(overflow));
        }
        let mut words = [0; N];
        words.copy_from_slice(&sum[..N]);
        Element(reduce(words, sum[N] > 0, &self.modulus))
    }

    pub(super) fn square(&self, a: Element<N>) -> Element<N> {
        self.mul(a, a)
    }

    /// Whether `a` is the square of some element (Euler's criterion).
    pub(super) fn is_square(&self, a: Element<N>) -> bool {
        let one = self.small(1);
        let mut powers = [one; 16];
        for n in 1..16 {
            powers[n] = self.mul(powers[n - 1], a);
        }
        // (modulus - 1) / 2, as the modulus is odd, four bits at a time.
        let bit = |n: usize| if n < 64 * N { self.modulus[n / 64] >> (n % 64) & 1 } else { 0 };
        let digit = |at: usize| (1..=4).rev().fold(0, |digit, n| digit << 1 | bit(4 * at + n));
        let power = (0..16 * N).rev().fold(one, |power, at| {
            let power = (0..4).fold(power, |power, _| self.square(power));
            match usize::try_from(digit(at)) {
                Ok(digit @ 1..16) => self.mul(power, powers[digit]),
                _ => power,
            }
        });
        power == one || a == self.small(0)
    }
}

/// The low and the high word of `a * b + c + d`, which always fits.
const fn multiply_add(a: u64, b: u64, c: u64, d: u64) -> (u64, u64) {
    let wide = a as u128 * b as u128 + c as u128 + d as u128;
    (wide as u64, (wide >> 64) as u64)
}

const fn add<const N: usize>(a: &[u64; N], b: &[u64; N], modulus: &[u64; N]) -> [u64; N] {
    let (sum, carries) = wrapping_add(a, b, false);
    reduce(sum, carries, modulus)
}

/// `words`, and 2^(64 N) more where that `carries`, less the modulus unless it is below that already.
const fn reduce<const N: usize>(words: [u64; N], carries: bool, modulus: &[u64; N]) -> [u64; N] {
    let (reduced, borrows) = subtract(&words, modulus);
    if carries || !borrows { reduced } else { words }
}

/// `a + b`, and 1 more where that `carries`, modulo 2^(64 N); and whether the sum carries on.
const fn wrapping_add<const N: usize>(a: &[u64; N], b: &[u64; N], mut carries: bool) -> ([u64; N], bool) {
    let (mut sum, mut at) = ([0; N], 0);
    while at < N {
        let (low, first) = a[at].overflowing_add(b[at]);
        let (low, second) = low.overflowing_add(carries as u64);
        sum[at] = low;
        carries = first || second;
        at += 1;
    }
    (sum, carries)
}

/// `a - b` modulo 2^(64 N), which is `a + !b + 1`; and whether the difference borrows.
const fn subtract<const N: usize>(a: &[u64; N], b: &[u64; N]) -> ([u64; N], bool) {
    let (mut complement, mut at) = ([0; N], 0);
    while at < N {
        complement[at] = !b[at];
        at += 1;
    }
    let (difference, carries) = wrapping_add(a, &complement, true);
    (difference, !carries)
}

const fn is_below<const N: usize>(a: &[u64; N], b: &[u64; N]) -> bool {
    subtract(a, b).1
}
