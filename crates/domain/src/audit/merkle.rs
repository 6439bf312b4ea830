//! One hash over many leaves, such that one leaf can be proven to be among them without showing the others: the tree of
//! RFC 6962 (certificate transparency).

use sha2::{Digest, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// The hash of a leaf's content. Leaves and nodes are told apart, so that no node can be passed off as a leaf.
pub fn leaf(parts: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0]);
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update([1]);
    hash.update(left);
    hash.update(right);
    hash.finalize().into()
}

/// A tree that grows leaf by leaf, and keeps no more than it needs for its root.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    leaves: u64,
    /// Roots of full subtrees, the largest first, with how many leaves each has.
    full: Vec<(u64, Hash)>,
}

impl Tree {
    /// Adds a leaf on the right.
    pub fn push(&mut self, leaf: Hash) {
        self.leaves += 1;
        let mut last = (1, leaf);
        while let Some(&(size, left)) = self.full.last()
            && size == last.0
        {
            self.full.pop();
            last = (size * 2, node(&left, &last.1));
        }
        self.full.push(last);
    }

    /// How many leaves it has.
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The hash over all; of nothing, the hash of nothing.
    pub fn root(&self) -> Hash {
        let mut from_the_right = self.full.iter().rev().map(|(_, hash)| *hash);
        match from_the_right.next() {
            None => Sha256::digest([]).into(),
            Some(last) => from_the_right.fold(last, |right, left| node(&left, &right)),
        }
    }
}

impl FromIterator<Hash> for Tree {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut tree = Self::default();
        leaves.into_iter().for_each(|leaf| tree.push(leaf));
        tree
    }
}

/// What proves that leaf `index` is among `leaves`: the hashes beside its way up.
pub fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let split = split(leaves.len());
    let root = |part: &[Hash]| part.iter().copied().collect::<Tree>().root();
    if index < split {
        let mut path = path(&leaves[..split], index);
        path.push(root(&leaves[split..]));
        path
    } else {
        let mut path = path(&leaves[split..], index - split);
        path.push(root(&leaves[..split]));
        path
    }
}

/// The root that a leaf and its path lead to, in a tree of `count` leaves; `None` when they cannot belong together.
pub fn climb(leaf: Hash, index: usize, count: usize, path: &[Hash]) -> Option<Hash> {
    if index >= count {
        return None;
    }
    if count == 1 {
        return path.is_empty().then_some(leaf);
    }
    let (beside, below) = path.split_last()?;
    let split = split(count);
    if index < split {
        Some(node(&climb(leaf, index, split, below)?, beside))
    } else {
        Some(node(beside, &climb(leaf, index - split, count - split, below)?))
    }
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_of_every_tree_is_proven_and_no_other() {
        let leaves: Vec<Hash> = (0..40_u8).map(|n| leaf(&[&[n]])).collect();
        let mut roots = std::collections::BTreeSet::new();
        for count in 1..=leaves.len() {
            let some = &leaves[..count];
            let root = some.iter().copied().collect::<Tree>().root();
            assert!(roots.insert(root));
            for index in 0..count {
                let path = path(some, index);
                assert_eq!(climb(some[index], index, count, &path), Some(root), "{index} of {count}");
                assert_ne!(climb(leaf(&[b"x"]), index, count, &path), Some(root));
                if count > 1 {
                    assert_ne!(climb(some[index], (index + 1) % count, count, &path), Some(root));
                    assert_ne!(climb(some[index], index, count, &path[1..]), Some(root));
                }
            }
        }
    }
}
