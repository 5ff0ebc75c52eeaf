use proptest::prelude::*;

use super::*;

/// MTH(D[n]) as RFC 6962 §2.1 defines it, over the leaves themselves.
fn naive_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(b""),
        [one] => *one,
        _ => {
            let k = (1..leaves.len()).rev().find(|k| k.is_power_of_two()).unwrap();
            node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
        }
    }
}

/// PATH(m, D[n]) of §2.1.1.
fn naive_path(m: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = (1..leaves.len()).rev().find(|k| k.is_power_of_two()).unwrap();
    let (mut path, sibling) = if m < k {
        (naive_path(m, &leaves[..k]), naive_root(&leaves[k..]))
    } else {
        (naive_path(m - k, &leaves[k..]), naive_root(&leaves[..k]))
    };
    path.push(sibling);
    path
}

/// SUBPROOF(m, D[n], b) of §2.1.2.
fn naive_subproof(m: usize, leaves: &[Digest], whole: bool) -> Vec<Digest> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let k = (1..leaves.len()).rev().find(|k| k.is_power_of_two()).unwrap();
    let (mut path, sibling) = if m <= k {
        (naive_subproof(m, &leaves[..k], whole), naive_root(&leaves[k..]))
    } else {
        (naive_subproof(m - k, &leaves[k..], false), naive_root(&leaves[..k]))
    };
    path.push(sibling);
    path
}

fn numbered(n: usize) -> Vec<Digest> {
    (0..n).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn source(leaves: &[Digest]) -> impl FnMut(Node) -> Result<Digest, OutOfRange> + '_ {
    |node| {
        let start = (node.index << node.level) as usize;
        Ok(naive_root(leaves.get(start..start + (1 << node.level)).ok_or(OutOfRange)?))
    }
}

fn digests(hex: &[&str]) -> Vec<Digest> {
    hex.iter().map(|hex| hex.parse().unwrap()).collect()
}

/// The leaves and roots that the Certificate Transparency implementations test with.
const CT_LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

const CT_ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn roots_of_the_certificate_transparency_vectors() {
    let mut frontier = Frontier::default();
    for (size, root) in CT_ROOTS.iter().enumerate() {
        assert_eq!(frontier.root().to_string(), *root, "of {size} leaves");
        if let Some(bytes) = CT_LEAVES.get(size) {
            frontier.append(leaf_hash(bytes));
        }
    }
}

#[test]
fn proofs_of_the_certificate_transparency_vectors() {
    let leaves: Vec<Digest> = CT_LEAVES.iter().map(|bytes| leaf_hash(bytes)).collect();
    let one_of_eight = digests(&[
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]);
    assert_eq!(inclusion_proof(0, 8, source(&leaves)), Ok(one_of_eight.clone()));
    assert_eq!(consistency_proof(1, 8, source(&leaves)), Ok(one_of_eight));
    let six_to_eight = digests(&[
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]);
    assert_eq!(consistency_proof(6, 8, source(&leaves)), Ok(six_to_eight));
    let two_to_five = digests(&[
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ]);
    assert_eq!(consistency_proof(2, 5, source(&leaves)), Ok(two_to_five));
}

#[test]
fn what_the_tree_does_not_have_has_no_proof() {
    let leaves = numbered(4);
    assert_eq!(inclusion_proof(4, 4, source(&leaves)), Err(OutOfRange));
    assert_eq!(inclusion_proof(0, 0, source(&leaves)), Err(OutOfRange));
    assert_eq!(consistency_proof(0, 4, source(&leaves)), Err(OutOfRange));
    assert_eq!(consistency_proof(5, 4, source(&leaves)), Err(OutOfRange));
    let root = naive_root(&leaves);
    assert!(!verify_inclusion(&leaves[0], 4, 4, &[], &root));
    assert!(!verify_inclusion(&leaves[0], 0, 0, &[], &root));
    assert!(!verify_consistency((0, &empty_root()), (4, &root), &[]));
    assert!(!verify_consistency((5, &root), (4, &root), &[]));
    assert!(!verify_consistency((3, &root), (4, &root), &[]));
}

#[test]
fn a_frontier_needs_a_peak_for_each_bit_of_its_size() {
    assert!(Frontier::from_parts(5, numbered(2)).is_some());
    assert!(Frontier::from_parts(5, numbered(3)).is_none());
    assert!(Frontier::from_parts(0, numbered(1)).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_frontier_is_the_tree(n in 0usize..600) {
        let leaves = numbered(n);
        let mut frontier = Frontier::default();
        let mut wrong = Vec::new();
        for leaf in &leaves {
            frontier.append_with(*leaf, |node, hash| {
                if source(&leaves)(node) != Ok(*hash) {
                    wrong.push(node);
                }
            });
        }
        prop_assert_eq!(wrong, vec![]);
        prop_assert_eq!(frontier.root(), naive_root(&leaves));
        prop_assert_eq!(root_of(n as u64, source(&leaves)), Ok(naive_root(&leaves)));
        let ranges: Vec<_> = frontier.ranges().collect();
        prop_assert_eq!(ranges.len(), frontier.peaks().len());
        for (peak, (start, end)) in frontier.peaks().iter().zip(ranges) {
            prop_assert_eq!(*peak, naive_root(&leaves[start as usize..end as usize]));
        }
        let again = Frontier::from_parts(frontier.size(), frontier.peaks().to_vec());
        prop_assert_eq!(again, Some(frontier));
    }

    #[test]
    fn inclusion_proofs_are_those_of_the_rfc_and_prove_one_place(
        n in 1usize..300, at in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(),
    ) {
        let leaves = numbered(n);
        let (index, root) = (at.index(n), naive_root(&leaves));
        let path = inclusion_proof(index as u64, n as u64, source(&leaves)).unwrap();
        prop_assert_eq!(&path, &naive_path(index, &leaves));
        let proves = |leaf: &Digest, index: usize, path: &[Digest]| {
            verify_inclusion(leaf, index as u64, n as u64, path, &root)
        };
        prop_assert!(proves(&leaves[index], index, &path));
        let other = other.index(n);
        if other != index {
            prop_assert!(!proves(&leaves[other], index, &path));
            prop_assert!(!proves(&leaves[index], other, &path));
        }
        let longer: Vec<_> = path.iter().copied().chain([root]).collect();
        prop_assert!(!proves(&leaves[index], index, &longer));
        if let Some((_, shorter)) = path.split_last() {
            prop_assert!(!proves(&leaves[index], index, shorter));
        }
    }

    #[test]
    fn consistency_proofs_are_those_of_the_rfc_and_prove_one_history(
        second in 1usize..300, at in any::<prop::sample::Index>(), changed in any::<prop::sample::Index>(),
    ) {
        let first = at.index(second) + 1;
        let leaves = numbered(second);
        let (old, new) = (naive_root(&leaves[..first]), naive_root(&leaves));
        let path = consistency_proof(first as u64, second as u64, source(&leaves)).unwrap();
        prop_assert_eq!(&path, &naive_subproof(first, &leaves, true));
        prop_assert!(verify_consistency((first as u64, &old), (second as u64, &new), &path));

        // A log that changed one of the first leaves cannot prove that it extends the old one.
        let mut rewritten = leaves.clone();
        rewritten[changed.index(first)] = leaf_hash(b"rewritten");
        let forged = naive_root(&rewritten);
        let path = consistency_proof(first as u64, second as u64, source(&rewritten)).unwrap();
        prop_assert!(!verify_consistency((first as u64, &old), (second as u64, &forged), &path));
    }
}
