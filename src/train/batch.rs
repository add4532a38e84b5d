//! Training examples packed into one batch of tokens without padding, shared prefixes once.
//!
//! Examples of one task begin alike: the same template, the same instruction. A batch is therefore
//! a forest of token runs ([`Segment`]s): a run that several examples share is computed once, and
//! its gradient is the sum over them, which is exact because attention is causal. Examples without
//! a common prefix become trees of one segment, an ordinary packed batch.

use crate::token::Token;

/// One training example: a prompt, and the tokens to learn after it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Example {
    /// Tokens of the rendered System 1 prompt.
    pub prompt: Vec<Token>,
    /// Tokens of the answer and the end of turn; the loss is on these alone.
    pub target: Vec<Token>,
}

impl Example {
    /// Tokens fed: all but the last target.
    fn fed(&self) -> impl Iterator<Item = Token> + '_ {
        self.prompt.iter().chain(&self.target[..self.target.len() - 1]).copied()
    }
}

/// A run of tokens with one history: tokens `start..start + len` of the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its first token's index in the batch.
    pub start: usize,
    /// Its length in tokens.
    pub len: usize,
    /// Runs `(start, len)` of the batch that precede it in its examples, in order.
    pub history: Vec<(usize, usize)>,
}

/// A token to predict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TargetToken {
    /// Index into [`Batch::loss_tokens`] of the token whose logits predict it.
    pub row: usize,
    /// The token to predict.
    pub token: Token,
    /// How often it occurs (equal examples are merged).
    pub count: u32,
}

/// Tokens of several examples, ready for one forward and backward pass.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The tokens, segment after segment.
    pub tokens: Vec<Token>,
    /// Position of each token in its example.
    pub positions: Vec<usize>,
    /// The runs, each after its history.
    pub segments: Vec<Segment>,
    /// Tokens whose logits are needed, ascending.
    pub loss_tokens: Vec<usize>,
    /// What is to be predicted from them.
    pub targets: Vec<TargetToken>,
    /// Tokens that the examples would take one by one.
    pub tokens_unshared: usize,
}

impl Batch {
    /// Packs `examples`. Each must have a prompt and a target; with `share`, common prefixes are
    /// merged, otherwise every example stands alone.
    pub fn pack<'a>(examples: impl IntoIterator<Item = &'a Example>, share: bool) -> Batch {
        let mut trie = Trie::default();
        let mut tokens_unshared = 0;
        for example in examples {
            assert!(
                !example.prompt.is_empty() && !example.target.is_empty(),
                "an example has a prompt and a target"
            );
            tokens_unshared += example.prompt.len() + example.target.len() - 1;
            trie.insert(example, share);
        }
        let mut batch = Batch { tokens_unshared, ..Batch::default() };
        for root in &trie.roots {
            batch.lay_out(&trie, *root);
        }
        batch.targets.sort_by_key(|t| (t.row, t.token));
        batch
    }

    /// TargetToken tokens, counted as often as they occur.
    pub fn target_count(&self) -> u32 {
        self.targets.iter().map(|t| t.count).sum()
    }

    /// Lays out the tree below `root`, depth first, merging chains into segments.
    fn lay_out(&mut self, trie: &Trie, root: usize) {
        let mut todo = vec![(root, Vec::new(), 0)];
        while let Some((first, history, depth)) = todo.pop() {
            let start = self.tokens.len();
            let mut at = first;
            loop {
                let node = &trie.nodes[at];
                let index = self.tokens.len();
                self.tokens.push(node.token);
                self.positions.push(depth + index - start);
                if !node.targets.is_empty() {
                    let row = self.loss_tokens.len();
                    self.loss_tokens.push(index);
                    self.targets.extend(node.targets.iter().map(|&(token, count)| TargetToken {
                        row,
                        token,
                        count,
                    }));
                }
                match node.children[..] {
                    [only] => at = only,
                    _ => break,
                }
            }
            let len = self.tokens.len() - start;
            let mut longer: Vec<(usize, usize)> = history.clone();
            longer.push((start, len));
            for child in trie.nodes[at].children.iter().rev() {
                todo.push((*child, longer.clone(), depth + len));
            }
            self.segments.push(Segment { start, len, history });
        }
    }
}

#[derive(Default)]
struct Trie {
    nodes: Vec<Node>,
    roots: Vec<usize>,
}

struct Node {
    token: Token,
    children: Vec<usize>,
    targets: Vec<(Token, u32)>,
}

impl Trie {
    fn insert(&mut self, example: &Example, share: bool) {
        let mut parent: Option<usize> = None;
        let n_prompt = example.prompt.len();
        for (i, token) in example.fed().enumerate() {
            let siblings = match parent {
                None => &self.roots,
                Some(p) => &self.nodes[p].children,
            };
            let found = siblings.iter().copied().find(|c| self.nodes[*c].token == token);
            let node = match found.filter(|_| share) {
                Some(node) => node,
                None => {
                    let node = self.nodes.len();
                    self.nodes.push(Node { token, children: Vec::new(), targets: Vec::new() });
                    match parent {
                        None => self.roots.push(node),
                        Some(p) => self.nodes[p].children.push(node),
                    }
                    node
                }
            };
            if i + 1 >= n_prompt {
                let wanted = example.target[i + 1 - n_prompt];
                let targets = &mut self.nodes[node].targets;
                match targets.iter_mut().find(|(t, _)| *t == wanted) {
                    Some((_, count)) => *count += 1,
                    None => targets.push((wanted, 1)),
                }
            }
            parent = Some(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(prompt: &[Token], target: &[Token]) -> Example {
        Example { prompt: prompt.to_vec(), target: target.to_vec() }
    }

    /// The tokens before a prediction, and what is predicted how often.
    type Prediction = (Vec<Token>, Vec<(Token, u32)>);

    /// Every example's tokens, read back through the segments of a batch.
    fn read_back(batch: &Batch) -> Vec<Prediction> {
        let mut paths = Vec::new();
        for segment in &batch.segments {
            for index in segment.start..segment.start + segment.len {
                let mut path: Vec<usize> = segment.history.iter().flat_map(|&(s, l)| s..s + l).collect();
                path.extend(segment.start..=index);
                for (i, token) in path.iter().enumerate() {
                    assert_eq!(batch.positions[*token], i, "position of token {token}");
                }
                let row = batch.loss_tokens.iter().position(|t| *t == index);
                let targets: Vec<_> =
                    batch.targets.iter().filter(|t| Some(t.row) == row).map(|t| (t.token, t.count)).collect();
                if !targets.is_empty() {
                    paths.push((path.iter().map(|t| batch.tokens[*t]).collect(), targets));
                }
            }
        }
        paths.sort();
        paths
    }

    #[test]
    fn sharing_prefixes_keeps_every_prediction_and_drops_repeated_tokens() {
        let examples = [
            example(&[1, 2, 3, 4], &[10, 0]),
            example(&[1, 2, 3, 5], &[11, 0]),
            example(&[1, 2, 3, 4], &[12, 0]),
            example(&[1, 2, 3, 4], &[10, 0]),
            example(&[9, 2], &[10, 7, 0]),
        ];
        let shared = Batch::pack(&examples, true);
        let plain = Batch::pack(&examples, false);
        assert_eq!(plain.tokens.len(), plain.tokens_unshared);
        // 1 2 3 | 4 (10 | 12) | 5 11 and 9 2 10 7
        assert_eq!(shared.tokens.len(), 3 + 3 + 2 + 4);
        assert_eq!(shared.tokens_unshared, plain.tokens_unshared);
        assert_eq!(shared.target_count(), plain.target_count());
        let mut merged: Vec<Prediction> = Vec::new();
        for (path, targets) in read_back(&plain) {
            match merged.iter_mut().find(|(p, _)| *p == path) {
                Some((_, all)) => {
                    for (token, count) in targets {
                        match all.iter_mut().find(|(t, _)| *t == token) {
                            Some((_, c)) => *c += count,
                            None => all.push((token, count)),
                        }
                    }
                    all.sort();
                }
                None => merged.push((path, targets)),
            }
        }
        assert_eq!(read_back(&shared), merged);
    }

    #[test]
    fn segments_follow_their_history() {
        let examples = [example(&[1, 2, 3], &[4]), example(&[1, 2, 5], &[4]), example(&[1, 6], &[4])];
        let batch = Batch::pack(&examples, true);
        for segment in &batch.segments {
            for (start, len) in &segment.history {
                assert!(start + len <= segment.start);
            }
        }
        assert_eq!(batch.tokens.len(), 5);
        assert_eq!(batch.loss_tokens.len(), 3);
        assert!(batch.loss_tokens.is_sorted());
    }
}
