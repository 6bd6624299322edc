//! Values that control flow depends on: integers and booleans, where they are known.

/// At most as many words as a vector has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// Data, or something larger.
    Unknown,
    /// A scalar or a vector. Booleans are 0 and 1.
    Words {
        /// Those past the length are not used.
        words: [Option<u32>; 4],
        /// 1 for a scalar.
        length: u8,
    },
    /// Into a variable, in words; at an unknown place if an index is unknown.
    Pointer {
        /// The variable.
        root: u32,
        /// Words from its beginning.
        at: Option<u32>,
    },
}

impl Value {
    /// A known scalar.
    pub fn scalar(word: u32) -> Self {
        Self::of(&[Some(word)])
    }

    /// A vector of at most four words; unknown if there are more.
    pub fn of(list: &[Option<u32>]) -> Self {
        let mut words = [None; 4];
        let Some(first) = words.get_mut(..list.len()) else { return Self::Unknown };
        first.copy_from_slice(list);
        Self::Words { words, length: list.len() as u8 }
    }

    /// The words.
    pub fn words(&self) -> &[Option<u32>] {
        match self {
            Self::Words { words, length } => &words[..usize::from(*length).min(4)],
            _ => &[],
        }
    }

    /// A known scalar's word.
    pub fn word(&self) -> Option<u32> {
        self.words().first().copied().flatten()
    }

    /// An operation on each word.
    pub fn map(&self, f: impl Fn(u32) -> Option<u32>) -> Self {
        let Self::Words { words, length } = self else { return Self::Unknown };
        Self::Words { words: words.map(|w| w.and_then(&f)), length: *length }
    }

    /// An operation on each pair of words.
    pub fn zip(&self, other: &Self, f: impl Fn(u32, u32) -> Option<u32>) -> Self {
        let (Self::Words { words: a, length: n }, Self::Words { words: b, length: m }) = (self, other) else {
            return Self::Unknown;
        };
        let mut words = [None; 4];
        for (word, (a, b)) in words.iter_mut().zip(a.iter().zip(b)) {
            *word = a.zip(*b).and_then(|(a, b)| f(a, b));
        }
        Self::Words { words, length: *n.min(m) }
    }
}
